"""Promises of reading topics to their end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pytest

from kafka_pipeline.common.messaging import (
    Admin,
    Broker,
    BrokerUnavailableError,
    Consumer,
    Message,
    NewTopic,
    Record,
    TopicPartition,
    Watermarks,
)
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.scan import scan


async def test_every_record_up_to_the_end_seen_at_the_start_is_read(broker: Broker, unique: Callable[..., str]) -> None:
    """What is written meanwhile is left for the next time; absent and empty topics are passed over."""
    full, empty, absent = unique("full"), unique("empty"), unique("absent")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=name, partitions=3) for name in (full, empty)])
    values = [str(number).encode() for number in range(1_200)]
    await producer.send([Message(topic=full, key=value, value=value) for value in values])
    found: list[bytes | None] = []
    async with aclosing(scan(broker, [absent, empty, full])) as batches:
        async for batch in batches:
            if not found:
                await producer.send([Message(topic=full, key=b"late", value=b"late")])
            found += [record.value for record in batch]
    assert sorted(map(str, found)) == sorted(map(str, values))
    await producer.close()
    await admin.close()


async def test_a_scan_starts_at_the_first_record_that_is_left(broker: Broker, unique: Callable[..., str]) -> None:
    """Deleted records are gone, and are not waited for."""
    topic = unique("topic")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    await producer.send([Message(topic=topic, value=b"%d" % number) for number in range(4)])
    await admin.delete_records({TopicPartition(topic, 0): 3})
    assert await _values(broker, topic) == [b"3"]
    await admin.delete_records({TopicPartition(topic, 0): 4})
    assert await _values(broker, topic) == []
    await producer.close()
    await admin.close()


@pytest.mark.timeout(60)
async def test_records_that_are_deleted_while_it_reads_are_not_waited_for(
    broker: Broker, unique: Callable[..., str]
) -> None:
    """Retention and `purge` do not wait for a reader, and a reader does not wait for what they took."""
    topic = unique("topic")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    await producer.send([Message(topic=topic, value=b"%d" % number) for number in range(1_200)])
    found = 0
    async with aclosing(scan(broker, [topic])) as batches:
        async for batch in batches:
            if not found:
                await admin.delete_records({TopicPartition(topic, 0): 1_200})
            found += len(batch)
    assert 0 < found <= 1_200
    await producer.close()
    await admin.close()


async def test_a_broker_that_goes_away_while_it_reads_is_an_error(tmp_path: Path) -> None:
    """Not an endless wait: whoever asked for a list of dead letters hears of it."""
    broker = _Vanishing(tmp_path / "broker.db")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name="topic", partitions=1)])
    await producer.send([Message(topic="topic", value=b"1")])
    await producer.close()
    await admin.close()
    with pytest.raises(BrokerUnavailableError):
        await _values(broker, "topic")
    await broker.close()


class _Vanishing(EmbeddedBroker):
    """Gives consumers that get nothing, as in an outage, and admins that answer their first look alone."""

    def consumer(self, group: str) -> Consumer:
        made = super().consumer(group)
        made.poll = _nothing  # type: ignore[method-assign]
        return made

    def admin(self) -> Admin:
        made = super().admin()
        look, looks = made.watermarks, count()

        async def watermarks(partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
            if next(looks):
                raise BrokerUnavailableError("gone")
            return await look(partitions)

        made.watermarks = watermarks  # type: ignore[method-assign]
        return made


async def _values(broker: Broker, topic: str) -> list[bytes | None]:
    async with aclosing(scan(broker, [topic])) as batches:
        return [record.value async for batch in batches for record in batch]


async def _nothing(max_records: int, timeout_s: float) -> list[Record]:
    return []
