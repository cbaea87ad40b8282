"""Reads topics from their first record to the end they had at the start, without leaving a trace in any group."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection

from kafka_pipeline.common.messaging.protocols import Broker, Offsets
from kafka_pipeline.common.messaging.record import Record, TopicPartition

_BATCH = 500
_POLL_S = 0.2


class _Onlooker:
    """A listener that has nothing to finish and commits nothing."""

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to prepare."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        """Nothing to commit."""
        return {}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to drop."""


async def scan(
    broker: Broker, topics: Collection[str], *, group_prefix: str = ""
) -> AsyncGenerator[list[Record], None]:
    """Yield every record of these topics in batches, up to the end offsets seen now; absent topics are passed over.

    Raises BrokerUnavailableError or BrokerRefusedError.
    """
    admin = broker.admin()
    try:
        counts = await admin.topics()
        present = [topic for topic in topics if topic in counts]
        partitions = [TopicPartition(topic, number) for topic in present for number in range(counts[topic])]
        marks = await admin.watermarks(partitions)
    finally:
        await admin.close()
    ends = {partition: mark.high for partition, mark in marks.items() if mark.high > mark.low}
    if not ends:
        return
    consumer = broker.consumer(f"{group_prefix}scan-{uuid.uuid4()}")
    try:
        await consumer.subscribe(present, _Onlooker())
        while ends:
            records = await consumer.poll(_BATCH, _POLL_S)
            wanted = [record for record in records if record.offset < ends.get(record.topic_partition, 0)]
            if wanted:
                yield wanted
            for record in records:
                if record.offset >= ends.get(record.topic_partition, record.offset + 1) - 1:
                    ends.pop(record.topic_partition, None)
    finally:
        await consumer.close()
