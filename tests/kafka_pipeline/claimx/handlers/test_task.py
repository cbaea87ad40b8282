"""A task answer becomes its task, template, link and recipient, column by column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kafka_pipeline.claimx.handlers.base import HandlerResult, Origin
from kafka_pipeline.claimx.handlers.task import TaskHandler
from kafka_pipeline.claimx.handlers.task_rows import task_rows
from kafka_pipeline.claimx.shapes import read_task_assignment
from kafka_pipeline.common.failures import Category

ASKED = datetime(2026, 3, 2, 14, 5, 12, tzinfo=UTC)
ORIGIN = Origin(event_id="e-1", project_id="900001", requested_at=ASKED)
AUDIT = {"source_event_id": "e-1", "created_at": None, "updated_at": None, "last_enriched_at": ASKED}


def category_of(result: HandlerResult) -> Category | None:
    """Return the category of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.category


def reason_of(result: HandlerResult) -> str | None:
    """Return the reason of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.reason


def test_every_column_comes_from_its_field(api: Any) -> None:
    """(9.6 to 9.8, 9.4 C) The sample, whole; links have no query (settled point 18)."""
    rows = task_rows(read_task_assignment(api.task), "8200001", ORIGIN)
    assert [row.to_row() for row in rows.tasks] == [
        {
            **AUDIT,
            "task_id": "8200001",
            "assignment_id": "8200001",
            "template_id": "4300",
            "project_id": "900001",
            "task_name": "Contents form",
            "form_id": "0123456789abcdef01234567",
            "form_response_id": "fedcba9876543210fedcba98",
            "assignee_id": "61",
            "assignor_id": "62",
            "status": "COMPLETED",
            "mfn": "MFN-EXAMPLE-01",
            "date_assigned": "2026-03-02T14:10:00.000+00:00",
            "date_completed": "2026-03-03T09:29:58.000+00:00",
            "cancelled_date": "2026-03-04T00:00:00.000+00:00",
            "cancelled_by_resource_id": "64",
            "date_exported": "2026-03-05T00:00:00.000+00:00",
            "stp_started_date": "2026-03-06T00:00:00.000+00:00",
            "fraud_language_accepted_date": "2026-03-07T00:00:00.000+00:00",
            "pdf_project_media_id": "7100003",
            "resubmit_task_assignment_id": "8200009",
            "assignor_email": "rep@example.com",
            "task_url": "https://claimx.example.com/t/EXAMPLE",
            "stp_enabled": False,
            "xactimate_exportable": True,
        }
    ]
    assert [row.to_row() for row in rows.task_templates] == [
        {
            **AUDIT,
            "template_id": "4300",
            "project_id": "900001",
            "comp_id": "77",
            "name": "Contents form",
            "description": "Sample form",
            "form_id": "0123456789abcdef01234567",
            "form_name": "Contents",
            "modified_by": "admin@example.com",
            "modified_by_id": "63",
            "modified_date": "2026-01-15T08:00:00.000+00:00",
            "enabled": True,
            "is_manual_delivery": False,
            "is_external_link_delivery": True,
            "provide_portal_access": False,
            "auto_generate_pdf": True,
            "is_default": False,
            "allow_resubmit": True,
            "notify_assigned_send_recipient": True,
            "notify_assigned_send_recipient_sms": False,
            "notify_task_completed": True,
            "notify_assigned_subject": "Please fill in",
            "notify_completed_subject": "Done",
        }
    ]
    assert [row.to_row() for row in rows.external_links] == [
        {
            **AUDIT,
            "link_id": "5500",
            "assignment_id": "8200001",
            "project_id": "900001",
            "link_code": "EXAMPLE",
            "url": "https://claimx.example.com/l/EXAMPLE",
            "notification_access_method": "EMAIL",
            "country_id": "1",
            "state_id": "2",
            "created_date": None,
            "last_accessed": None,
            "accessed_count": 0,
        }
    ]
    assert [row.to_row() for row in rows.contacts] == [
        {
            **AUDIT,
            "contact_id": "038c68b3-b55d-5c2e-9d7a-0be7fd4d6e4f",
            "project_id": "900001",
            "contact_type": "POLICYHOLDER",
            "contact_email": "pat.sample@example.com",
            "first_name": "Pat",
            "last_name": "Sample",
            "phone_number": "5550100142",
            "phone_country_code": 1,
            "first_name_observed_at": ASKED,
            "last_name_observed_at": ASKED,
            "phone_number_observed_at": ASKED,
            "phone_country_code_observed_at": ASKED,
            "is_primary_contact": False,
            "invite_status": None,
            "master_file_name": None,
            "task_assignment_id": "8200001",
            "task_assignment_id_observed_at": ASKED,
            "video_collaboration_id": None,
            "created_date": None,
        }
    ]


def test_links_are_whole_only_on_demand(api: Any) -> None:
    """[SEC-8] claimx_store_signed_links."""
    rows = task_rows(read_task_assignment(api.task), "8200001", ORIGIN, store_signed_links=True)
    assert (api.task["url"], api.task["externalLinkData"]["url"]) == (
        rows.tasks[0].task_url,
        rows.external_links[0].url,
    )


def test_an_empty_answer_is_the_task_that_was_asked_for() -> None:
    """(9.6) The requested id and the event's project stand in; nothing else is invented."""
    rows = task_rows(read_task_assignment({}), "5", ORIGIN)
    assert (
        rows.tasks[0].task_id,
        rows.tasks[0].assignment_id,
        rows.tasks[0].project_id,
        rows.tasks[0].template_id,
        len(rows),
    ) == ("5", "5", "900001", None, 1)


def test_a_template_without_its_own_id_has_the_task_s(api: Any) -> None:
    """(9.7) T.taskId, else K.taskId; without either there is no row."""
    del api.task["customTask"]["taskId"]
    assert task_rows(read_task_assignment(api.task), "1", ORIGIN).task_templates[0].template_id == "4300"
    del api.task["taskId"]
    assert task_rows(read_task_assignment(api.task), "1", ORIGIN).task_templates == ()


def test_a_recipient_is_kept_without_a_link_id(api: Any) -> None:
    """[HND-7] The link is written only with its id, the contact whenever it can be told apart."""
    api.task["externalLinkData"].update(linkId=None, email=" ", phone="(555) 010-0142")
    rows = task_rows(read_task_assignment(api.task), "1", ORIGIN)
    assert (
        rows.external_links,
        [contact.contact_id for contact in rows.contacts],
    ) == ((), ["2624d9a5-68b0-57c5-86ff-4db102757972"])
    api.task["externalLinkData"] = {"phone": "123"}
    assert task_rows(read_task_assignment(api.task), "1", ORIGIN).contacts == ()


async def test_both_events_of_a_task_cost_one_call(api: Any, context: Any, event: Any) -> None:
    """Assigned and completed in one batch: one read, rows with the later."""
    tasks = [
        event("CUSTOM_TASK_ASSIGNED", task_assignment_id="8200001"),
        event("CUSTOM_TASK_COMPLETED", task_assignment_id="8200001", media_ids=["7100001"]),
    ]
    first, second = await TaskHandler(context).handle_batch(tasks, api)
    assert (api.calls, len(first.rows), len(second.rows)) == ([("task", "8200001")], 0, 4)
    assert second.downloads == ()


async def test_an_event_without_a_task_id_is_permanent_and_asks_nothing(api: Any, context: Any, event: Any) -> None:
    """[EVT-7] Its neighbour is enriched."""
    bad, good = await TaskHandler(context).handle_batch(
        [event("CUSTOM_TASK_ASSIGNED"), event("CUSTOM_TASK_ASSIGNED", task_assignment_id="8200001")], api
    )
    assert (category_of(bad), reason_of(bad), good.failed) == (Category.PERMANENT, "permanent", None)
    assert api.calls == [("task", "8200001")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({}, "the answer holds no task"),
        ([], "the answer holds no task"),
        ({"data": None}, "the answer holds no task"),
        ({"assignmentId": 8200002, "status": "COMPLETED"}, "the answer is about another task"),
    ],
)
async def test_an_answer_that_is_not_the_task_is_asked_for_again(
    api: Any, context: Any, event: Any, answer: Any, why: str
) -> None:
    """Nothing of it is written; an answer without an id is taken for the task that was asked for (9.6)."""
    api.task = answer or {"data": answer}
    [result] = await TaskHandler(context).handle_batch(
        [event("CUSTOM_TASK_ASSIGNED", task_assignment_id="8200001")], api
    )
    assert (category_of(result), len(result.rows)) == (Category.TRANSIENT, 0)
    assert result.failed is not None
    assert result.failed.error_text == why
    api.task = {"status": "COMPLETED"}
    [result] = await TaskHandler(context).handle_batch(
        [event("CUSTOM_TASK_ASSIGNED", task_assignment_id="8200001")], api
    )
    assert [row.task_id for row in result.rows.tasks] == ["8200001"]


@pytest.mark.parametrize(
    "spoiled",
    [{"name": {"text": "Contents form"}}, {"enabled": "maybe"}, {"modifiedDate": ["2026-01-15"]}, {"compId": True}],
    ids=str,
)
def test_a_form_that_the_answer_spoils_waits_for_a_sound_answer(api: Any, spoiled: dict[str, Any]) -> None:
    """It is inserted once and never changed: what is spoiled then would stay empty. The task itself is written."""
    api.task["customTask"].update(spoiled)
    rows = task_rows(read_task_assignment(api.task), "8200001", ORIGIN)
    assert (len(rows.tasks), rows.task_templates) == (1, ())


@pytest.mark.parametrize(("left_out", "stored"), [({"description", "modifiedBy"}, 1), ({"taskId"}, 1), (None, 0)])
def test_what_a_form_leaves_out_is_null(api: Any, left_out: set[str] | None, stored: int) -> None:
    """[API-10] Absent, null and empty are one; but a form of which nothing is told is none."""
    for name in api.task["customTask"]:
        if left_out is None and name != "taskId":
            api.task["customTask"][name] = None
        elif left_out is not None and name in left_out:
            api.task["customTask"][name] = {}
    assert len(task_rows(read_task_assignment(api.task), "8200001", ORIGIN).task_templates) == stored


def test_an_e_mail_is_text(api: Any) -> None:
    """[CON-1] A number is nobody's address, and the contact that it would make would stay for good."""
    api.task["externalLinkData"].update(email=12345, phone="(555) 010-0142")
    [contact] = task_rows(read_task_assignment(api.task), "8200001", ORIGIN).contacts
    assert (contact.contact_email, contact.contact_id) == (None, "2624d9a5-68b0-57c5-86ff-4db102757972")


@pytest.mark.parametrize("kind", ["CUSTOM_TASK_ASSIGNED", "CUSTOM_TASK_COMPLETED"])
async def test_an_unknown_task_is_not_found(api: Any, context: Any, event: Any, kind: str) -> None:
    """[7.2] 404 on a task."""
    api.task = None
    [result] = await TaskHandler(context).handle_batch([event(kind, task_assignment_id="1")], api)
    assert (category_of(result), reason_of(result)) == (Category.PERMANENT, "not_found")
