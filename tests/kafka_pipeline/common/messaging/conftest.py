"""A listener that writes down what it hears, and short ways to topics, groups and records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import pytest_asyncio

from kafka_pipeline.common.messaging import (
    Admin,
    Broker,
    Consumer,
    Message,
    NewTopic,
    Offsets,
    Producer,
    Record,
    TopicPartition,
)

PATIENCE_S = 30.0


class Tape:
    """A rebalance listener that records every call and answers a revoke with `answer`, or what is `handled` so far."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, frozenset[TopicPartition]]] = []
        self.handled: dict[TopicPartition, int] = {}
        self.during_assign: Callable[[frozenset[TopicPartition]], Awaitable[None]] | None = None

    def of(self, kind: str) -> list[frozenset[TopicPartition]]:
        """Return the partitions of all calls of one kind."""
        return [partitions for name, partitions in self.calls if name == kind]

    def handle(self, records: Sequence[Record]) -> None:
        """Note records as finished, so that a revoke commits behind them."""
        for record in records:
            self.handled[record.topic_partition] = record.offset + 1

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Record it."""
        self.calls.append(("assigned", partitions))
        if self.during_assign is not None:
            await self.during_assign(partitions)

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        """Record it and answer with what was handled of these."""
        self.calls.append(("revoked", partitions))
        return {partition: offset for partition, offset in self.handled.items() if partition in partitions}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Record it."""
        self.calls.append(("lost", partitions))


class Bench:
    """A broker with everything a test needs from it; closes what it made."""

    def __init__(self, broker: Broker, unique: Callable[..., str]) -> None:
        self.broker = broker
        self.admin: Admin = broker.admin()
        self.producer: Producer = broker.producer()
        self._unique = unique
        self._consumers: list[Consumer] = []

    def group(self) -> str:
        """Return a new group's name."""
        return self._unique("group")

    async def topic(self, partitions: int = 1) -> str:
        """Create a topic."""
        name = self._unique("topic")
        await self.admin.create_topics([NewTopic(name=name, partitions=partitions)])
        return name

    async def fill(self, topic: str, count: int, *, first: int = 0) -> None:
        """Write `count` messages, values counting up, keys in turn."""
        numbers = range(first, first + count)
        await self.producer.send(
            [Message(topic=topic, key=b"k%d" % (number % 7), value=b"%d" % number) for number in numbers]
        )

    def consumer(self, group: str) -> Consumer:
        """Make a consumer that is closed after the test."""
        made = self.broker.consumer(group)
        self._consumers.append(made)
        return made

    async def member(self, group: str, *topics: str) -> tuple[Consumer, Tape]:
        """Make a consumer that has joined."""
        consumer, tape = self.consumer(group), Tape()
        await consumer.subscribe(list(topics), tape)
        return consumer, tape

    async def reader(self, *topics: str) -> Consumer:
        """Make the one member of a new group."""
        return (await self.member(self.group(), *topics))[0]

    async def ready_reader(self, topic: str) -> Consumer:
        """Make the one member of a new group, with all partitions of a topic that is still empty assigned."""
        consumer = await self.reader(topic)
        partitions = (await self.admin.topics())[topic]
        await self.until(lambda: len(consumer.assignment()) == partitions, consumer)
        return consumer

    async def read(self, consumer: Consumer, count: int) -> list[Record]:
        """Poll until so many records have come."""
        records: list[Record] = []
        await self.until(lambda: len(records) >= count, consumer, into=records)
        return records

    async def until(
        self,
        true: Callable[[], bool],
        *consumers: Consumer,
        into: list[Record] | None = None,
    ) -> None:
        """Poll these consumers in turn until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, "the condition never held"
            for consumer in consumers:
                records = await consumer.poll(500, 0.05)
                if into is not None:
                    into += records

    async def quiet(self, consumer: Consumer) -> None:
        """Check that nothing more comes."""
        for _ in range(4):
            assert await consumer.poll(100, 0.1) == []

    async def close(self) -> None:
        """Close everything."""
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        await self.producer.close()
        await self.admin.close()


@pytest_asyncio.fixture
async def bench(broker: Broker, unique: Callable[..., str]) -> AsyncIterator[Bench]:
    """Give a workbench on each kind of broker."""
    made = Bench(broker, unique)
    yield made
    await made.close()


@pytest.fixture
def tape() -> Tape:
    """Give a listener that writes down what it hears."""
    return Tape()
