"""What is acknowledged survives the sudden death of the client, on every broker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import kafka_pipeline
from kafka_pipeline.common.messaging import TopicPartition

CHILD = Path(__file__).with_name("crash_child.py")
SOURCE = Path(kafka_pipeline.__file__).parent.parent


@pytest.mark.crash
async def test_kill_9_loses_nothing_acknowledged(bench: Any) -> None:
    """Every acknowledged message and commit is there; the group goes on behind its last commit, in another process."""
    topic, group = await bench.topic(), bench.group()
    arguments = [sys.executable, str(CHILD), bench.broker.description, topic, group]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    child = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env=environment)
    told = {"sent": 0, "committed": 0}
    try:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            while told["sent"] < 150 or told["committed"] < 50:
                name, number = (await child.stdout.readline()).split()
                told[name.decode()] = int(number)
    finally:
        child.send_signal(signal.SIGKILL)
        rest, _ = await child.communicate()
    for line in rest.splitlines():
        told[line.split()[0].decode()] = int(line.split()[1])

    partition = TopicPartition(topic, 0)
    low, high = (await bench.admin.watermarks([partition]))[partition]
    assert low == 0
    assert high >= told["sent"]
    records = await bench.read(await bench.reader(topic), high)
    assert list(range(high)) == [int(record.value) for record in records]

    committed = (await bench.admin.group_offsets(group, [partition]))[partition]
    assert told["committed"] <= committed <= high
    heir, _ = await bench.member(group, topic)
    records = await bench.read(heir, high - committed) if high > committed else []
    assert list(range(committed, high)) == [record.offset for record in records]
