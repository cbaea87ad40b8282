"""Where sources speak at different times or contradict each other, the outcome still is one, whatever the order.

The model in this file is written from the words of the reference: it goes through the events and says what they mean,
and knows no rows that are merged. What it leaves out is what the reference leaves to the order: which of two projects
a file is seen in first, and which of two failures came last; there it follows the order.

Master file names and invitations are told at any time, before the API was asked, after it, and in the future; all else
that the API answers does not change, and sources agree where both carry a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.api import Answer
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.shapes import (
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.common.runtime.outcomes import Done
from kafka_pipeline.simulator.identity import contact_id

ASKED = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""When the API is asked first; each call is a second later than the one before."""
PUBLISHED = ASKED - timedelta(minutes=1)
NOW = ASKED + timedelta(hours=2)

PROJECTS, FILES, PEOPLE = ("1", "2"), ("71", "72", "73"), ("kim@example.com", "pat@example.com")
MEDIA_KINDS = ("PROJECT_FILE_ADDED", "PROJECT_MFN_ADDED")
TASK_KINDS = ("CUSTOM_TASK_ASSIGNED", "CUSTOM_TASK_COMPLETED")
CALL_KINDS = ("VIDEO_COLLABORATION_INVITE_SENT", "VIDEO_COLLABORATION_COMPLETED")
PEOPLE_KINDS = ("POLICYHOLDER_INVITED", "POLICYHOLDER_JOINED")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What ClaimX answers about a project, always."""

    name: str | None
    """The master file name."""
    policyholder: str | None
    recipient: str | None
    """Who got the project's form."""
    files: tuple[str, ...]
    call_status: str | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event."""

    kind: str
    project: str
    at: datetime | None
    name: str | None
    """The master file name of PROJECT_MFN_ADDED."""
    person: str | None
    """Whom the payload names."""
    said_at: datetime | None
    """When the payload says that it happened."""

    @property
    def happened(self) -> datetime:
        """The event's own time."""
        return self.at or PUBLISHED


World = dict[str, Facts]
Batches = list[list[Event]]
Table = dict[Any, dict[str, Any]]

TIMES = st.one_of(
    st.integers(1, 600).map(lambda n: ASKED - timedelta(minutes=n)),
    st.integers(0, 50).map(lambda n: ASKED + timedelta(hours=1, minutes=n)),
    st.integers(1, 3).map(lambda n: NOW + timedelta(days=n)),
)
FACTS = st.builds(
    Facts,
    name=st.sampled_from([None, "M-API"]),
    policyholder=st.sampled_from([None, *PEOPLE]),
    recipient=st.sampled_from([None, *PEOPLE]),
    files=st.lists(st.sampled_from(FILES), unique=True).map(tuple),
    call_status=st.sampled_from([None, "LIVE"]),
)
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(
        ["PROJECT_CREATED", *MEDIA_KINDS, "PROJECT_MFN_ADDED", *TASK_KINDS, *CALL_KINDS, *PEOPLE_KINDS]
    ),
    project=st.sampled_from(PROJECTS),
    at=st.none() | TIMES,
    name=st.sampled_from([None, "M-1", "M-2", "M-3"]),
    person=st.sampled_from([None, None, *PEOPLE]),
    said_at=st.none() | TIMES,
)
WORLDS = st.fixed_dictionaries(dict.fromkeys(PROJECTS, FACTS))


def batches(max_events: int, max_size: int) -> st.SearchStrategy[Batches]:
    """Return batches of events, some of them told again later."""
    return st.lists(
        st.lists(EVENTS, min_size=1, max_size=max_size), min_size=1, max_size=max_events // max_size
    ).flatmap(lambda some: st.permutations([*some, *some[:1]]) if len(some) < 4 else st.just(some))


# -- the model ---------------------------------------------------------------------------------------------------------


def projects_meant(world: World, events: Sequence[Event]) -> Table:
    """Return the latest name by the time at which it was observed (point 2); the earliest times [MRG-4]."""
    found = {}
    for project in {event.project for event in events}:
        names = [
            (NOW if event.happened > NOW + timedelta(minutes=5) else event.happened, event.name)
            for event in events
            if (event.project, event.kind) == (project, "PROJECT_MFN_ADDED") and event.name
        ]
        if world[project].name:
            names.append((ASKED, world[project].name or ""))
        found[project] = {
            "project_number": f"CLM-{project}",
            "master_file_name": max(names)[1] if names else None,
            "policyholder_invited_at": _earliest(events, project, "POLICYHOLDER_INVITED"),
            "policyholder_joined_at": _earliest(events, project, "POLICYHOLDER_JOINED"),
        }
    return found


def _earliest(events: Sequence[Event], project: str, kind: str) -> datetime | None:
    times = [event.said_at or event.happened for event in events if (event.project, event.kind) == (project, kind)]
    return min(times, default=None)


def contacts_meant(world: World, events: Sequence[Event]) -> Table:
    """Return sources A, C and D: the policyholder is primary whoever says not (point 3); JOINED stays [CON-4]."""
    found = {}
    for project in {event.project for event in events}:
        facts, own = world[project], [event for event in events if event.project == project]
        sent_to = facts.recipient if any(event.kind in TASK_KINDS for event in own) else None
        states: dict[str | None, set[str]] = {}
        for event in own:
            if event.kind in PEOPLE_KINDS:
                states.setdefault(event.person or facts.policyholder, set()).add(event.kind.partition("_")[2])
        for person in {facts.policyholder, sent_to, *states} - {None}:
            state = states.get(person, set())
            identity = contact_id(project_id=project, contact_type="POLICYHOLDER", email=person)
            found[identity, project] = {
                "contact_email": person,
                "first_name": _first_name(person),
                "is_primary_contact": True if person == facts.policyholder else False if person == sent_to else None,
                "invite_status": "JOINED" if "JOINED" in state else "INVITED" if state else None,
                "task_assignment_id": f"8{project}" if person == sent_to else None,
            }
    return found


def _first_name(person: str | None) -> str:
    return (person or "").partition("@")[0].title()


def media_meant(world: World, told: Batches) -> Table:
    """Return every file of every list that was read; it belongs to the project that showed it first (point 22)."""
    found: Table = {}
    for batch in told:
        for project in dict.fromkeys(event.project for event in batch if event.kind in MEDIA_KINDS):
            for file in world[project].files:
                found.setdefault((file,), {"project_id": project, "file_name": f"{file}.jpg"})
    return found


def calls_meant(world: World, events: Sequence[Event]) -> Table:
    """Return the report's status, else what the events say; INVITED never replaces COMPLETED [HND-9, MRG-4]."""
    found: Table = {}
    for event in events:
        if event.kind in CALL_KINDS:
            told = {each.kind for each in events if each.project == event.project}
            by_events = "COMPLETED" if CALL_KINDS[1] in told else "INVITED"
            found[f"9{event.project}",] = {"status": world[event.project].call_status or by_events}
    return found


def forms_meant(events: Sequence[Event]) -> Table:
    """Return the project's form, once [9.1]."""
    return {("4", event.project): {"name": "Contents form"} for event in events if event.kind in TASK_KINDS}


# -- the thing itself --------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return the time."""
        return NOW

    def monotonic(self) -> float:
        """Return seconds."""
        return 0.0


class Api:
    """Answers by the facts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._now = ASKED

    def _answer(self, value: Any) -> Any:
        self._now += timedelta(seconds=1)
        return Answer(value=value, requested_at=self._now)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Export the project."""
        facts = self._world[project_id]
        project = {"projectId": project_id, "projectNumber": f"CLM-{project_id}", "mfn": facts.name}
        if facts.policyholder:
            emails = [{"emailAddress": facts.policyholder}]
            project["customerInformation"] = {"firstName": _first_name(facts.policyholder), "emails": emails}  # type: ignore[assignment]
        return self._answer(read_project_export({"project": project}))

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """List the files."""
        link = "https://claimx.example.com/service/cxfileservice/file/{}"
        items = [
            {"mediaID": file, "mediaName": f"{file}.jpg", "fullDownloadLink": link.format(file)}
            for file in self._world[project_id].files
        ]
        return self._answer(read_media_list(items))

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Read the task."""
        project_id = task_assignment_id[1:]
        person = self._world[project_id].recipient
        link = {"linkId": 5, "email": person, "firstName": _first_name(person)} if person else None
        form = {"taskId": 4, "name": "Contents form"}
        task = {"assignmentId": task_assignment_id, "projectId": project_id, "customTask": form}
        return self._answer(read_task_assignment({**task, "externalLinkData": link}))

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Find the call."""
        call = {"videoCollaborationId": video_collaboration_id, "status": self._world[project_id].call_status}
        return self._answer(read_video_report(call)[0])


def _records(tale: Any, batch: Sequence[Event]) -> Iterator[Any]:
    for event in batch:
        payload: dict[str, Any] = {}
        if event.kind in PEOPLE_KINDS:
            said_at = None if event.said_at is None else event.said_at.isoformat()
            payload["invitedAt" if event.kind == PEOPLE_KINDS[0] else "joinedAt"] = said_at
            if event.person:
                payload["policyholder"] = {"email": event.person, "firstName": _first_name(event.person)}
        yield tale.record(
            event.kind,
            event.project,
            created_at=PUBLISHED,
            ingested_at=event.at,
            master_file_name=event.name if event.kind == "PROJECT_MFN_ADDED" else None,
            task_assignment_id=f"8{event.project}" if event.kind in TASK_KINDS else None,
            video_collaboration_id=f"9{event.project}" if event.kind in CALL_KINDS else None,
            raw_data=payload,
        )


async def worked_off(tale: Any, writer: Any, world: World, told: Batches) -> list[ClaimXDownloadTask]:
    """Enrich the batches one after the other; return the files that are queued."""
    worker = tale.worker(writer, Api(world), clock=Clock())
    queued = []
    for batch in told:
        outcomes = await worker.process(list(_records(tale, batch)))
        assert {type(outcome) for outcome in outcomes} == {Done}
        queued += [ClaimXDownloadTask.from_bytes(message.value) for each in outcomes for message in each.messages]
    return queued


def check(tables: Any, world: World, told: Batches, queued: Sequence[ClaimXDownloadTask]) -> None:
    """Compare the tables with what the events mean."""
    events = [event for batch in told for event in batch]
    media = media_meant(world, told)
    projects = {(key,): row for key, row in projects_meant(world, events).items()}
    assert _seen(tables, "projects", ["project_id"], projects) == projects
    contacts = contacts_meant(world, events)
    assert _seen(tables, "contacts", ["contact_id", "project_id"], contacts) == contacts
    assert _seen(tables, "media", ["media_id"], media) == media
    calls = calls_meant(world, events)
    assert _seen(tables, "video_collab", ["collaboration_id"], calls) == calls
    forms = forms_meant(events)
    assert _seen(tables, "task_templates", ["template_id", "project_id"], forms) == forms
    assert {(task.media_id,) for task in queued} == set(media), "every file is queued"
    assert all(task.project_id == media[task.media_id,]["project_id"] for task in queued), "and for its project alone"


def _seen(tables: Any, name: str, keys: list[str], meant: Table) -> Table:
    """Return a table by its keys, with the columns that the model speaks of."""
    columns = next(iter(meant.values()), {})
    rows = tables.rows(name)
    found = {tuple(row[key] for key in keys): {column: row[column] for column in columns} for row in rows}
    assert len(found) == len(rows), "no key is there twice"
    return found


@given(world=WORLDS, told=batches(24, 6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_events_mean_is_in_the_tables_whatever_their_order(
    tale: Any, memory: Any, world: World, told: Batches
) -> None:
    """Points 2, 3, 22 and 24, invitations and calls that never go back, earliest times, forms inserted once."""
    tables = memory()
    queued = asyncio.run(worked_off(tale, tables, world, told))
    check(tables, world, told, queued)


@given(world=WORLDS, told=batches(12, 6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_and_so_it_is_in_a_lake(tale: Any, new_lake: Callable[[], Any], world: World, told: Batches) -> None:
    """The same through real Delta merges."""

    async def work() -> None:
        lake = new_lake()
        queued = await worked_off(tale, lake.writer, world, told)
        await lake.close()
        check(lake, world, told, queued)

    asyncio.run(work())


# -- the inventory -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How an attempt to store a file ended, by `status`; one that stored it is known by its time."""

    file: str
    status: AttachmentStatus
    minute: int
    error: str

    @property
    def stored(self) -> bool:
        """Whether the file arrived."""
        return self.status in {AttachmentStatus.UPLOADED, AttachmentStatus.COMPLETED}

    def row(self) -> AttachmentRow:
        """Return the row that the uploader or the result processor writes."""
        common = {"media_id": self.file, "project_id": "1", "blob_path": f"claimx/1/{self.file}/a.jpg"}
        if not self.stored:
            return AttachmentRow(**common, status=self.status, error_category=self.error)
        at = ASKED + timedelta(minutes=self.minute)
        return AttachmentRow(**common, status=self.status, content_sha256=f"hash-{self.minute}", downloaded_at=at)


ATTEMPTS = st.builds(
    Attempt,
    file=st.sampled_from(FILES[:2]),
    status=st.sampled_from(AttachmentStatus),
    minute=st.integers(0, 3),
    error=st.sampled_from(["transient", "auth", "permanent"]),
)


def inventory_meant(attempts: Sequence[Attempt]) -> Table:
    """Return by [INV-1]: the last download counts, completed once anybody says so; else the last failure."""
    found: Table = {}
    for file in {attempt.file for attempt in attempts}:
        own = [attempt for attempt in attempts if attempt.file == file]
        arrived = [attempt for attempt in own if attempt.stored]
        last = max((attempt.minute for attempt in arrived), default=0)
        states = {attempt.status.value for attempt in arrived if attempt.minute == last}
        found[file,] = {
            "status": ("completed" if "completed" in states else "uploaded") if states else own[-1].status.value,
            "content_sha256": f"hash-{last}" if states else None,
            "downloaded_at": ASKED + timedelta(minutes=last) if states else None,
            "error_category": None if states else own[-1].error,
            "blob_path": f"claimx/1/{file}/a.jpg",
        }
    return found


ATTEMPT_BATCHES = st.lists(st.lists(ATTEMPTS, min_size=1, max_size=5), min_size=1, max_size=5)


async def _kept(tables: Any, writer: Any, told: list[list[Attempt]]) -> Table:
    for batch in told:
        await writer.write([attempt.row() for attempt in batch])
    return _seen(tables, "attachments", ["media_id"], inventory_meant(told[0]))


@given(told=ATTEMPT_BATCHES)
@settings(max_examples=300, deadline=None)
def test_the_inventory_tells_of_the_last_download_whatever_the_order(memory: Any, told: list[list[Attempt]]) -> None:
    """A failure changes nothing of a success, `uploaded` nothing of `completed`; a success clears the errors."""
    tables = memory()
    assert asyncio.run(_kept(tables, tables, told)) == inventory_meant([each for batch in told for each in batch])


@given(told=ATTEMPT_BATCHES)
@settings(max_examples=10, deadline=None)
def test_and_so_it_does_in_a_lake(new_lake: Callable[[], Any], told: list[list[Attempt]]) -> None:
    """The same through real Delta merges."""

    async def work() -> Table:
        lake = new_lake()
        found = await _kept(lake, lake.writer, told)
        await lake.close()
        return found

    assert asyncio.run(work()) == inventory_meant([each for batch in told for each in batch])
