"""The truth follows from world and feed by the rules, worked out here by hand for single cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import DayOf, JsonText, Matcher, OneOf, Truth, agrees
from kafka_pipeline.simulator.feed import FeedItem, FeedKind, build_feed
from kafka_pipeline.simulator.invitee import Invitee
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.spelling import FeedEvent
from kafka_pipeline.simulator.truth import build_truth
from kafka_pipeline.simulator.world import Customer, Email, LinkForm, Phone, TeamMember, World

API, STORAGE = "http://api.example.com", "http://s3.example.com"
AT = datetime(2026, 3, 1, tzinfo=UTC)


def _event(event_type: str, project_id: str, **facts: Any) -> FeedItem:
    values: dict[str, Any] = {"ingested_at": AT, "media_id": None, "media_ids": None, "task_assignment_id": None}
    values |= {"video_collaboration_id": None, "master_file_name": None, "raw_data": {}}
    values |= {"event_id": f"{event_type}{facts}", "event_type": event_type, "project_id": project_id} | facts
    return FeedItem(kind=FeedKind.EVENT, value=b"", key=None, event_type=event_type, event=FeedEvent(**values))


def _truth(world: World, *items: FeedItem) -> Truth:
    return build_truth(world, items, api_origin=API, storage_origin=STORAGE)


@pytest.fixture
def world() -> World:
    """Give a small world."""
    return build_world(SimulatorSettings(projects=8, events=100))


def test_equal_settings_give_an_equal_truth() -> None:
    """Rows and hashes are the same each time they are worked out."""
    asked = SimulatorSettings(projects=5, events=60)
    one, two = (
        build_truth(build_world(asked), build_feed(asked, build_world(asked)), api_origin=API, storage_origin=STORAGE)
        for _ in range(2)
    )
    assert one == two


def test_only_routed_events_make_projects_and_only_media_events_make_media(world: World) -> None:
    """An unrouted event is a row of claimx_events alone; a creation brings project and contacts; a file event all."""
    first = next(project for project in world.projects.values() if project.media)
    project_id = str(first.project_id)
    unrouted = _truth(world, _event("PROJECT_CONVERSATION", project_id))
    assert [len(table.rows) for table in unrouted.tables.values()] == [1, *[0] * 8]
    created = _truth(world, _event(words.PROJECT_CREATED, project_id))
    assert [len(created.tables[name].rows) for name in ("claimx_events", "claimx_projects")] == [1, 1]
    assert (len(created.tables["claimx_media"].rows), len(created.files)) == (0, 0)
    filed = _truth(world, _event(words.PROJECT_FILE_ADDED, project_id, media_id=str(first.media[0].media_id)))
    linked = [item for item in first.media if item.link is not LinkForm.NONE]
    assert (len(first.media), len(linked)) == (len(filed.tables["claimx_media"].rows), len(filed.files))
    assert (1, len(linked)) == (
        len(filed.tables["claimx_projects"].rows),
        len(filed.tables["claimx_attachments"].rows),
    )


def test_duplicates_add_nothing_and_malformed_items_are_counted(world: World) -> None:
    """A second copy changes no table; a malformed item is expected among the dead letters."""
    event = _event(words.PROJECT_CREATED, "900001")
    bad = FeedItem(kind=FeedKind.MALFORMED, value=b"", key=None, event_type="", event=None)
    once, twice = _truth(world, event), _truth(world, event, replace(event, kind=FeedKind.DUPLICATE), bad)
    assert once.tables == twice.tables
    assert (once.dead_events, twice.dead_events) == (0, 1)


@pytest.mark.parametrize(("of_api", "expected"), [("FROM-API", "FROM-API"), (None, "LATER")])
def test_the_latest_master_file_name_that_is_not_null_wins(world: World, of_api: str | None, expected: str) -> None:
    """The API's is read after all events; where it is null, the event that happened last decides, not the last one."""
    project = replace(next(iter(world.projects.values())), master_file_name=of_api)
    items = [
        _event(
            words.PROJECT_MFN_ADDED, str(project.project_id), master_file_name=name, ingested_at=AT + timedelta(days)
        )
        for days, name in ((2, "LATER"), (1, "EARLIER"))
    ]
    rows = _truth(World([project]), *items).tables["claimx_projects"].rows
    assert expected == rows[(str(project.project_id),)]["master_file_name"]


def test_a_feed_that_leaves_the_name_open_is_refused(world: World) -> None:
    """Two names at one moment, or one at no moment, have no latest."""
    for times in ((AT, AT), (None, AT)):
        items = [
            _event(words.PROJECT_MFN_ADDED, "900001", master_file_name=f"N{number}", ingested_at=moment)
            for number, moment in enumerate(times)
        ]
        with pytest.raises(ValueError, match="leaves open"):
            _truth(world, *items)


def test_a_task_event_makes_the_rows_of_its_task_alone(world: World) -> None:
    """Task, form, link and recipient, once however often it is told of; no other task, no media."""
    task = next(
        task for project in world.projects.values() for task in project.tasks if task.template and task.external_link
    )
    told = [
        _event(kind, str(task.project_id), task_assignment_id=str(task.assignment_id))
        for kind in sorted(words.TASK_TYPES)
    ]
    truth = _truth(world, *told)
    counts = {name: len(table.rows) for name, table in truth.tables.items()}
    assert [counts[f"claimx_{name}"] for name in ("tasks", "task_templates", "external_links", "media")] == [1, 1, 1, 0]
    [row] = truth.tables["claimx_tasks"].rows.values()
    assert (row["task_id"], row["template_id"]) == (str(task.assignment_id), str(task.template_id))
    recipients = [
        row
        for row in truth.tables["claimx_contacts"].rows.values()
        if row["task_assignment_id"] == str(task.assignment_id)
    ]
    assert [(row["is_primary_contact"], row["invite_status"]) for row in recipients] == [(False, None)]


@pytest.mark.parametrize(
    ("told", "status", "invited", "joined"),
    [
        ([], None, None, None),
        ([(words.POLICYHOLDER_INVITED, 1), (words.POLICYHOLDER_INVITED, 0)], "INVITED", 0, None),
        ([(words.POLICYHOLDER_JOINED, 2), (words.POLICYHOLDER_INVITED, 3)], "JOINED", 3, 2),
    ],
)
def test_who_joined_stays_joined_and_the_earliest_times_count(
    world: World, told: list[tuple[str, int]], status: str | None, invited: int | None, joined: int | None
) -> None:
    """[CON-4, MRG-4] In whatever order it is told."""
    project = next(project for project in world.projects.values() if project.customer and project.customer.emails)
    project_id = str(project.project_id)
    events = [_event(kind, project_id, ingested_at=AT + timedelta(days)) for kind, days in told]
    truth = _truth(world, _event(words.PROJECT_CREATED, project_id), *events)
    row = truth.tables["claimx_projects"].rows[project_id,]
    times = [None if days is None else AT + timedelta(days) for days in (invited, joined)]
    assert [row["policyholder_invited_at"], row["policyholder_joined_at"]] == times
    statuses = {
        row["contact_type"]: row["invite_status"]
        for row in truth.tables["claimx_contacts"].rows.values()
        if row["project_id"] == project_id
    }
    assert statuses["POLICYHOLDER"] == status
    assert statuses.get("CLAIM_REP") is None


def test_whom_an_invitation_names_is_a_contact_of_his_own(world: World) -> None:
    """[CON-1, CON-3] As told last, each column by its own time; the policyholder, of whom none told, is as he was."""
    project = next(project for project in world.projects.values() if project.customer and project.customer.emails)
    project_id = str(project.project_id)
    people = [
        Invitee(email="kim@example.com", first_name="Kim", phone_number="555 0102 001"),
        Invitee(email="Kim@example.com", first_name="Zo\u00eb", said_at=AT - timedelta(hours=1)),
    ]
    kinds = (words.POLICYHOLDER_INVITED, words.POLICYHOLDER_JOINED)
    events = [
        _event(kind, project_id, ingested_at=AT + timedelta(days), invitee=person)
        for days, (kind, person) in enumerate(zip(kinds, people, strict=True))
    ]
    truth = _truth(world, _event(words.PROJECT_CREATED, project_id), *reversed(events))
    rows = truth.tables["claimx_contacts"].rows.values()
    [guest] = [row for row in rows if str(row["contact_email"]).lower() == "kim@example.com"]
    assert (guest["first_name"], guest["first_name_observed_at"]) == ("Zo\u00eb", AT + timedelta(1))
    assert (guest["phone_number"], guest["phone_number_observed_at"]) == ("555 0102 001", AT)
    assert (guest["invite_status"], guest["is_primary_contact"], guest["last_name"]) == ("JOINED", None, None)
    assert (guest["last_enriched_at"], guest["source_event_id"]) == (AT + timedelta(1), events[1].event.event_id)  # type: ignore[union-attr]
    assert {row["invite_status"] for row in rows if row is not guest} == {None}
    row = truth.tables["claimx_projects"].rows[project_id,]
    assert (row["policyholder_invited_at"], row["policyholder_joined_at"]) == (AT, AT - timedelta(hours=1))


def test_an_invitation_that_names_the_policyholder_fills_what_the_export_leaves_open(world: World) -> None:
    """The export is read later, so what it says stays: the name, and the spelling of the e-mail."""
    holder = Customer(
        first_name="Pat",
        last_name=None,
        custom_business_name=None,
        business_line_type=None,
        emails=(Email(email_address="pat@example.com", primary=True),),
        phones=(),
    )
    project = replace(next(iter(world.projects.values())), customer=holder, team=())
    named = Invitee(email="PAT@example.com", first_name="Patricia", phone_number="555 0102 001")
    events = [
        _event(words.PROJECT_CREATED, str(project.project_id)),
        _event(words.POLICYHOLDER_INVITED, str(project.project_id), invitee=named),
    ]
    [row] = _truth(World([project]), *events).tables["claimx_contacts"].rows.values()
    assert (row["contact_email"], row["first_name"], row["phone_number"]) == ("pat@example.com", "Pat", "555 0102 001")
    assert (row["phone_number_observed_at"], row["first_name_observed_at"]) == (AT, Matcher.PRESENT)
    assert (row["invite_status"], row["is_primary_contact"]) == ("INVITED", True)


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ([words.VIDEO_COLLABORATION_INVITE_SENT], "INVITED"),
        ([words.VIDEO_COLLABORATION_COMPLETED, words.VIDEO_COLLABORATION_INVITE_SENT], "COMPLETED"),
    ],
)
def test_a_call_is_as_far_as_its_events_say(world: World, kinds: list[str], status: str) -> None:
    """[HND-9] The report has no status; a finished call stays finished."""
    call = next(call for project in world.projects.values() for call in project.calls)
    ids = {"project_id": str(call.project_id), "video_collaboration_id": str(call.video_collaboration_id)}
    truth = _truth(world, *(_event(kind, **ids) for kind in kinds))
    [row] = truth.tables["claimx_video_collab"].rows.values()
    assert (row["status"], row["claim_id"]) == (status, str(call.project_id))


@pytest.mark.parametrize(
    ("customer", "email", "known"),
    [
        ({"emails": (Email(email_address=" A@example.com ", primary=False),)}, "A@example.com", True),
        (
            {
                "emails": (
                    Email(email_address="a@example.com", primary=False),
                    Email(email_address="b@example.com", primary=True),
                )
            },
            "b@example.com",
            True,
        ),
        ({"phones": (Phone(phone_number="555 0100 142", phone_country_code=1),)}, None, True),
        ({"custom_business_name": "Example Bakery"}, None, True),
        ({}, None, False),
    ],
)
def test_a_policyholder_is_known_by_the_first_thing_that_tells(
    world: World,
    customer: dict[str, Any],
    email: str | None,
    known: bool,  # noqa: FBT001 - a table of cases
) -> None:
    """The primary e-mail, else the first; a phone or a business alone will do; nothing makes no contact."""
    blank: dict[str, Any] = dict.fromkeys(("first_name", "last_name", "custom_business_name", "business_line_type"))
    holder = Customer(**(blank | {"emails": (), "phones": ()} | customer))
    member = TeamMember(user_name=" Rep@example.com ", primary_contact=None, mfn="M")
    nobody = TeamMember(user_name=None, primary_contact=True, mfn=None)
    project = replace(next(iter(world.projects.values())), customer=holder, team=(member, nobody))
    truth = _truth(World([project]), _event(words.PROJECT_CREATED, str(project.project_id)))
    rows = list(truth.tables["claimx_contacts"].rows.values())
    holders = [row for row in rows if row["contact_type"] == "POLICYHOLDER"]
    assert [email] * known == [row["contact_email"] for row in holders]
    assert [row["contact_email"] for row in rows if row["contact_type"] == "CLAIM_REP"] == ["Rep@example.com"]
    assert (email,) == tuple({row["primary_email"] for row in truth.tables["claimx_projects"].rows.values()})


def test_links_are_expected_without_query(world: World) -> None:
    """What is stored of a link ends before `?`, on the server that gave it."""
    items = [
        _event(words.PROJECT_FILE_ADDED, str(project.project_id), event_id=str(project.project_id))
        for project in world.projects.values()
    ]
    truth = _truth(world, *items)
    for key, row in truth.tables["claimx_media"].rows.items():
        item = world.media[int(str(key[0]))]
        link = row["full_download_link"]
        if item.link is LinkForm.FILE_SERVICE:
            assert link == f"{API}/service/cxfileservice/file/{item.media_id}"
        elif item.link is LinkForm.STORAGE:
            assert link == f"{STORAGE}{item.storage_path}"
        else:
            assert (link, row["expires_at"]) == (None, None)


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (1, "1", False),
        (None, None, True),
        (None, "", False),
        (AT, AT, True),
        (AT, AT.replace(tzinfo=None), False),
        (Matcher.PRESENT, 0, True),
        (Matcher.PRESENT, None, False),
        (Matcher.BLANK, "", True),
        (Matcher.BLANK, None, True),
        (Matcher.BLANK, " ", False),
        (JsonText({"a": [1]}), '{ "a": [1] }', True),
        (JsonText({"a": [1]}), '{"a": ["1"]}', False),
        (JsonText({"a": [1]}), "no", False),
        (JsonText(None), None, False),
        (OneOf(frozenset({"a", "b"})), "a", True),
        (OneOf(frozenset({"a", "b"})), None, False),
        (OneOf(frozenset({"a", "b"})), "c", False),
        (DayOf("at"), AT.date(), True),
        (DayOf("at"), AT, False),
        (DayOf("at"), (AT + timedelta(1)).date(), False),
        (DayOf("absent"), AT.date(), False),
    ],
)
def test_a_value_agrees_only_with_what_was_expected(
    expected: object,
    found: object,
    same: bool,  # noqa: FBT001 - a table of cases
) -> None:
    """Types count, times must be aware, and each matcher says what its name does."""
    assert same is agrees(expected, found, {"at": AT})
