"""Promises of reading topics to their end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from kafka_pipeline.common.messaging import Broker, Message, NewTopic, TopicPartition
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
    async with aclosing(scan(broker, [topic])) as batches:
        found = [record.value async for batch in batches for record in batch]
    assert found == [b"3"]
    await admin.delete_records({TopicPartition(topic, 0): 4})
    async with aclosing(scan(broker, [topic])) as batches:
        assert [batch async for batch in batches] == []
    await producer.close()
    await admin.close()
