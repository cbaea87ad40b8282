"""Two enrichers at once, processes of their own, on Apache Kafka and one lake."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.verifier import verify


async def numbers(port: int) -> str:
    """Return the metrics of a process."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


def total(metrics: str, name: str) -> float:
    """Return a counter's value, summed over its labels."""
    return sum(float(value) for value in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE))


@pytest.mark.kafka
async def test_two_enrichers_lose_no_row_and_double_no_key(
    kafka_bootstrap: str,
    new_site: Callable[..., Awaitable[Any]],
    program: Any,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    """Both work, on tables they share; what one of them writes the other neither loses nor doubles (I3, I4, I6)."""
    site = await new_site(kafka_bootstrap, projects=30, events=300)
    items = site.simulator.feed()
    ports = [unused_tcp_port_factory() for _ in range(2)]
    both = [await program.start("claimx-enricher", **site.environ, HEALTH_PORT=str(port)) for port in ports]
    for each in both:
        await each.told("partitions_assigned")
    others = [kind for kind in WorkerKind if kind is not WorkerKind.ENRICHER]
    async with site.working(*others):
        await site.producer.send([Message(topic=site.topics.events, key=item.key, value=item.value) for item in items])
        await site.drained(site.topics.events)
        await site.drained(site.topics.enrichment_pending)
        await site.drained(site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results)
    worked = [await numbers(port) for port in ports]
    assert all(total(each, "records_processed_total") > 0 for each in worked), "each had its share"
    assert all("# HELP lake_conflicts_total" in each for each in worked), "lost races are counted"
    for each in both:
        assert (await each.stop()).code == 0
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.ok, report.differences
