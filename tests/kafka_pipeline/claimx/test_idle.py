"""Promises of knowing when nothing is left to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kafka_pipeline.claimx.broker import new_topics
from kafka_pipeline.claimx.idle import progress, readers, wait_until_idle
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.messaging import Broker, Message, TopicPartition
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.config import load_config

CONFIG = load_config(None, {"kafka_topic_partitions": "1"}, {})
TOPICS = Topics.from_config(CONFIG)


class Nobody:
    """A listener that has nothing to say."""

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to do."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing to commit."""
        return {}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to do."""


async def finish(broker: Broker, topic: str, offset: int) -> None:
    """Commit an offset as the worker of the topic would."""
    consumer = broker.consumer(TOPICS.group(readers(TOPICS)[topic]))
    await consumer.subscribe([topic], Nobody())
    while not consumer.assignment():
        await consumer.poll(1, 0.05)
    await consumer.commit({TopicPartition(topic, 0): offset})
    await consumer.close()


async def test_work_is_left_until_its_group_has_committed_it(tmp_path: Path) -> None:
    """Written is not done; and what waits in a retry topic is work too (settled point 25)."""
    broker = EmbeddedBroker(tmp_path / "broker.db")
    admin, producer = broker.admin(), broker.producer()
    assert await progress(admin, TOPICS) == []
    await admin.create_topics(new_topics(TOPICS, CONFIG))
    retry = TOPICS.downloads_retry[0]
    await producer.send([Message(topic=topic, value=b"x") for topic in (TOPICS.events, TOPICS.events, retry)])
    waiting = asyncio.create_task(wait_until_idle(admin, TOPICS, idle_s=0.0))
    assert {each.topic for each in await progress(admin, TOPICS) if not each.drained} == {TOPICS.events, retry}
    await finish(broker, TOPICS.events, 1)
    await finish(broker, retry, 1)
    assert {each.topic: (each.done, each.total) for each in await progress(admin, TOPICS) if not each.drained} == {
        TOPICS.events: (1, 2)
    }
    assert not waiting.done()
    await finish(broker, TOPICS.events, 2)
    await asyncio.wait_for(waiting, 10)
    await producer.close()
    await admin.close()
    await broker.close()


async def test_records_that_were_deleted_are_nobodys_work(tmp_path: Path) -> None:
    """Below the low watermark there is nothing to do."""
    broker = EmbeddedBroker(tmp_path / "broker.db")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics(new_topics(TOPICS, CONFIG))
    await producer.send([Message(topic=TOPICS.events, value=b"x")])
    await admin.delete_records({TopicPartition(TOPICS.events, 0): 1})
    assert all(each.drained for each in await progress(admin, TOPICS))
    await producer.close()
    await admin.close()
    await broker.close()
