"""What the embedded broker promises beyond the contract: several processes, one file, one group in one process."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import kafka_pipeline
from kafka_pipeline.common.messaging import (
    BrokerRefusedError,
    BrokerUnavailableError,
    CommitError,
    Message,
    MessageTooLargeError,
    NewTopic,
    Offsets,
    ProduceError,
    TopicPartition,
)
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker

SOURCE = Path(kafka_pipeline.__file__).parent.parent
CHILD = Path(__file__).with_name("crash_child.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the broker's file, in a folder that does not exist yet."""
    return tmp_path / "new folder" / "broker.db"


@pytest_asyncio.fixture
async def embedded(path: Path) -> AsyncIterator[EmbeddedBroker]:
    """Give a broker with one topic `t` of two partitions."""
    broker = EmbeddedBroker(path, revoke_budget_s=0.2)
    await broker.admin().create_topics([NewTopic(name="t", partitions=2)])
    yield broker
    await broker.close()


@pytest.fixture
def owner(embedded: EmbeddedBroker, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start another process that writes `t` and has the group `taken`."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), embedded.description, "t", "taken"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def first_lines(child: subprocess.Popen[bytes], count: int) -> None:
    """Wait until a child has said something."""
    assert child.stdout is not None
    for _ in range(count):
        assert await asyncio.wait_for(asyncio.to_thread(child.stdout.readline), 30)


async def test_a_group_belongs_to_one_process_until_that_dies(
    embedded: EmbeddedBroker, owner: subprocess.Popen[bytes], tape: Any
) -> None:
    """Another process is refused with the reason, and may take over once the first is killed."""
    await first_lines(owner, 3)
    consumer = embedded.consumer("taken")
    with pytest.raises(BrokerRefusedError, match="group taken is in use by another process"):
        await consumer.subscribe(["t"], tape)
    owner.kill()
    owner.wait()
    await consumer.subscribe(["t"], tape)
    assert await consumer.poll(5, 5)
    await consumer.close()


async def test_other_groups_read_what_another_process_writes_as_it_writes(
    embedded: EmbeddedBroker, owner: subprocess.Popen[bytes], tape: Any
) -> None:
    """Two processes share the file: one writes, the other reads along."""
    consumer = embedded.consumer("mine")
    await consumer.subscribe(["t"], tape)
    missing = set(range(200))
    async with asyncio.timeout(30):
        while missing:
            missing -= {int(record.value or b"") for record in await consumer.poll(100, 5)}
    await consumer.close()


async def test_a_group_is_free_again_when_its_last_member_leaves(
    path: Path, embedded: EmbeddedBroker, tape: Any
) -> None:
    """The lock is the group's, not the broker's."""
    first, second = embedded.consumer("g"), embedded.consumer("g")
    await first.subscribe(["t"], tape)
    await second.subscribe(["t"], tape)
    other = EmbeddedBroker(path)
    heir = other.consumer("g")
    await first.close()
    with pytest.raises(BrokerRefusedError):
        await heir.subscribe(["t"], tape)
    await second.close()
    await heir.subscribe(["t"], tape)
    await heir.close()
    await other.close()


async def test_what_was_sent_and_committed_is_there_after_a_restart(path: Path, tape: Any) -> None:
    """The file is all there is to a broker."""
    for round_number in range(3):
        broker = EmbeddedBroker(path)
        await broker.admin().create_topics([NewTopic(name="t", partitions=1)])
        await broker.producer().send([Message(topic="t", value=b"%d" % round_number)])
        consumer = broker.consumer("g")
        await consumer.subscribe(["t"], tape)
        (record,) = await consumer.poll(10, 5)
        assert b"%d" % round_number == record.value
        await consumer.commit({TopicPartition("t", 0): record.offset + 1})
        await consumer.close()
        await broker.close()


async def test_a_send_is_all_or_nothing(embedded: EmbeddedBroker) -> None:
    """One unknown topic in a batch, and none of it is written."""
    with pytest.raises(ProduceError, match="nowhere"):
        await embedded.producer().send([Message(topic="t", value=b""), Message(topic="nowhere", value=b"")])
    marks = await embedded.admin().watermarks([TopicPartition("t", 0), TopicPartition("t", 1)])
    assert {mark.high for mark in marks.values()} == {0}


async def test_the_largest_message_is_a_setting(path: Path) -> None:
    """Key, value and headers count."""
    broker = EmbeddedBroker(path, max_message_bytes=100)
    await broker.admin().create_topics([NewTopic(name="t", partitions=1)])
    producer = broker.producer()
    await producer.send([Message(topic="t", key=b"k" * 10, value=b"v" * 80, headers=(("h", b"x" * 9),))])
    with pytest.raises(MessageTooLargeError):
        await producer.send([Message(topic="t", key=b"k" * 10, value=b"v" * 80, headers=(("h", b"x" * 10),))])
    await broker.close()


async def test_a_read_is_bounded_in_bytes(embedded: EmbeddedBroker, tape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand large records do not come at once, whatever was asked for."""
    monkeypatch.setattr("kafka_pipeline.common.messaging._embedded_log.MAX_READ_BYTES", 1000)
    await embedded.producer().send([Message(topic="t", key=b"k", value=b"x" * 400) for _ in range(10)])
    consumer = embedded.consumer("g")
    await consumer.subscribe(["t"], tape)
    sizes = [len(await consumer.poll(100, 5)) for _ in range(4)]
    await consumer.close()
    assert sizes == [3, 3, 3, 1]


async def test_a_full_partition_does_not_starve_the_others(embedded: EmbeddedBroker, tape: Any) -> None:
    """Reads take turns at who comes first."""
    await embedded.producer().send([Message(topic="t", value=b"") for _ in range(200)])
    consumer = embedded.consumer("g")
    await consumer.subscribe(["t"], tape)
    seen = {record.partition for _ in range(2) for record in await consumer.poll(10, 5)}
    await consumer.close()
    assert seen == {0, 1}


async def test_a_slow_listener_is_not_waited_for_beyond_the_budget(embedded: EmbeddedBroker, tape: Any) -> None:
    """A member that does not answer gives its partitions up without a commit."""

    class Slow(type(tape)):  # type: ignore[misc]  # the class comes from a fixture
        async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
            await asyncio.sleep(3600)
            return dict.fromkeys(partitions, 0)

    consumer = embedded.consumer("g")
    await consumer.subscribe(["t"], Slow())
    await consumer.poll(1, 0)
    started = time.monotonic()
    await consumer.close()
    assert time.monotonic() - started < 5
    assert await embedded.admin().group_offsets("g", [TopicPartition("t", 0), TopicPartition("t", 1)]) == {}


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Somebody's file is not overwritten."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear policyholder, " * 100)
    broker = EmbeddedBroker(path)
    with pytest.raises(BrokerRefusedError, match=r"letter\.txt"):
        await broker.check(5)
    await broker.close()
    assert path.read_text().startswith("Dear")


async def test_a_place_that_cannot_hold_a_file_is_unavailable(tmp_path: Path, tape: Any) -> None:
    """A missing disk is an outage, told by every call in its own kind of error."""
    (tmp_path / "file").touch()
    broker = EmbeddedBroker(tmp_path / "file" / "broker.db")
    with pytest.raises(BrokerUnavailableError):
        await broker.check(5)
    with pytest.raises(ProduceError):
        await broker.producer().send([Message(topic="t", value=b"")])
    with pytest.raises(BrokerUnavailableError):
        await broker.consumer("g").subscribe(["t"], tape)
    await broker.close()


async def test_another_process_that_holds_the_file_too_long_is_an_outage(
    embedded: EmbeddedBroker, path: Path, tape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocked write fails in the words of the call that waited, loses nothing, and works again afterwards."""
    consumer = embedded.consumer("g")
    await consumer.subscribe(["t"], tape)
    await consumer.poll(1, 0)
    await embedded.writing(lambda log: log._connection.execute("PRAGMA busy_timeout = 50"))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ProduceError, match="locked"):
        await embedded.producer().send([Message(topic="t", value=b"")])
    with pytest.raises(CommitError, match="locked"):
        await consumer.commit({TopicPartition("t", 0): 0})
    blocker.execute("ROLLBACK")
    blocker.close()
    await embedded.producer().send([Message(topic="t", value=b"after")])
    assert [record.value for record in await consumer.poll(10, 5)] == [b"after"]
    await consumer.close()


async def test_close_leaves_no_thread_behind(path: Path) -> None:
    """What a broker started, it ends; afterwards it says that it is closed."""
    broker = EmbeddedBroker(path)
    await broker.admin().create_topics([NewTopic(name="t", partitions=1)])
    await broker.check(5)
    await broker.close()
    await broker.close()
    named = [thread.name for thread in threading.enumerate() if thread.name.startswith("embedded")]
    assert named == []
    with pytest.raises(BrokerUnavailableError, match="closed"):
        await broker.check(5)


async def test_a_topic_needs_a_partition(embedded: EmbeddedBroker) -> None:
    """A topic without partitions could never be written to."""
    with pytest.raises(BrokerRefusedError, match="0 partitions"):
        await embedded.admin().create_topics([NewTopic(name="none", partitions=0)])
