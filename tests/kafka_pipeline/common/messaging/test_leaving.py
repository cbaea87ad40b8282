"""A member that leaves while its group is being rebalanced: in `make chaos` one was not heard, and did not end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from kafka_pipeline.common.messaging import Consumer, TopicPartition

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
