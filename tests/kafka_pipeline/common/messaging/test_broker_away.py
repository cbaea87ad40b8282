"""A broker that goes away and comes back: every member of every group goes on committing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest
import pytest_asyncio

from chaos.node import KafkaNode, ToolMissingError
from kafka_pipeline.common.messaging import (
    CommitError,
    Consumer,
    Message,
    MessagingError,
    NewTopic,
    Offsets,
    TopicPartition,
)
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings

GROUPS, MEMBERS, PARTITIONS = 8, 2, 4
RESTARTS = 2
AWAY_S = 3.0
PATIENCE_S = 60.0


@pytest_asyncio.fixture
async def node(tmp_path: Path, missing: Callable[[str], NoReturn]) -> AsyncIterator[KafkaNode]:
    """Start a node of its own: others must not suffer from what happens to it."""
    made = KafkaNode(tmp_path / "kafka")
    try:
        await made.up()
    except ToolMissingError as error:
        missing(str(error))
    yield made
    await made.down()


class _Member:
    """Polls and commits without a pause, as a worker under load does, and counts the commits that were stored."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._positions: dict[TopicPartition, int] = {}
        self.stored = 0

    async def run(self, topic: str) -> None:
        """Work until cancelled."""
        await self._consumer.subscribe([topic], self)
        while True:
            for record in await self._consumer.poll(100, 0.1):
                self._positions[record.topic_partition] = record.offset + 1
            if not self._positions:
                continue
            try:
                await self._consumer.commit(dict(self._positions))
            except CommitError:
                continue
            self.stored += 1

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to prepare."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        return {partition: at for partition in partitions if (at := self._positions.pop(partition, None)) is not None}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)


@pytest.mark.crash
@pytest.mark.kafka
@pytest.mark.timeout(240)
async def test_commits_go_on_after_the_broker_was_away(node: KafkaNode) -> None:
    """Also those of a member whose commit was on its way: it once waited for a rebalance that waited for it."""
    broker = KafkaBroker(
        KafkaSettings(bootstrap_servers=node.bootstrap, session_timeout_s=6.0, delivery_timeout_s=10.0)
    )
    admin = broker.admin()
    topics = [f"topic-{number}" for number in range(GROUPS)]
    await admin.create_topics([NewTopic(name=topic, partitions=PARTITIONS) for topic in topics])
    members = {_Member(broker.consumer(f"group-{topic}")): topic for topic in topics for _ in range(MEMBERS)}
    working = [asyncio.create_task(member.run(topic)) for member, topic in members.items()]
    feeding = asyncio.create_task(_feed(broker, topics))

    async def all_store() -> None:
        before = {member: member.stored for member in members}
        until_s = time.monotonic() + PATIENCE_S
        while silent := [member for member, stored in before.items() if member.stored == stored]:
            assert time.monotonic() < until_s, f"{len(silent)} of {len(members)} members store nothing any more"
            await asyncio.sleep(0.1)

    await all_store()
    for _ in range(RESTARTS):
        await node.end(signal.SIGTERM)
        await asyncio.sleep(AWAY_S)
        await node.again()
        await all_store()
    for task in (feeding, *working):
        task.cancel()
    await asyncio.gather(feeding, *working, return_exceptions=True)
    await asyncio.gather(*(member._consumer.close() for member in members))
    await admin.close()
    await broker.close()


async def _feed(broker: KafkaBroker, topics: list[str]) -> None:
    """Give all of them records, by another producer where one does not find the broker again: it is not tried here."""
    while True:
        producer = broker.producer()
        try:
            while True:
                for topic in topics:
                    keys = (str(number).encode() for number in range(2 * PARTITIONS))
                    await producer.send([Message(topic=topic, key=key, value=b"x") for key in keys])
                await asyncio.sleep(0.1)
        except MessagingError:
            continue
        finally:
            await producer.close()
