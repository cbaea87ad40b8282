"""Puts the feed into the events topic, or what is missing of it if an earlier run put in a part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.messaging import Admin, Broker, Message, TopicPartition
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.simulator.feed import FeedItem

_BATCH = 100


@dataclass(slots=True, kw_only=True)
class Publication:
    """What is published, and when each item was in this run."""

    items: Sequence[FeedItem]
    published_at: dict[int, datetime] = field(default_factory=dict)


async def publish(broker: Broker, admin: Admin, topics: Topics, publication: Publication) -> None:
    """Send the feed, or what is missing of it."""
    missing = await _not_sent(broker, admin, topics, publication.items)
    producer = broker.producer()
    try:
        for start in range(0, len(missing), _BATCH):
            numbers = missing[start : start + _BATCH]
            items = [publication.items[number] for number in numbers]
            now = datetime.now(UTC)
            await producer.send([Message(topic=topics.events, key=item.key, value=item.value) for item in items])
            publication.published_at.update(dict.fromkeys(numbers, now))
    finally:
        await producer.close()


async def _not_sent(broker: Broker, admin: Admin, topics: Topics, items: Sequence[FeedItem]) -> list[int]:
    """Return the numbers of the items that are not in the events topic yet, copies counted one by one."""
    sent: Counter[bytes | None] = Counter()
    if await _count(admin, topics.events):
        async with aclosing(scan(broker, [topics.events], group_prefix=topics.group_prefix)) as batches:
            async for records in batches:
                sent.update(record.value for record in records)
    missing = []
    for number, item in enumerate(items):
        if sent[item.value]:
            sent[item.value] -= 1
        else:
            missing.append(number)
    return missing


async def _count(admin: Admin, topic: str) -> int:
    partitions = (await admin.topics()).get(topic, 0)
    marks = await admin.watermarks([TopicPartition(topic, number) for number in range(partitions)])
    return sum(mark.high - mark.low for mark in marks.values())
