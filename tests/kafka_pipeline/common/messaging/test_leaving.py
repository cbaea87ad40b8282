"""A member that leaves while its group is being rebalanced: in `make chaos` one was not heard, and did not end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import confluent_kafka

from kafka_pipeline.common.messaging import Consumer, Offsets, TopicPartition
from kafka_pipeline.common.messaging._kafka_consumer import KafkaConsumer
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings

RECORDS = 40
PARTITIONS = 4
JOINING_S = 0.5
"""How far the joining has come; whether a rebalance is under way is up to the broker."""


async def test_a_member_that_leaves_in_the_middle_of_a_rebalance_is_heard(bench: Any) -> None:
    """All it had finished is stored, although two others are joining when it leaves."""
    group, topic = bench.group(), await bench.topic(PARTITIONS)
    await bench.fill(topic, RECORDS)
    first, tape = await bench.member(group, topic)
    tape.handle(await bench.read(first, RECORDS))
    others = [(await bench.member(group, topic))[0] for _ in range(2)]
    joining = [asyncio.create_task(_poll_for_ever(other)) for other in others]
    until_s = time.monotonic() + JOINING_S
    while time.monotonic() < until_s:
        await first.poll(100, 0.05)
    await first.close()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    stored = await bench.admin.group_offsets(group, partitions)
    for task in joining:
        task.cancel()
    assert sum(stored.values()) == RECORDS


async def _poll_for_ever(consumer: Consumer) -> None:
    while True:
        await consumer.poll(100, 0.05)


async def test_a_member_stores_what_it_finished_before_its_client_closes() -> None:
    """A client that closes in a rebalance is often refused its last commit, so everything is given up before."""
    consumer = KafkaConsumer(KafkaSettings(bootstrap_servers="broker.example.com:9092"), "group")
    client = _Client(consumer)
    consumer._client = client  # type: ignore[assignment]
    consumer._listener = _Finished()
    consumer._loop = asyncio.get_running_loop()
    consumer._assigned = frozenset({PARTITION})
    await consumer.close()
    assert client.calls == ["unsubscribe", "commit 7", "close"]


PARTITION = TopicPartition("topic", 0)


class _Finished:
    """A listener that has finished everything below offset 7."""

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to prepare."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        return dict.fromkeys(partitions, 7)

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to drop."""


class _Client:
    """Takes partitions back as librdkafka does: at the poll after `unsubscribe`, or else in `close`."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.calls: list[str] = []

    def unsubscribe(self) -> None:
        self.calls.append("unsubscribe")

    def consume(self, number: int, timeout_s: float) -> list[Any]:
        self._revoke()
        return []

    def commit(self, *, offsets: list[confluent_kafka.TopicPartition], asynchronous: bool) -> list[Any]:
        self.calls.append(f"commit {offsets[0].offset}")
        return offsets

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Nothing is fetched here."""

    def close(self) -> None:
        self.calls.append("close")
        self._revoke()

    def _revoke(self) -> None:
        taken = [confluent_kafka.TopicPartition(topic, number) for topic, number in self._consumer.assignment()]
        if taken:
            self._consumer._on_revoked(self, taken)  # type: ignore[arg-type]
