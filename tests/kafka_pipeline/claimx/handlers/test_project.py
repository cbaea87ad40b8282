"""A project export becomes one project row and its people, column by column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kafka_pipeline.claimx.handlers.base import HandlerResult, NotFoundError, Origin, WrongAnswerError
from kafka_pipeline.claimx.handlers.project import ProjectHandler, read_project
from kafka_pipeline.claimx.handlers.project_rows import project_rows
from kafka_pipeline.claimx.schemas.entities import ProjectRow
from kafka_pipeline.claimx.shapes import read_project_export
from kafka_pipeline.common.failures import Category

ASKED = datetime(2026, 3, 2, 14, 5, 12, tzinfo=UTC)
ORIGIN = Origin(event_id="e-1", project_id="900001", requested_at=ASKED)
AUDIT = {"source_event_id": "e-1", "created_at": None, "updated_at": None, "last_enriched_at": ASKED}

POLICYHOLDER = {
    **AUDIT,
    "contact_id": "038c68b3-b55d-5c2e-9d7a-0be7fd4d6e4f",
    "project_id": "900001",
    "contact_type": "POLICYHOLDER",
    "contact_email": "Pat.Sample@example.com",
    "first_name": "Pat",
    "last_name": "Sample",
    "phone_number": "(555) 010-0142",
    "phone_country_code": 1,
    "first_name_observed_at": ASKED,
    "last_name_observed_at": ASKED,
    "phone_number_observed_at": ASKED,
    "phone_country_code_observed_at": ASKED,
    "is_primary_contact": True,
    "invite_status": None,
    "master_file_name": None,
    "task_assignment_id": None,
    "task_assignment_id_observed_at": None,
    "video_collaboration_id": None,
    "created_date": None,
}
REPRESENTATIVE = {
    **POLICYHOLDER,
    "contact_id": "2bde630d-18de-5e20-80f1-a9bd64252c6e",
    "contact_type": "CLAIM_REP",
    "contact_email": "rep@example.com",
    **{
        name: None
        for column in ("first_name", "last_name", "phone_number", "phone_country_code")
        for name in (column, f"{column}_observed_at")
    },
    "master_file_name": "MFN-EXAMPLE-01",
}


def category_of(result: HandlerResult) -> Category | None:
    """Return the category of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.category


def reason_of(result: HandlerResult) -> str | None:
    """Return the reason of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.reason


def test_every_column_of_a_project_comes_from_its_field(api: Any) -> None:
    """(9.3) The sample export, whole; reserved and policyholder columns are not carried."""
    [row] = project_rows(read_project_export(api.project), ORIGIN).projects
    expected = {
        **AUDIT,
        "project_id": "900001",
        "master_file_name": "MFN-EXAMPLE-01",
        "master_file_name_observed_at": ASKED,
        "project_number": "CLM-0000-TEST",
        "secondary_number": None,
        "status": "Active",
        "created_date": "2026-03-02T13:59:58.120+00:00",
        "date_of_loss": "2026-02-27T00:00:00.000+00:00",
        "type_of_loss": "WATER",
        "cause_of_loss": "Pipe",
        "loss_description": "Kitchen leak (sample)",
        "date_received": "2026-03-02T13:00:00.000+00:00",
        "date_contacted": None,
        "planned_inspection_date": None,
        "date_inspected": None,
        "appointment_date": None,
        "custom_attribute1": "A1",
        "custom_attribute2": None,
        "custom_attribute3": None,
        "custom_external_unique_id": None,
        "year_built": 1990,
        "square_footage": 1800,
        "customer_first_name": "Pat",
        "customer_last_name": "Sample",
        "custom_business_name": None,
        "business_line_type": "PERSONAL",
        "primary_email": "Pat.Sample@example.com",
        "primary_phone": "(555) 010-0142",
        "primary_phone_country_code": 1,
        "street1": "1 Example Street",
        "street2": None,
        "city": "Sampletown",
        "state_province": "ZZ",
        "zip_postcode": "01234",
        "county": None,
        "country": "US",
        "company_name": "Example Mutual",
        "policyholder_invited_at": None,
        "policyholder_joined_at": None,
        "coverages": None,
        "contents_task_sent": None,
        "contents_task_at": None,
        "xa_autolink_fail": None,
        "xa_autolink_fail_at": None,
    }
    assert row.to_row() == expected


def test_every_mapped_project_column_is_filled_when_the_export_is(api: Any) -> None:
    """(9.3) No column that has a source stays empty: each field is given its own name as value."""
    project = api.project["data"]["project"]
    numbers = {"projectId", "yearBuilt", "squareFootage", "phoneCountryCode"}
    for level in (project, project["customerInformation"], project["address"]):
        for name, value in level.items():
            if not isinstance(value, dict | list) and name not in numbers:
                level[name] = name
    [row] = project_rows(read_project_export(api.project), ORIGIN).projects
    unmapped = {name for name, value in row.to_row().items() if value is None}
    assert unmapped == {
        *("created_at", "updated_at", "policyholder_invited_at", "policyholder_joined_at", "coverages"),
        *("contents_task_sent", "contents_task_at", "xa_autolink_fail", "xa_autolink_fail_at"),
    }
    assert (
        row.secondary_number,
        row.planned_inspection_date,
        row.custom_attribute3,
        row.custom_business_name,
        row.county,
        row.master_file_name,
    ) == ("secondaryNumber", "plannedInspectionDate", "customAttribute3", "customBusinessName", "county", "mfn")


def test_the_policyholder_and_the_team_are_contacts(api: Any) -> None:
    """(9.4, A and B) With the ids of the reference's test vectors."""
    assert [contact.to_row() for contact in project_rows(read_project_export(api.project), ORIGIN).contacts] == [
        POLICYHOLDER,
        REPRESENTATIVE,
    ]


def test_people_who_cannot_be_told_apart_are_no_contacts(api: Any) -> None:
    """[CON-1] No e-mail, no phone, no name: no row, but the project has its own."""
    api.project["data"]["project"]["customerInformation"] = None
    api.project["data"]["teamMembers"] = [{"userName": " ", "primaryContact": True}]
    rows = project_rows(read_project_export(api.project), ORIGIN)
    assert (len(rows.projects), rows.contacts) == (1, ())


def test_a_business_is_known_by_its_name(api: Any) -> None:
    """[CON-1] The last resort of the key."""
    api.project["data"]["project"]["customerInformation"] = {"customBusinessName": "Example Bakery"}
    [contact, _] = project_rows(read_project_export(api.project), ORIGIN).contacts
    assert (contact.first_name, contact.contact_type) == (None, "POLICYHOLDER")


def test_no_master_file_name_observes_nothing() -> None:
    """Settled point 2: a null API value never competes with what an event said."""
    [row] = project_rows(read_project_export({"projectId": 900001}), ORIGIN).projects
    assert (row.master_file_name, row.master_file_name_observed_at) == (None, None)


def test_odd_values_cost_only_their_own_column(api: Any) -> None:
    """Settled point 23: a year that is none becomes null, a postcode keeps its zeros, the rest is there."""
    project = api.project["data"]["project"]
    project.update(yearBuilt=1990.7, squareFootage="1800", typeOfLoss={"x": 1})
    [row] = project_rows(read_project_export(api.project), ORIGIN).projects
    assert (row.year_built, row.square_footage, row.type_of_loss, row.zip_postcode) == (None, 1800, None, "01234")


def test_an_empty_export_is_the_event_s_project() -> None:
    """[API-10] The id is the event's where the answer has none."""
    rows = project_rows(read_project_export(None), ORIGIN)
    assert rows.projects == (ProjectRow(project_id="900001", source_event_id="e-1", last_enriched_at=ASKED),)


async def test_two_events_of_one_project_cost_one_call(api: Any, context: Any, event: Any) -> None:
    """The rows are the last event's; both succeed."""
    tasks = [event("PROJECT_CREATED", event_id="a"), event("PROJECT_CREATED", event_id="b")]
    first, second = await ProjectHandler(context).handle_batch(tasks, api)
    assert api.calls == [("project", "900001")]
    assert (len(first.rows), len(second.rows), second.rows.projects[0].source_event_id) == (0, 3, "b")
    assert first.failed is second.failed is None


async def test_an_unknown_project_is_permanent_and_says_not_found(api: Any, context: Any, event: Any) -> None:
    """[7.2] It goes to the dead letters under its own reason."""
    api.project = None
    [result] = await ProjectHandler(context).handle_batch([event("PROJECT_CREATED")], api)
    assert (category_of(result), reason_of(result), len(result.rows)) == (Category.PERMANENT, "not_found", 0)
    with pytest.raises(NotFoundError):
        await read_project(api, event("PROJECT_FILE_ADDED"))


@pytest.mark.parametrize(
    "answer",
    [None, {}, [], {"data": None}, {"project": {}, "companyName": "Example Mutual"}, {"message": "maintenance"}],
    ids=str,
)
async def test_an_answer_without_a_project_is_asked_for_again(api: Any, context: Any, event: Any, answer: Any) -> None:
    """A row made of nothing would keep the project from ever being fetched by the pre-flight [HND-1]."""
    api.project = answer or {"data": answer}
    [result] = await ProjectHandler(context).handle_batch([event("PROJECT_CREATED")], api)
    assert (category_of(result), len(result.rows)) == (Category.TRANSIENT, 0)
    with pytest.raises(WrongAnswerError, match="the answer holds no project"):
        await read_project(api, event("PROJECT_FILE_ADDED"))


async def test_an_answer_about_another_project_is_not_taken_for_this_one(api: Any, context: Any, event: Any) -> None:
    """It would leave the event's own project without a row, and count as success."""
    api.project["data"]["project"]["projectId"] = 900002
    [result] = await ProjectHandler(context).handle_batch([event("PROJECT_CREATED")], api)
    assert (category_of(result), len(result.rows)) == (Category.TRANSIENT, 0)
    api.project["data"]["project"]["projectId"] = None
    [result] = await ProjectHandler(context).handle_batch([event("PROJECT_CREATED")], api)
    assert [row.project_id for row in result.rows.projects] == ["900001"], "a missing id is the event's (9.3)"


async def test_the_answer_must_be_as_young_as_the_youngest_event(api: Any, context: Any, event: Any) -> None:
    """No event is answered out of a call that was sent before it came."""
    late = datetime(2026, 3, 2, 15, tzinfo=UTC)
    await ProjectHandler(context).handle_batch(
        [event("PROJECT_CREATED", created_at=late), event("PROJECT_CREATED")], api
    )
    assert [late] == api.as_of
