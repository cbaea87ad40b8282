"""Reads topics from their first record to the end they had at the start, without leaving a trace in any group."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection, Mapping

from kafka_pipeline.common.messaging.protocols import Broker, Offsets, Watermarks
from kafka_pipeline.common.messaging.record import Record, TopicPartition

_BATCH = 500
_POLL_S = 0.2
_LOOK_AFTER_POLLS = 15
"""After so many polls without a record, see what is left: somebody may have deleted it, or the broker may be gone."""


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

    Records that are deleted while we read are not waited for. Raises BrokerUnavailableError or BrokerRefusedError, also
    where the broker goes away meanwhile.
    """
    admin = broker.admin()
    try:
        counts = await admin.topics()
        present = [topic for topic in topics if topic in counts]
        partitions = [TopicPartition(topic, number) for topic in present for number in range(counts[topic])]
        ends = _filled(await admin.watermarks(partitions))
        if not ends:
            return
        consumer = broker.consumer(f"{group_prefix}scan-{uuid.uuid4()}")
        try:
            await consumer.subscribe(present, _Onlooker())
            empty_polls = 0
            while ends:
                records = await consumer.poll(_BATCH, _POLL_S)
                wanted = [record for record in records if record.offset < ends.get(record.topic_partition, 0)]
                if wanted:
                    yield wanted
                for record in records:
                    if record.offset >= ends.get(record.topic_partition, record.offset + 1) - 1:
                        ends.pop(record.topic_partition, None)
                empty_polls = 0 if records else empty_polls + 1
                if empty_polls == _LOOK_AFTER_POLLS:
                    empty_polls = 0
                    marks = await admin.watermarks(list(ends))
                    ends = {partition: end for partition, end in ends.items() if marks[partition].low < end}
        finally:
            await consumer.close()
    finally:
        await admin.close()


def _filled(marks: Mapping[TopicPartition, Watermarks]) -> dict[TopicPartition, int]:
    """Return the end of each partition that holds anything."""
    return {partition: mark.high for partition, mark in marks.items() if mark.high > mark.low}
