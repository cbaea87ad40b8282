"""The same events in any order, in any batches, with any duplicates, give the same tables.

The model is the simulator's truth: it knows ClaimX from its description alone and nothing of handlers or merge rules.
The answers of the API do not change while the events are worked off, and sources agree where both carry a value: that
is what makes one outcome the right one. The times at which the API is asked grow with every call, as they do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.api import Answer
from kafka_pipeline.claimx.handlers import Rows, build_handlers
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import (
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake import merge
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import Mode, TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Done
from kafka_pipeline.config import PipelineConfig
from kafka_pipeline.simulator import shapes, vocabulary
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import ExpectedTable, Truth, agrees
from kafka_pipeline.simulator.feed import FeedItem, FeedKind, build_feed
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.truth import build_truth

API, STORAGE = "http://api.example.com", "http://storage.example.com"
PUBLISHED = datetime(2026, 3, 2, 19, 0, tzinfo=UTC)
WORLD = SimulatorSettings(seed=11, projects=3, media_per_project=2, events=90, duplicate_share=0.0, malformed_share=0.0)
FEED = tuple(
    item
    for item in build_feed(WORLD, build_world(WORLD))
    if item.event is not None and item.event.event_type in vocabulary.ROUTED_TYPES
)
TASKED = {name: spec for name, spec in TABLES.items() if name not in {"events", "attachments"}}


class ConstantApi:
    """Answers from the simulated world, always the same; each call is a second later than the one before."""

    def __init__(self) -> None:
        self._world = build_world(WORLD)
        self._now = PUBLISHED

    def _answer(self, value: Any) -> Any:
        self._now += timedelta(seconds=1)
        return Answer(value=value, requested_at=self._now)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Export the project."""
        project = self._world.projects[int(project_id)]
        return self._answer(read_project_export(_decoded(shapes.project_export(project))))

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """List the project's files."""
        project = self._world.projects[int(project_id)]

        def link_of(item: Any) -> str | None:
            match item.link.name:
                case "NONE":
                    return None
                case "STORAGE":
                    return f"{STORAGE}{item.storage_path}?X-Amz-Date=20260302T140510Z&X-Amz-Expires=600"
                case _:
                    path = f"{API}/service/cxfileservice/file/{item.media_id}"
                    return f"{path}?systemDate=1772460310000&expires=86400000"

        return self._answer(read_media_list(_decoded(shapes.media_list(project, link_of))))

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Read the task."""
        task = self._world.tasks[int(task_assignment_id)]
        return self._answer(read_task_assignment(_decoded(shapes.custom_task(task, API, full=True))))

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Find the call in the report."""
        project = self._world.projects[int(project_id)]
        report = _decoded(shapes.video_report(project))
        calls = {call.video_collaboration_id: call for call in read_video_report(report)}
        return self._answer(calls.get(video_collaboration_id))


def _decoded(body: Any) -> Any:
    return json.loads(json.dumps(body))


def enrichment_task(item: FeedItem) -> ClaimXEnrichmentTask:
    """Return the task that the ingester makes of an event."""
    timestamp_ms = int(PUBLISHED.timestamp() * 1_000)
    event = parse_event(item.value, record_timestamp_ms=timestamp_ms, now=PUBLISHED)
    return ClaimXEnrichmentTask.from_event(event, PUBLISHED)


def truth_of(items: Sequence[FeedItem]) -> Truth:
    """Return what these events must lead to, duplicates counted once."""
    seen: dict[str, FeedItem] = {item.event.event_id: item for item in items if item.event is not None}
    return build_truth(build_world(WORLD), seen.values(), api_origin=API, storage_origin=STORAGE)


class Memory:
    """Tables as dictionaries, folded by the merge rules as the MERGE does."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, dict[str, Any]]] = {name: {} for name in TASKED}

    def write(self, rows: Rows) -> None:
        """Merge a batch."""
        for name, some in rows.by_table().items():
            spec = TASKED[name]
            stamped = [{**row.to_row(), "created_at": PUBLISHED, "updated_at": PUBLISHED} for row in some]
            for row in merge.combine(spec, [_with_date(spec, row) for row in stamped]):
                self._merge(name, spec, dict(row))

    def _merge(self, name: str, spec: TableSpec, row: dict[str, Any]) -> None:
        key = merge.key_of(spec, row)
        stored = self.tables[name].get(key)
        if stored is None:
            self.tables[name][key] = {column: row.get(column) for column in spec.names}
        elif spec.mode is Mode.UPSERT:
            self.tables[name][key] = {
                column.name: stored[column.name]
                if column.name in spec.keys
                else column.rule.fold(column.name, spec.guard, stored, row)
                for column in spec.columns
            }


def _with_date(spec: TableSpec, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "created_date": PUBLISHED.date()} if spec.name == "claimx_contacts" else row


def differences(expected: ExpectedTable, found: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    """Return what differs between a table and its truth, columns named, values not."""
    told = [f"{expected.name} {key}: missing" for key in expected.rows.keys() - found.keys()]
    told += [f"{expected.name} {key}: extra" for key in found.keys() - expected.rows.keys()]
    for key in expected.rows.keys() & found.keys():
        row = found[key]
        told += [
            f"{expected.name} {key}: {column}"
            for column, value in expected.rows[key].items()
            if not agrees(value, row[column], row)
        ]
    return told


def test_the_feed_tells_of_everything() -> None:
    """All nine types are among the events that are shuffled."""
    assert {item.event_type for item in FEED} == vocabulary.ROUTED_TYPES
    assert all(item.kind is FeedKind.EVENT for item in FEED)


@given(
    picked=st.lists(st.sampled_from(FEED), min_size=1, max_size=25),
    cuts=st.lists(st.integers(1, 6), min_size=25, max_size=25),
)
@settings(max_examples=250, deadline=None)
def test_any_order_any_batches_any_duplicates_give_the_same_tables(picked: list[FeedItem], cuts: list[int]) -> None:
    """Through the handlers and the merge rules: every column of every entity table is what the events mean."""
    memory = Memory()

    async def work() -> None:
        api, handlers, rest = ConstantApi(), build_handlers(), [enrichment_task(item) for item in picked]
        for task in {task.project_id: task for task in rest}.values():  # the pre-flight [HND-1]
            [result] = await handlers["PROJECT_CREATED"].handle_batch([task], api)
            memory.write(result.rows)
        for size in cuts:
            batch, rest = rest[:size], rest[size:]
            for handler in dict.fromkeys(handlers.values()):
                share = [task for task in batch if handlers[task.event_type] is handler]
                results = await handler.handle_batch(share, api) if share else []
                assert [result.failed for result in results] == [None] * len(share)
                memory.write(Rows.together(result.rows for result in results))

    asyncio.run(work())
    truth = truth_of(picked)
    told = [
        line
        for name, spec in TASKED.items()
        for line in differences(truth.tables[spec.name], _by_truth_key(truth.tables[spec.name], memory.tables[name]))
    ]
    assert told == []


@pytest.mark.parametrize("seed", range(6))
async def test_the_worker_and_the_lake_do_not_mind_the_order_either(tmp_path: Path, seed: int) -> None:
    """The whole feed, shuffled, with duplicates, in batches of random size, through the worker into real Delta."""
    rng = Random(seed)
    items = [*FEED, *rng.choices(FEED, k=15)]
    rng.shuffle(items)
    lake = LakeWriter.at(LakeLocation.parse(tmp_path), flush_rows=1_000, flush_seconds=0.0)
    worker = ClaimXEnrichmentWorker(
        topics=Topics.from_config(PipelineConfig()), api=ConstantApi(), writer=EntityTableWriter(lake)
    )
    offset = 0
    while offset < len(items):
        size = rng.randint(1, 40)
        batch = [
            Record(topic="t", partition=0, offset=offset + n, key=None, value=enrichment_task(item).to_bytes())
            for n, item in enumerate(items[offset : offset + size])
        ]
        assert {type(outcome) for outcome in await worker.process(batch)} == {Done}
        offset += size
    await lake.close()
    truth = truth_of(items)
    for spec in TASKED.values():
        rows = DeltaTable(str(tmp_path / "Tables" / spec.name)).to_pyarrow_table().to_pylist()
        found = {tuple(row[key] for key in spec.keys): row for row in rows}
        assert len(found) == len(rows), "no key is there twice"
        assert differences(truth.tables[spec.name], _by_truth_key(truth.tables[spec.name], found)) == []


def _by_truth_key(expected: ExpectedTable, found: Mapping[Any, Mapping[str, Any]]) -> dict[Any, Mapping[str, Any]]:
    return {tuple(row[column] for column in expected.key_columns): row for row in found.values()}
