"""What ClaimX says changes between two reads: the tables end with what was said last, in whatever order it arrives.

Two models. One goes through the worker: facts change between batches, values come, change and are cleared. The other
takes the rows that handlers make of such answers, and of events that tell of people as of their own time, and merges
them in any order, in any batches, with any repeats, as enrichers do that work side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.api import Answer
from kafka_pipeline.claimx.handlers.contact_rows import contact_of_export, contact_of_payload, policyholder_time_row
from kafka_pipeline.claimx.handlers.media_rows import master_file_name_rows
from kafka_pipeline.claimx.handlers.project_rows import policyholder_of, project_rows
from kafka_pipeline.claimx.handlers.results import Origin
from kafka_pipeline.claimx.handlers.task_rows import task_rows
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import (
    MediaList,
    ProjectExport,
    TaskAssignment,
    read_project_export,
    read_task_assignment,
)
from kafka_pipeline.common.runtime.outcomes import Done

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOW = START + timedelta(days=1)
PERSON = "pat@example.com"


def some(*values: str) -> st.SearchStrategy[str | None]:
    """Return one of the values, or nothing."""
    return st.sampled_from([None, *values])


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What ClaimX says of the one project at one time."""

    status: str | None
    city: str | None
    mfn: str | None
    first_name: str | None
    phone: str | None
    task_status: str | None
    recipient: str | None
    """First name of whom the form was sent to; the same person."""

    def export(self) -> ProjectExport:
        """Return the answer about the project."""
        customer = {
            "firstName": self.first_name,
            "emails": [{"emailAddress": PERSON}],
            "phones": [{"phoneNumber": self.phone}],
        }
        address = {"city": self.city}
        project = {"projectId": 1, "status": self.status, "mfn": self.mfn, "address": address}
        return read_project_export({"project": {**project, "customerInformation": customer}})

    def task(self) -> TaskAssignment:
        """Return the answer about the task."""
        link = {"linkId": 5, "email": PERSON, "firstName": self.recipient}
        return read_task_assignment(
            {"assignmentId": 8, "projectId": 1, "status": self.task_status, "externalLinkData": link}
        )


FACTS = st.builds(
    Facts,
    status=some("Active", "Closed", "Open"),
    city=some("Sampletown", "Exampleton"),
    mfn=some("M-1", "M-2"),
    first_name=some("Pat", "Patricia"),
    phone=some("5550100142", "5550100143"),
    task_status=some("ASSIGNED", "COMPLETED", "IN_PROGRESS"),
    recipient=some("Pat", "P."),
)


# -- through the worker ------------------------------------------------------------------------------------------------

KINDS = ("PROJECT_CREATED", "PROJECT_MFN_ADDED", "CUSTOM_TASK_COMPLETED", "POLICYHOLDER_JOINED")


class ChangingApi:
    """Answers by the facts of the moment; each call is a second later than the one before. Notes what it said."""

    def __init__(self) -> None:
        self.facts: Facts
        self.said: list[tuple[str, Facts]] = []
        self._now = START

    def _answer(self, what: str, value: Any) -> Any:
        self._now += timedelta(seconds=1)
        self.said.append((what, self.facts))
        return Answer(value=value, requested_at=self._now)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Export the project."""
        return self._answer("project", self.facts.export())

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """List no files."""
        return Answer(value=MediaList(), requested_at=self._now)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Read the task."""
        return self._answer("task", self.facts.task())

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Nobody asks for a call here."""
        raise AssertionError


def last(values: Iterable[str | None]) -> str | None:
    """Return the last one that is not null [MRG-1]."""
    return ([None] + [value for value in values if value is not None])[-1]


@given(
    told=st.lists(st.tuples(FACTS, st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)), min_size=1, max_size=6)
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_tables_hold_what_was_said_last(tale: Any, memory: Any, told: list[tuple[Facts, list[str]]]) -> None:
    """A changed value replaces the old one, a cleared one stays [MRG-1], batch after batch, whatever the events are."""
    tables, api = memory(), ChangingApi()

    async def work() -> None:
        worker = tale.worker(tables, api)
        for facts, kinds in told:
            api.facts = facts
            outcomes = await worker.process([tale.record(kind, 1, task_assignment_id="8") for kind in kinds])
            assert {type(outcome) for outcome in outcomes} == {Done}

    asyncio.run(work())
    exports = [facts for what, facts in api.said if what == "project"]
    [row] = tables.rows("projects")
    assert row["status"] == last(facts.status for facts in exports)
    assert row["city"] == last(facts.city for facts in exports)
    assert row["master_file_name"] == last(facts.mfn for facts in exports)
    [person] = tables.rows("contacts")
    names = [facts.first_name if what == "project" else facts.recipient for what, facts in api.said]
    assert person["first_name"] == last(names)
    assert person["phone_number"] == last(facts.phone for facts in exports)
    for row in tables.rows("tasks"):
        assert row["status"] == last(facts.task_status for what, facts in api.said if what == "task")


# -- rows in any order -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One observation: what was asked for or told, when, and what it said."""

    kind: str
    minute: int
    facts: Facts
    ahead: bool
    """Whether an event's clock goes hours ahead of ours, as far as it may count [settled point 24]."""

    @property
    def at(self) -> datetime:
        """When it was observed; no two observations share a moment."""
        return START + timedelta(minutes=self.minute, hours=5 if self.ahead and self.kind.isupper() else 0)

    def rows(self) -> list[Row]:
        """Return what the handlers make of it."""
        event = f"{self.kind}-{self.minute}"
        origin = Origin(event_id=event, project_id="1", requested_at=self.at)
        task = ClaimXEnrichmentTask(
            event_id=event,
            event_type=self.kind,
            project_id="1",
            created_at=self.at,
            ingested_at=self.at,
            master_file_name=self.facts.mfn,
            raw_data={"email": PERSON, "firstName": self.facts.first_name, "phone": self.facts.phone},
        )
        match self.kind:
            case "project":
                return list(project_rows(self.facts.export(), origin))
            case "task":
                return list(task_rows(self.facts.task(), "8", origin))
            case "invited by export":
                policyholder = policyholder_of(self.facts.export(), origin)
                assert policyholder is not None
                invited = task.model_copy(update={"event_type": "POLICYHOLDER_INVITED"})
                return [contact_of_export(invited, policyholder), policyholder_time_row(invited)]
            case "PROJECT_MFN_ADDED":
                return list(master_file_name_rows(task, NOW))
            case _:
                person = contact_of_payload(task, NOW)
                assert person is not None
                return [person, policyholder_time_row(task)]


OBSERVED = ("project", "task", "invited by export", "PROJECT_MFN_ADDED", "POLICYHOLDER_INVITED", "POLICYHOLDER_JOINED")
STEADY = ("status", "city", "task_status")
"""What only the API says. It may change; that it is cleared as well is for the model above (see `rules.py`)."""


@st.composite
def histories(draw: st.DrawFn) -> list[Seen]:
    """Return observations, each at a time of its own."""
    kinds = draw(st.lists(st.sampled_from(OBSERVED), min_size=1, max_size=8))
    minutes = draw(st.lists(st.integers(0, 59), min_size=len(kinds), max_size=len(kinds), unique=True))
    return [
        Seen(
            kind=kind,
            minute=minute,
            facts=draw(FACTS.filter(lambda facts: all(getattr(facts, name) for name in STEADY))),
            ahead=draw(st.booleans()),
        )
        for kind, minute in zip(kinds, minutes, strict=True)
    ]


def meant(history: Sequence[Seen]) -> dict[str, Any]:
    """Return what the observations mean, by their times alone."""
    ordered = sorted(history, key=lambda seen: seen.at)

    def newest(says: Callable[[Seen], str | None], *kinds: str) -> str | None:
        return last(says(seen) for seen in ordered if seen.kind in kinds)

    exports = ("project", "invited by export")
    told = [kind for kind in OBSERVED if kind.startswith("POLICYHOLDER")]
    return {
        "status": newest(lambda seen: seen.facts.status, "project"),
        "city": newest(lambda seen: seen.facts.city, "project"),
        "master_file_name": newest(lambda seen: seen.facts.mfn, "project", "PROJECT_MFN_ADDED"),
        "task_status": newest(lambda seen: seen.facts.task_status, "task"),
        "first_name": newest(
            lambda seen: seen.facts.recipient if seen.kind == "task" else seen.facts.first_name,
            *exports, "task", *told,
        ),
        "phone_number": newest(lambda seen: seen.facts.phone, *exports, *told),
        "task_assignment_id": "8" if any(seen.kind == "task" for seen in history) else None,
        "invited_at": min((seen.at for seen in history if "INVITED" in seen.kind.upper()), default=None),
    }  # fmt: skip


def found(tables: Any) -> dict[str, Any]:
    """Return the same of the tables."""
    empty: dict[str, Any] = {}
    project, task, person = (next(iter(tables.rows(name)), empty) for name in ("projects", "tasks", "contacts"))
    return {
        "status": project.get("status"),
        "city": project.get("city"),
        "master_file_name": project.get("master_file_name"),
        "task_status": task.get("status"),
        "first_name": person.get("first_name"),
        "phone_number": person.get("phone_number"),
        "task_assignment_id": person.get("task_assignment_id"),
        "invited_at": project.get("policyholder_invited_at"),
    }


async def merged(tables: Any, writer: Any, data: st.DataObject, history: Sequence[Seen]) -> dict[str, Any]:
    """Merge the rows in an order, in batches and with repeats that are drawn."""
    again = data.draw(st.lists(st.sampled_from(history), max_size=3))
    rest = data.draw(st.permutations([*history, *again]))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        await writer.write([row for seen in rest[:size] for row in seen.rows()])
        rest = rest[size:]
    return found(tables)


@given(history=histories(), data=st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_observations_in_any_order_end_as_their_times_say(
    memory: Any, history: list[Seen], data: st.DataObject
) -> None:
    """(I4) Answers that changed meanwhile, and events whose clock goes ahead of ours: each column by its own time."""
    tables = memory()
    assert asyncio.run(merged(tables, tables, data, history)) == meant(history)


@given(history=histories(), data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_and_so_they_do_in_a_lake(new_lake: Callable[[], Any], history: list[Seen], data: st.DataObject) -> None:
    """The same through real Delta merges."""

    async def work() -> dict[str, Any]:
        lake = new_lake()
        result = await merged(lake, lake.writer, data, history)
        await lake.close()
        return result

    assert asyncio.run(work()) == meant(history)
