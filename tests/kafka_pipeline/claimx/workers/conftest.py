"""Workers on a real lake in a folder, with an API that answers from memory and counts what it is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.api import Answer, NotFound
from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.claimx.schemas.entities import MediaMetadataRow, ProjectRow
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import read_media_list, read_project_export
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.config import PipelineConfig


class Api:
    """A ClaimX that knows every project; each has the files it is told. Names what it was asked in `calls`."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.files: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.failing: dict[str, Category] = {}
        self.unknown: set[str] = set()
        self.broken: set[str] = set()
        """Projects whose answer makes the reader stumble, in a way that nobody foresaw."""
        self._sent_at = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer with a project that has a number."""
        return self._answer(
            "project", project_id, lambda: read_project_export({"projectId": project_id, "projectNumber": "CLM-1"})
        )

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer with the project's files."""

        def media() -> Any:
            return read_media_list(
                [
                    {
                        "mediaID": media_id,
                        "mediaName": self.names.get(media_id, f"{media_id}.jpg"),
                        "mediaType": "jpg",
                        "fullDownloadLink": f"https://claimx.example.com/service/cxfileservice/file/{media_id}?x=1",
                    }
                    for media_id in self.files.get(project_id, [])
                ]
            )

        return self._answer("media", project_id, media)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Nobody asks for a task here."""
        raise AssertionError

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Nobody asks for a video call here."""
        raise AssertionError

    def _answer(self, what: str, project_id: str, read: Callable[[], Any]) -> Any:
        self.calls[what, project_id] += 1
        self._sent_at += timedelta(seconds=1)
        if project_id in self.failing:
            raise ClaimXApiError("it fails", self.failing[project_id], method="GET", endpoint="/x", status=500)
        if project_id in self.broken:
            raise KeyError(project_id)
        if project_id in self.unknown:
            return NotFound(requested_at=self._sent_at)
        return Answer(value=read(), requested_at=self._sent_at)

    def count(self, what: str) -> int:
        """Return the calls of one kind."""
        return sum(count for (kind, _), count in self.calls.items() if kind == what)


class Table:
    """Looks into the lake."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table, none if there is no such table."""
        path = str(self._root / "Tables" / name)
        return DeltaTable(path).to_pyarrow_table().to_pylist() if DeltaTable.is_deltatable(path) else []


class WatchedWriter(EntityTableWriter):
    """The entity tables; names the look-ups for projects, fails as often as it is told, and can hold writes back."""

    def __init__(self, lake: LakeWriter) -> None:
        super().__init__(lake)
        self.looked_up: list[set[str]] = []
        self.failures = 0
        self.called = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def existing_projects(self, project_ids: Collection[str]) -> set[str]:
        """Look, and say so."""
        self.looked_up.append(set(project_ids))
        return await super().existing_projects(project_ids)

    async def write(self, rows: Iterable[Row]) -> None:
        """Write, unless told otherwise."""
        self.called.set()
        await self.free.wait()
        if self.failures:
            self.failures -= 1
            raise PipelineError("these rows cannot go in", Category.PERMANENT)
        await super().write(rows)


class MemoryTables(EntityTableWriter):
    """Entity tables that only remember which rows were written: for many runs in a second."""

    def __init__(self) -> None:
        self.projects: set[str] = set()
        self.media: dict[str, str] = {}

    async def existing_projects(self, project_ids: Collection[str]) -> set[str]:
        """Return those of the projects that were written."""
        return self.projects & set(project_ids)

    async def stored_media(self, media_ids: Collection[str]) -> dict[str, StoredMedia]:
        """Return nothing: no file is stored here."""
        return {}

    async def media_projects(self, media_ids: Collection[str]) -> dict[str, str]:
        """Return the projects of the files that were written."""
        return {media_id: self.media[media_id] for media_id in media_ids if media_id in self.media}

    async def write(self, rows: Iterable[Row]) -> None:
        """Remember projects and files."""
        for row in rows:
            if isinstance(row, ProjectRow):
                self.projects.add(row.project_id)
            elif isinstance(row, MediaMetadataRow):
                self.media.setdefault(row.media_id, row.project_id)


class ToldClock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """Return what was told."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time.timestamp()


@pytest.fixture
def topics() -> Topics:
    """Return the default names."""
    return Topics.from_config(PipelineConfig())


@pytest.fixture
def api() -> Api:
    """Return the API."""
    return Api()


@pytest.fixture
def new_api() -> type[Api]:
    """Return a function that makes an API."""
    return Api


@pytest.fixture
def memory_tables() -> type[MemoryTables]:
    """Return a function that makes tables in memory."""
    return MemoryTables


@pytest.fixture
def rows(tmp_path: Path) -> Table:
    """Return a look into the lake."""
    return Table(tmp_path / "lake")


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[LakeWriter]:
    """Return a lake that commits at once."""
    writer = LakeWriter.at(LakeLocation.parse(tmp_path / "lake"), flush_rows=1_000, flush_seconds=0.0)
    yield writer
    await writer.close()


@pytest.fixture
def entities(lake: LakeWriter) -> EntityTableWriter:
    """Return the entity tables of the lake."""
    return EntityTableWriter(lake)


@pytest.fixture
def watched(lake: LakeWriter) -> WatchedWriter:
    """Return a writer that can be watched."""
    return WatchedWriter(lake)


@pytest.fixture
def clock() -> ToldClock:
    """Return the worker's clock."""
    return ToldClock()


@pytest.fixture
def events(lake: LakeWriter) -> ClaimXEventsWriter:
    """Return the events table of the lake."""
    return ClaimXEventsWriter(lake)


@pytest.fixture
def record() -> Callable[..., Record]:
    """Return a function that makes records; their offsets count up."""
    offsets = itertools.count()

    def make(value: bytes | None, *, topic: str = "t", partition: int = 0, offset: int | None = None) -> Record:
        at = next(offsets) if offset is None else offset
        sent_ms = 1_772_460_000_000 + at
        return Record(topic=topic, partition=partition, offset=at, key=None, value=value, timestamp_ms=sent_ms)

    return make


@pytest.fixture
def raw() -> Callable[..., bytes]:
    """Return a function that spells an event."""

    def spell(event_type: str, project_id: object, **more: object) -> bytes:
        body = {"eventType": event_type, "projectId": project_id, "IngestionTime": "2026-03-02T14:05:10.5Z", **more}
        return json.dumps(body).encode()

    return spell


@pytest.fixture
def task(record: Callable[..., Record], raw: Callable[..., bytes]) -> Callable[..., Record]:
    """Return a function that makes a record with the enrichment task of an event."""

    def make(event_type: str, project_id: object, **more: object) -> Record:
        now = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
        event = parse_event(raw(event_type, project_id, **more), record_timestamp_ms=-1, now=now)
        return record(ClaimXEnrichmentTask.from_event(event, now).to_bytes())

    return make
