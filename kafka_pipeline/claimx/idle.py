"""Knows when the pipeline has nothing left to do: every work topic drained and everything committed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Admin, BrokerUnavailableError, TopicPartition

_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one group has come in one topic, in records."""

    topic: str
    done: int
    total: int

    @property
    def drained(self) -> bool:
        """Whether every record there is has been finished and committed."""
        return self.done >= self.total


def readers(topics: Topics) -> Mapping[str, Group]:
    """Return which group drains which topic."""
    return {
        topics.events: Group.INGESTER,
        topics.enrichment_pending: Group.ENRICHER,
        **dict.fromkeys(topics.enrichment_retry, Group.ENRICHER_RETRIES),
        topics.downloads_pending: Group.DOWNLOADER,
        **dict.fromkeys(topics.downloads_retry, Group.DOWNLOADER_RETRIES),
        topics.downloads_cached: Group.UPLOADER,
        topics.downloads_results: Group.RESULT_PROCESSOR,
    }


async def progress(admin: Admin, topics: Topics) -> list[Progress]:
    """Return how far each work topic is drained, in the order of the flow; absent topics are left out."""
    counts = await admin.topics()
    result = []
    for topic, group in readers(topics).items():
        partitions = [TopicPartition(topic, number) for number in range(counts.get(topic, 0))]
        if not partitions:
            continue
        # Offsets first: what is written between the two looks counts as undone, never the other way round.
        committed = await admin.group_offsets(topics.group(group), partitions)
        marks = await admin.watermarks(partitions)
        done = sum(max(committed.get(partition, 0), marks[partition].low) for partition in partitions)
        result.append(Progress(topic=topic, done=done, total=sum(marks[partition].high for partition in partitions)))
    return result


async def wait_until_idle(admin: Admin, topics: Topics, *, idle_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
    """Return once nothing was left to do, at every look, for `idle_s` seconds. What waits in a retry topic is work."""
    idle_since_s: float | None = None
    before: list[Progress] = []
    while True:
        try:
            now = await progress(admin, topics)
        except BrokerUnavailableError:
            idle_since_s = None  # who cannot look cannot say that nothing is left
            await asyncio.sleep(_LOOK_EVERY_S)
            continue
        if not all(each.drained for each in now) or now != before:
            idle_since_s = None
        elif idle_since_s is None:
            idle_since_s = clock.monotonic()
        if idle_since_s is not None and clock.monotonic() - idle_since_s >= idle_s:
            return
        before = now
        await asyncio.sleep(_LOOK_EVERY_S)
