"""Two enrichers at once on one lake: no row lost, no key doubled; lost races are run again and counted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import pyarrow as pa
import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.lake.delta import DeltaStore, Written
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.runtime.outcomes import Done
from kafka_pipeline.simulator.verifier import verify

TABLES = ("projects", "contacts", "media", "tasks", "task_templates", "external_links", "video_collab")
BATCH_RECORDS = 12
"""Small, so that both commit often and at the same time."""
MOST_TIMES = 10
"""How often the feed is sent at most until two writers have met: repeated events change nothing (I6)."""


async def numbers(port: int) -> str:
    """Return the metrics of a process."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


def total(metrics: str, name: str, label: str = "") -> float:
    """Return a metric's value, summed over its labels, or over those that have one."""
    found = re.findall(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)$", metrics, re.MULTILINE)
    return sum(float(value) for labels, value in found if label in labels)


@pytest.mark.kafka
async def test_two_enrichers_lose_no_row_and_double_no_key(
    kafka_bootstrap: str,
    new_site: Callable[..., Awaitable[Any]],
    program: Any,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    """Processes of their own on Apache Kafka: what one of them writes the other neither loses nor doubles (I3, I4, I6).

    Each had its share, both met the other's commits, and their numbers tell of batches, calls saved and rows.
    """
    site = await new_site(kafka_bootstrap, projects=30, events=400)
    items = site.simulator.feed()
    ports = [unused_tcp_port_factory() for _ in range(2)]
    settings = {**site.environ, "WORKER_BATCH_RECORDS": str(BATCH_RECORDS)}
    both = [await program.start("claimx-enricher", **settings, HEALTH_PORT=str(port)) for port in ports]
    for each in both:
        await each.told("partitions_assigned")
    others = [kind for kind in WorkerKind if kind is not WorkerKind.ENRICHER]
    async with site.working(*others):
        for _ in range(MOST_TIMES):
            events = [Message(topic=site.topics.events, key=item.key, value=item.value) for item in items]
            await site.producer.send(events)
            await site.drained(site.topics.events)
            await site.drained(site.topics.enrichment_pending)
            worked = [await numbers(port) for port in ports]
            if sum(total(each, "lake_conflicts_total") for each in worked):
                break  # else they happened to miss each other: the same events once more
        await site.drained(site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results)
    for each in worked:
        assert 0 < total(each, "batch_records_sum") <= BATCH_RECORDS * total(each, "batch_records_count")
        assert total(each, "claimx_enrichment_calls_saved_total") > 0
    for name in TABLES:
        assert sum(total(each, "lake_rows_written_total", f'table="claimx_{name}"') for each in worked) > 0, name
    assert sum(total(each, "lake_conflicts_total") for each in worked) > 0, "races were lost, and counted"
    for process in both:
        assert (await process.stop()).code == 0
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.ok, report.differences


class Overtaken(DeltaStore):
    """A store whose every first merge into a table is overtaken: another writer commits the same rows before it."""

    def __init__(self, location: LakeLocation) -> None:
        super().__init__(location, sleep=lambda _: None)
        self._rival = DeltaStore(location)
        self._rows: dict[str, list[Row]] = {}

    def _merge_part(self, spec: TableSpec, rows: Sequence[Row], data: pa.Table) -> Written:
        self._rows[spec.name] = list(rows)
        return super()._merge_part(spec, rows, data)

    def _fresh(self, spec: TableSpec, handle: Any) -> Any:
        snapshot = super()._fresh(spec, handle)
        if rows := self._rows.pop(spec.name, None):
            self._rival.merge(spec, rows)
        return snapshot


async def test_a_batch_that_two_enrichers_have_at_once_is_written_once(tale: Any, new_lake: Callable[..., Any]) -> None:
    """As after a rebalance: the slower one meets a conflict in every table, looks again, and changes nothing."""

    def conflicts(name: str) -> float:
        return REGISTRY.get_sample_value("lake_conflicts_total", {"table": f"claimx_{name}"}) or 0.0

    before = {name: conflicts(name) for name in TABLES}
    lake = new_lake(Overtaken)
    outcomes = await tale.worker(lake.writer).process(tale.records(tale.feed))
    assert {type(outcome) for outcome in outcomes} == {Done}
    await lake.close()
    assert {name: conflicts(name) > count for name, count in before.items()} == dict.fromkeys(TABLES, True)
    assert tale.differences(tale.feed, lake.tables()) == []
