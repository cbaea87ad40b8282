"""Topics full of invented records, made before the time that is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from kafka_pipeline.common.messaging import Broker, Message, NewTopic, TopicPartition

_CHUNK = 10_000


async def fill(broker: Broker, topic: str, messages: Iterator[Message], *, partitions: int) -> None:
    """Make the topic and write these to it; return when all are acknowledged."""
    admin, producer = broker.admin(), broker.producer()
    try:
        await admin.create_topics([NewTopic(name=topic, partitions=partitions)])
        while chunk := list(islice(messages, _CHUNK)):
            await producer.send(chunk)
    finally:
        await producer.close()
        await admin.close()


def partitions_of(topic: str, partitions: int) -> Sequence[TopicPartition]:
    """Return the partitions of a topic."""
    return [TopicPartition(topic, number) for number in range(partitions)]
