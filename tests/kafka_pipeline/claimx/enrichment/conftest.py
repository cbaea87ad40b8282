"""The enricher as a whole: its worker on tables in memory or in a lake, its client against a ClaimX over HTTP.

`tale`      a simulated world: its events, an API that answers from it in memory, and the truth about it
`new_lake`  makes a lake in a folder of its own
`memory`    makes tables in memory, folded by the merge rules as the MERGE does
`crooked`   a ClaimX over HTTP that answers as the world is, but for what it is told to say
`enricher`  makes a worker with the real client
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from deltalake import DeltaTable

from kafka_pipeline.claimx.api import Answer
from kafka_pipeline.claimx.api_client import ClaimXApiClient, ClaimXApiSettings
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import (
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake import merge
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import Mode, TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.config import PipelineConfig
from kafka_pipeline.simulator import shapes, vocabulary
from kafka_pipeline.simulator.api_server import API_PATH
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import ExpectedTable, Truth, agrees
from kafka_pipeline.simulator.feed import FeedItem, build_feed
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.truth import build_truth
from kafka_pipeline.simulator.world import World

API, STORAGE = "http://api.example.com", "http://storage.example.com"
PUBLISHED = datetime(2026, 3, 2, 19, 0, tzinfo=UTC)
TOPICS = Topics.from_config(PipelineConfig())
ENTITIES = {name: spec for name, spec in TABLES.items() if name not in {"events", "attachments"}}
SETTINGS = SimulatorSettings(
    seed=11, projects=3, media_per_project=2, events=90, duplicate_share=0.0, malformed_share=0.0
)

Bodies = Callable[[str, Any], Any]
"""What is sent in place of the body of an endpoint's answer."""


class WorldApi:
    """Answers from a world, always the same; each call is a second later than the one before."""

    def __init__(self, world: World) -> None:
        self.send: Bodies = _as_it_is
        self._world = world
        self._now = PUBLISHED

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Export the project."""
        return self._answer("project", body_of(self._world, f"/export/project/{project_id}"), read_project_export)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """List the project's files."""
        return self._answer("media", body_of(self._world, f"/export/project/{project_id}/media"), read_media_list)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Read the task."""
        body = body_of(self._world, f"/customTasks/assignment/{task_assignment_id}")
        return self._answer("task", body, read_task_assignment)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Find the call in the report."""
        body = body_of(self._world, f"/data/{project_id}")
        report = self._answer("report", body, read_video_report)
        calls = {call.video_collaboration_id: call for call in report.value}
        return Answer(value=calls.get(video_collaboration_id), requested_at=report.requested_at)

    def _answer(self, endpoint: str, body: Any, read: Callable[[object], Any]) -> Any:
        self._now += timedelta(seconds=1)
        sent = self.send(endpoint, json.loads(json.dumps(body)))
        return Answer(value=read(sent), requested_at=self._now)


def _as_it_is(endpoint: str, body: Any) -> Any:
    return body


def body_of(world: World, path: str) -> Any:
    """Return what the world answers under a path; KeyError if there is no such thing."""
    match path.strip("/").split("/"):
        case ["export", "project", number]:
            return shapes.project_export(world.projects[int(number)])
        case ["export", "project", number, "media"]:
            return shapes.media_list(world.projects[int(number)], _link_of)
        case ["customTasks", "assignment", number]:
            return shapes.custom_task(world.tasks[int(number)], API, full=True)
        case ["data", number]:
            return shapes.video_report(world.projects[int(number)])
        case _:
            raise KeyError(path)


def _link_of(item: Any) -> str | None:
    match item.link.name:
        case "NONE":
            return None
        case "STORAGE":
            return f"{STORAGE}{item.storage_path}?X-Amz-Date=20260302T140510Z&X-Amz-Expires=600"
        case _:
            return f"{API}/service/cxfileservice/file/{item.media_id}?systemDate=1772460310000&expires=86400000"


class Tale:
    """A world, what happens in it, and what the tables must hold because of it.

    The truth is the simulator's: it knows ClaimX from its description alone and nothing of handlers or merge rules.
    """

    def __init__(self) -> None:
        self.world = build_world(SETTINGS)
        self.feed = tuple(
            item
            for item in build_feed(SETTINGS, self.world)
            if item.event is not None and item.event.event_type in vocabulary.ROUTED_TYPES
        )

    def api(self) -> WorldApi:
        """Return an API that knows this world."""
        return WorldApi(self.world)

    def records(self, items: Iterable[FeedItem]) -> list[Record]:
        """Return the enrichment tasks that the ingester makes of events."""
        return [
            Record(topic="t", partition=0, offset=number, key=None, value=self.task(item).to_bytes())
            for number, item in enumerate(items)
        ]

    def task(self, item: FeedItem) -> ClaimXEnrichmentTask:
        """Return the task that the ingester makes of an event."""
        timestamp_ms = int(PUBLISHED.timestamp() * 1_000)
        event = parse_event(item.value, record_timestamp_ms=timestamp_ms, now=PUBLISHED)
        return ClaimXEnrichmentTask.from_event(event, PUBLISHED)

    def record(self, event_type: str, project_id: object, **fields: Any) -> Record:
        """Return the enrichment task of an invented event."""
        told = {"event_id": f"{event_type}-{project_id}", "created_at": PUBLISHED, "ingested_at": PUBLISHED, **fields}
        task = ClaimXEnrichmentTask(schema_version=1, event_type=event_type, project_id=str(project_id), **told)
        return Record(topic="t", partition=0, offset=0, key=None, value=task.to_bytes())

    def worker(self, writer: Any, api: Any = None, **more: Any) -> ClaimXEnrichmentWorker:
        """Return a worker that writes there."""
        return ClaimXEnrichmentWorker(topics=TOPICS, api=api or self.api(), writer=writer, **more)

    def truth(self, items: Sequence[FeedItem]) -> Truth:
        """Return what these events must lead to, duplicates counted once."""
        seen = {item.event.event_id: item for item in items if item.event is not None}
        return build_truth(self.world, seen.values(), api_origin=API, storage_origin=STORAGE)

    def differences(self, items: Sequence[FeedItem], tables: Tables) -> list[str]:
        """Return what differs between tables and truth, columns named, values not."""
        truth = self.truth(items)
        return [
            line
            for name, spec in ENTITIES.items()
            for line in _differences(truth.tables[spec.name], tables.get(name, []))
        ]


Tables = Mapping[str, list[dict[str, Any]]]
"""Rows by logical table name."""


def _differences(expected: ExpectedTable, rows: list[dict[str, Any]]) -> list[str]:
    found = {tuple(row[column] for column in expected.key_columns): row for row in rows}
    told = [f"{expected.name} {len(rows)} rows, {len(found)} keys"] if len(rows) > len(found) else []
    told += [f"{expected.name} {key}: missing" for key in expected.rows.keys() - found.keys()]
    told += [f"{expected.name} {key}: extra" for key in found.keys() - expected.rows.keys()]
    for key in expected.rows.keys() & found.keys():
        row = found[key]
        told += [
            f"{expected.name} {key}: {column}"
            for column, value in expected.rows[key].items()
            if not agrees(value, row[column], row)
        ]
    return told


class Memory:
    """Tables as dictionaries, folded by the merge rules as the MERGE does; a writer for workers."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Any, dict[str, Any]]] = {}

    async def write(self, rows: Iterable[Row]) -> None:
        """Merge rows of any tables."""
        by_table: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            stamps: dict[str, Any] = {"created_at": PUBLISHED, "updated_at": PUBLISHED}
            if row.logical_table in {"contacts", "attachments"}:
                stamps["created_date"] = PUBLISHED.date()
            by_table.setdefault(row.logical_table, []).append({**row.to_row(), **stamps})
        for name, some in by_table.items():
            for combined in merge.combine(TABLES[name], some):
                self._merge(name, TABLES[name], combined)

    async def existing_projects(self, project_ids: Collection[str]) -> set[str]:
        """Return those that have a row."""
        return {project_id for (project_id,) in self._tables.get("projects", {})} & set(project_ids)

    async def media_projects(self, media_ids: Collection[str]) -> dict[str, str]:
        """Return the projects of the files that have a row."""
        return {key[0]: row["project_id"] for key, row in self._tables.get("media", {}).items() if key[0] in media_ids}

    async def stored_media(self, media_ids: Collection[str]) -> dict[str, StoredMedia]:
        """Nothing is stored."""
        return {}

    def tables(self) -> Tables:
        """Return all rows of all tables."""
        return {name: self.rows(name) for name in TABLES}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table."""
        return list(self._tables.get(name, {}).values())

    def _merge(self, name: str, spec: TableSpec, row: dict[str, Any]) -> None:
        table = self._tables.setdefault(name, {})
        key = merge.key_of(spec, row)
        stored = table.get(key)
        if stored is None:
            table[key] = row
        elif spec.mode is Mode.UPSERT:
            folded = {c.name: c.rule.fold(c.name, spec.guard, stored, row) for c in spec.columns}
            table[key] = folded | {column: stored[column] for column in spec.keys}


class Lake:
    """A lake in a folder, with its entity writer."""

    def __init__(self, root: Path, store: Callable[[LakeLocation], DeltaStore] = DeltaStore) -> None:
        self._root = root
        self._lake = LakeWriter(store(LakeLocation.parse(root)), flush_rows=1_000, flush_seconds=0.0)
        self.writer = EntityTableWriter(self._lake)

    def tables(self) -> Tables:
        """Return all rows of all tables, as another reader finds them."""
        return {name: self.rows(name) for name in TABLES}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table; none if there is no such table."""
        path = str(self._root / "Tables" / TABLES[name].name)
        return DeltaTable(path).to_pyarrow_table().to_pylist() if DeltaTable.is_deltatable(path) else []

    async def close(self) -> None:
        """Let the threads go."""
        await self._lake.close()


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer, whatever it is."""

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/json"
    cut: bool = False
    """The connection ends before the body does."""


class Crooked:
    """A ClaimX over HTTP that answers as a world is, but for the paths under which it is told to say something."""

    def __init__(self, world: World) -> None:
        self.says: dict[str, Said] = {}
        """By path below the API's base; a report's is `/data/{projectId}`."""
        self.calls: Counter[str] = Counter()
        self.url = ""
        self._world = world

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        path = request.path.removeprefix(API_PATH)
        if path == "/data":
            path = f"/data/{(await request.json())['projectId']}"
        self.calls[path] += 1
        said = self.says.get(path) or Said(body=json.dumps(body_of(self._world, path)).encode())
        if not said.cut:
            return web.Response(body=said.body, status=said.status, content_type=said.content_type)
        response = web.StreamResponse(status=said.status, headers={"Content-Length": str(2 * len(said.body))})
        await response.prepare(request)
        await response.write(said.body)
        if request.transport is not None:
            request.transport.abort()
        return response


@pytest.fixture(scope="session")
def tale() -> Tale:
    """Return the world and its events."""
    return Tale()


@pytest.fixture(scope="session")
def memory() -> type[Memory]:
    """Return what makes tables in memory."""
    return Memory


@pytest.fixture(scope="session")
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lake]:
    """Return a function that makes a lake; whoever makes one closes it."""
    return lambda store=DeltaStore: Lake(tmp_path_factory.mktemp("lake"), store)


@pytest.fixture
def said() -> type[Said]:
    """Return what makes answers."""
    return Said


@pytest_asyncio.fixture
async def crooked(tale: Tale) -> AsyncIterator[Crooked]:
    """Give a ClaimX that can be told what to say."""
    claimx = Crooked(tale.world)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", claimx.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    claimx.url = f"http://{host}:{port}{API_PATH}"
    yield claimx
    await runner.cleanup()


@pytest_asyncio.fixture
async def enricher(tale: Tale, new_lake: Callable[..., Lake]) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that makes a worker with the real client, and the lake or the tables it writes into.

    Its quick retries follow at once.
    """
    async with AsyncExitStack() as stack:

        async def make(url: str, *, in_memory: bool = False, **settings: Any) -> tuple[ClaimXEnrichmentWorker, Any]:
            async def at_once(seconds: float) -> None:
                """Wait for nothing."""

            told = {"token": "dGVzdHM6a2V5", "sender_username": "tests@example.com", **settings}
            api = ClaimXApiClient(ClaimXApiSettings(url=url, **told), sleep=at_once)
            await stack.enter_async_context(api)
            if in_memory:
                tables = Memory()
                return tale.worker(tables, api), tables
            lake = new_lake()
            stack.push_async_callback(lake.close)
            return tale.worker(lake.writer, api), lake

        yield make
