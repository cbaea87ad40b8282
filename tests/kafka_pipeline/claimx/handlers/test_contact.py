"""An invitation is noted with its time and, where anybody knows, its person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.claimx.handlers.base import HandlerResult
from kafka_pipeline.claimx.handlers.contact import PolicyholderHandler
from kafka_pipeline.claimx.handlers.contact_rows import person_in
from kafka_pipeline.claimx.schemas.entities import ContactRow, ProjectRow
from kafka_pipeline.common.failures import Category

INGESTED = datetime(2026, 3, 2, 14, 5, 10, tzinfo=UTC)
ASKED = INGESTED + timedelta(seconds=2)
PAT = "038c68b3-b55d-5c2e-9d7a-0be7fd4d6e4f"


def category_of(result: HandlerResult) -> Category | None:
    """Return the category of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.category


def reason_of(result: HandlerResult) -> str | None:
    """Return the reason of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.reason


def time_row(kind: str, at: datetime = INGESTED) -> ProjectRow:
    """Return the partial project row of an event."""
    columns = {"POLICYHOLDER_INVITED": "policyholder_invited_at", "POLICYHOLDER_JOINED": "policyholder_joined_at"}
    return ProjectRow.model_validate(
        {"project_id": "900001", columns[kind]: at, "source_event_id": f"event-{kind}", "last_enriched_at": None}
    )


@pytest.mark.parametrize(("kind", "status"), [("POLICYHOLDER_INVITED", "INVITED"), ("POLICYHOLDER_JOINED", "JOINED")])
async def test_without_a_person_in_the_payload_the_policyholder_of_the_export_is_meant(
    api: Any, context: Any, event: Any, kind: str, status: str
) -> None:
    """[HND-8, CON-4] The export's rows (A, B), contact D with the status, and the project's time."""
    [result] = await PolicyholderHandler(context).handle_batch([event(kind, raw_data={"projectId": 900001})], api)
    export, timed = result.rows.projects
    policyholder, team, invited = result.rows.contacts
    assert (timed, "CLM-0000-TEST", ASKED) == (time_row(kind), export.project_number, export.last_enriched_at)
    assert (policyholder.contact_id, policyholder.is_primary_contact, policyholder.invite_status) == (PAT, True, None)
    assert team.contact_email == "rep@example.com"
    assert invited == policyholder.model_copy(
        update={"is_primary_contact": None, "invite_status": status, "source_event_id": f"event-{kind}"}
    )


async def test_a_person_in_the_payload_costs_no_call(api: Any, context: Any, event: Any) -> None:
    """[CON-3] Everything is the event's, observed at the event's time."""
    payload = {
        "policyholder": {"email": " Pat.Sample@example.com ", "firstName": "Pat", "lastName": "Sample"},
        "phoneNumber": "5550100142",
        "phoneCountryCode": 1,
        "invitedAt": "2026-03-02T14:00:00Z",
    }
    task = event("POLICYHOLDER_INVITED", raw_data=payload)
    [result] = await PolicyholderHandler(context).handle_batch([task], api)
    assert api.calls == []
    assert result.rows.contacts == (
        ContactRow(
            contact_id=PAT,
            project_id="900001",
            contact_type="POLICYHOLDER",
            contact_email="Pat.Sample@example.com",
            first_name="Pat",
            last_name="Sample",
            phone_number="5550100142",
            phone_country_code=1,
            is_primary_contact=None,
            invite_status="INVITED",
            source_event_id="event-POLICYHOLDER_INVITED",
            last_enriched_at=INGESTED,
        ),
    )
    assert result.rows.projects == (time_row("POLICYHOLDER_INVITED", datetime(2026, 3, 2, 14, tzinfo=UTC)),)


async def test_with_nobody_anywhere_the_time_is_still_written(api: Any, context: Any, event: Any) -> None:
    """[HND-8] Success, no contact of the policyholder."""
    api.project = {"data": {"project": {"projectId": 900001}}}
    [result] = await PolicyholderHandler(context).handle_batch([event("POLICYHOLDER_JOINED")], api)
    assert (None, (), time_row("POLICYHOLDER_JOINED")) == (
        result.failed,
        result.rows.contacts,
        result.rows.projects[-1],
    )


async def test_both_events_of_a_project_cost_one_call_and_keep_their_own_times(
    api: Any, context: Any, event: Any
) -> None:
    """The export's rows are there once; each event has its own time and status."""
    later = INGESTED + timedelta(hours=1)
    tasks = [event("POLICYHOLDER_INVITED"), event("POLICYHOLDER_JOINED", ingested_at=later)]
    invited, joined = await PolicyholderHandler(context).handle_batch(tasks, api)
    assert api.calls == [("project", "900001")]
    assert ((time_row("POLICYHOLDER_INVITED"),), time_row("POLICYHOLDER_JOINED", later)) == (
        invited.rows.projects,
        joined.rows.projects[-1],
    )
    assert (
        [contact.invite_status for contact in invited.rows.contacts],
        [contact.invite_status for contact in joined.rows.contacts],
    ) == (["INVITED"], [None, None, "JOINED"])


async def test_an_unreadable_project_fails_only_the_events_that_need_it(
    api: Any, context: Any, event: Any, api_error: Any
) -> None:
    """[HND-10] The one whose payload names the person succeeds."""
    api.project = api_error(Category.TRANSIENT)
    named, nameless = await PolicyholderHandler(context).handle_batch(
        [event("POLICYHOLDER_INVITED", raw_data={"email": "a@example.com"}), event("POLICYHOLDER_INVITED")], api
    )
    assert (named.failed, category_of(nameless), len(nameless.rows)) == (None, Category.TRANSIENT, 0)


async def test_an_unknown_project_is_not_found(api: Any, context: Any, event: Any) -> None:
    """[7.2] 404 on the export."""
    api.project = None
    [result] = await PolicyholderHandler(context).handle_batch([event("POLICYHOLDER_JOINED")], api)
    assert (category_of(result), reason_of(result)) == (Category.PERMANENT, "not_found")


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("POLICYHOLDER_INVITED", {"raw_data": {"joinedAt": "2026-01-01T00:00:00Z"}}, INGESTED),
        (
            "POLICYHOLDER_JOINED",
            {"raw_data": {"invitee": {"joined_at": "2026-01-01"}}},
            datetime(2026, 1, 1, tzinfo=UTC),
        ),
        ("POLICYHOLDER_INVITED", {"raw_data": {"invitedAt": "soon"}}, INGESTED),
        ("POLICYHOLDER_INVITED", {"ingested_at": None}, INGESTED + timedelta(seconds=1)),
        ("POLICYHOLDER_INVITED", {"ingested_at": INGESTED + timedelta(days=9)}, INGESTED + timedelta(days=9)),
    ],
)
async def test_the_time_is_the_payload_s_else_the_event_s(
    api: Any, context: Any, event: Any, *, kind: str, changes: dict[str, Any], expected: datetime
) -> None:
    """(9.3) Its own kind of time only, and as stored, not as ordered (settled point 24)."""
    [result] = await PolicyholderHandler(context).handle_batch([event(kind, **changes)], api)
    assert result.rows.projects[-1] == time_row(kind, expected)


@pytest.mark.parametrize("name", ["email", "emailAddress", "inviteeEmail", "userEmail", "policyholderEmail"])
@pytest.mark.parametrize("place", [None, "policyholder", "contact", "invitee"])
def test_every_key_and_place_of_an_email_is_read(name: str, place: str | None) -> None:
    """[CON-3] camelCase and snake_case, at the top or one level down."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    for key in (name, snake):
        entry = {key: "a@example.com"}
        assert person_in({place: entry} if place else entry).email == "a@example.com"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"name": "Pat"}, ("Pat", None, None)),
        ({"name": "Pat", "first_name": "Robin"}, ("Robin", None, None)),
        ({"phone": 5550100142}, (None, None, "5550100142")),
        ({"contact": {"phone_number": "555"}}, (None, None, "555")),
        ({"firstName": {"odd": 1}, "lastName": ["odd"]}, (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_names_and_numbers_are_read_where_they_are(payload: Any, expected: tuple[str | None, ...]) -> None:
    """[CON-3] `name` is a first name of last resort; odd values are no values."""
    person = person_in(payload)
    assert expected == (person.first_name, person.last_name, person.phone)
