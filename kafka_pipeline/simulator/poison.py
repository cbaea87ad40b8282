"""Parts of the world that ClaimX denies for a while: what the lake must hold meanwhile, and what must be set aside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.expectation import ExpectedTable, Key, Matcher, Truth
from kafka_pipeline.simulator.faults import Endpoint, Fail, Fault
from kafka_pipeline.simulator.feed import FeedItem

_MOST = 3
_ONE_IN = 5
"""So many projects and so many files at most, and of few projects no more than one in five."""

_EVENTS = "claimx_events"
_ATTACHMENTS = "claimx_attachments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """Projects that the API does not find, with their tasks, and files that the storage does not have."""

    projects: frozenset[str]
    tasks: frozenset[str]
    """Those of the projects that an event names."""
    files: frozenset[str]
    """By media id; of other projects."""

    def faults(self) -> tuple[Fault, ...]:
        """Return what makes it so."""
        return (
            *_denied({Endpoint.PROJECT, Endpoint.MEDIA, Endpoint.REPORT}, self.projects),
            *_denied({Endpoint.TASK}, self.tasks),
            *_denied({Endpoint.FILE}, self.files),
        )

    def events(self, feed: Iterable[FeedItem]) -> frozenset[str]:
        """Return the ids of the events that cannot be enriched: those of a routed type, of a project not found."""
        return frozenset(item.event.event_id for item in feed if item.event and self._stops(item))

    def held_back(self, truth: Truth) -> Truth:
        """Return what the lake must hold as long as it lasts: nothing of the projects, failures of the files."""
        tables = {table.name: self._held_back(table) for table in truth.tables.values()}
        rows = truth.tables[_ATTACHMENTS].rows
        gone = {str(rows[media_id,]["blob_path"]) for media_id in self.files}
        gone |= {str(row["blob_path"]) for row in rows.values() if row["project_id"] in self.projects}
        return replace(
            truth, tables=tables, files={path: file for path, file in truth.files.items() if path not in gone}
        )

    def _stops(self, item: FeedItem) -> bool:
        event = item.event
        return event is not None and event.project_id in self.projects and event.event_type in words.ROUTED_TYPES

    def _held_back(self, table: ExpectedTable) -> ExpectedTable:
        if table.name == _EVENTS:
            return table
        rows: dict[Key, Mapping[str, object]] = {}
        for key, row in table.rows.items():
            if row["project_id"] in self.projects:
                continue
            failed = table.name == _ATTACHMENTS and row["media_id"] in self.files
            rows[key] = _failed(row) if failed else row
        return replace(table, rows=rows)


def choose_poison(seed: int, feed: Sequence[FeedItem], truth: Truth) -> Poison:
    """Choose what is denied: the same for the same seed, world and feed; nothing where there is next to nothing."""
    rng = Random(f"{seed}:poison")
    # An invitation may name its person: then it asks the API for nothing, and nothing may stop it [HND-1, HND-8].
    invited = _projects_of(feed, words.POLICYHOLDER_TYPES)
    touched = sorted(_projects_of(feed, words.ROUTED_TYPES) - invited)
    count = min(_MOST, len(touched) // _ONE_IN)
    projects = frozenset(rng.sample(touched, count))
    named = (item.event.task_assignment_id for item in feed if item.event and item.event.project_id in projects)
    tasks = frozenset(task_id for task_id in named if task_id is not None)
    rows = truth.tables[_ATTACHMENTS].rows.values()
    others = sorted(str(row["media_id"]) for row in rows if row["project_id"] not in projects)
    files = frozenset(rng.sample(others, min(_MOST, len(others) // _ONE_IN)))
    return Poison(projects=projects, tasks=tasks, files=files)


def _projects_of(feed: Iterable[FeedItem], event_types: Collection[str]) -> set[str]:
    return {item.event.project_id for item in feed if item.event and item.event_type in event_types}


def _denied(endpoints: Iterable[Endpoint], ids: frozenset[str]) -> Iterator[Fault]:
    """Yield the fault that denies these ids; none for none, since a fault without ids would strike them all."""
    if ids:
        yield Fault(effect=Fail(statuses=(404,)), endpoints=frozenset(endpoints), ids=ids)


def _failed(row: Mapping[str, object]) -> Mapping[str, object]:
    """Return what the inventory says of a file that was given up (settled point 21)."""
    known = {name: row[name] for name in ("media_id", "project_id", "blob_path", "file_name", "file_type")}
    missing = dict.fromkeys(("bytes_downloaded", "content_sha256", "downloaded_at"))
    audit = {name: row[name] for name in ("created_at", "updated_at")}
    return {**known, **missing, **audit, "status": "failed_permanent", "error_category": Matcher.PRESENT}
