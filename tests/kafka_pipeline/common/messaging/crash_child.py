"""A process to be killed: `python crash_child.py DESCRIPTION TOPIC GROUP` writes, reads and commits until it dies.

It prints `sent N` once N messages are acknowledged and `committed N` once offset N is committed, and nothing earlier.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kafka_pipeline.common.messaging import Broker, Message, Offsets, TopicPartition
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings


class Silent:
    """A rebalance listener that commits nothing."""

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to do."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        """Nothing to commit."""
        return {}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to do."""


def broker_of(description: str) -> Broker:
    """Reach the broker that describes itself so."""
    if description.startswith("Kafka at "):
        address = description.removeprefix("Kafka at ")
        return KafkaBroker(KafkaSettings(bootstrap_servers=address, session_timeout_s=6, heartbeat_interval_s=0.2))
    return EmbeddedBroker(Path(description.removeprefix("embedded broker in ")))


async def main(description: str, topic: str, group: str) -> None:
    """Write ten, read what is there, commit it, and so on."""
    broker = broker_of(description)
    producer, consumer = broker.producer(), broker.consumer(group)
    await consumer.subscribe([topic], Silent())
    sent = 0
    while True:
        await producer.send([Message(topic=topic, value=b"%d" % number) for number in range(sent, sent + 10)])
        sent += 10
        sys.stdout.write(f"sent {sent}\n")
        records = await consumer.poll(7, 0.1)
        if records:
            await consumer.commit({records[-1].topic_partition: records[-1].offset + 1})
            sys.stdout.write(f"committed {records[-1].offset + 1}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
