"""What every broker promises, asked of the embedded one and of a real Kafka alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from kafka_pipeline.common.messaging import (
    Broker,
    BrokerRefusedError,
    FencedError,
    Message,
    MessageTooLargeError,
    NewTopic,
    Offsets,
    ProduceError,
    TopicPartition,
    Watermarks,
)


def values(records: list[Any]) -> list[int]:
    """Return the numbers that `fill` wrote."""
    return [int(record.value) for record in records]


# Records


async def test_records_of_a_key_share_a_partition_and_keep_their_order(bench: Any) -> None:
    """What is written with one key is read from one partition, in the order it was written."""
    topic = await bench.topic(partitions=4)
    await bench.fill(topic, 300)
    records = await bench.read(await bench.reader(topic), 300)
    for key in {record.key for record in records}:
        of_key = [record for record in records if record.key == key]
        assert len({record.partition for record in of_key}) == 1
        assert values(of_key) == sorted(values(of_key))


async def test_offsets_of_a_partition_count_up_without_gaps(bench: Any) -> None:
    """Each partition numbers its records from zero."""
    topic = await bench.topic(partitions=3)
    await bench.fill(topic, 100)
    await bench.fill(topic, 100, first=100)
    records = await bench.read(await bench.reader(topic), 200)
    for partition in range(3):
        offsets = [record.offset for record in records if record.partition == partition]
        assert list(range(len(offsets))) == offsets


async def test_messages_without_a_key_reach_every_partition(bench: Any) -> None:
    """Without a key the partitions share the load."""
    topic = await bench.topic(partitions=3)
    for number in range(60):
        await bench.producer.send([Message(topic=topic, value=b"%d" % number)])
    records = await bench.read(await bench.reader(topic), 60)
    assert {record.partition for record in records} == {0, 1, 2}


async def test_a_record_comes_back_as_it_was_written(bench: Any) -> None:
    """Key, value, timestamp and headers survive: order, repeated names, empty and non-UTF-8 values."""
    topic = await bench.topic()
    headers = (("a", b"1"), ("b", b""), ("a", b"2"), ("ü", b"\xff\x00"))
    await bench.producer.send([Message(topic=topic, key=b"k", value=b"v", headers=headers, timestamp_ms=1_234_567_890)])
    (record,) = await bench.read(await bench.reader(topic), 1)
    assert (topic, 0, 0) == (record.topic, record.partition, record.offset)
    assert (b"k", b"v", headers, 1_234_567_890) == (record.key, record.value, record.headers, record.timestamp_ms)
    assert record.header("a") == b"2"
    assert record.header("c") is None


async def test_null_and_empty_stay_different(bench: Any) -> None:
    """A missing key or value is not an empty one."""
    topic = await bench.topic()
    for key, value in ((None, None), (b"", b""), (b"k", None), (None, b"v")):
        await bench.producer.send([Message(topic=topic, key=key, value=value)])
    records = await bench.read(await bench.reader(topic), 4)
    assert [(record.key, record.value) for record in records] == [(None, None), (b"", b""), (b"k", None), (None, b"v")]
    assert all(record.headers == () for record in records)


async def test_a_message_without_a_timestamp_gets_the_time_of_writing(bench: Any) -> None:
    """Someone's clock stamps it."""
    topic = await bench.topic()
    await bench.fill(topic, 1)
    (record,) = await bench.read(await bench.reader(topic), 1)
    assert abs(record.timestamp_ms - time.time() * 1000) < 60_000


# Reading


async def test_poll_gives_no_more_than_asked(bench: Any) -> None:
    """A batch is bounded, and the next one goes on behind it."""
    topic = await bench.topic()
    await bench.fill(topic, 25)
    consumer = await bench.reader(topic)
    read: list[int] = []
    while len(read) < 25:
        batch = await consumer.poll(10, 1)
        assert len(batch) <= 10
        read += values(batch)
    assert list(range(25)) == read


async def test_poll_returns_empty_handed_when_its_time_is_over(bench: Any) -> None:
    """With nothing to read, poll gives the worker its turn back."""
    consumer = await bench.ready_reader(await bench.topic())
    started = time.monotonic()
    assert await consumer.poll(10, 0.3) == []
    assert 0.2 < time.monotonic() - started < 5


async def test_a_waiting_poll_gets_a_new_message_at_once(bench: Any) -> None:
    """A long poll does not sleep through what arrives meanwhile."""
    topic = await bench.topic()
    consumer = await bench.ready_reader(topic)
    waiting = asyncio.create_task(consumer.poll(10, 20))
    await asyncio.sleep(0)
    await bench.fill(topic, 1)
    started = time.monotonic()
    assert values(await waiting) == [0]
    assert time.monotonic() - started < 5


async def test_a_cancelled_poll_loses_nothing(bench: Any) -> None:
    """Whatever a poll had in hand when its caller went away comes with the next one, once and in order."""
    topic = await bench.topic()
    consumer = await bench.ready_reader(topic)
    read: list[int] = []
    for number in range(30):
        waiting = asyncio.create_task(consumer.poll(10, 5))
        await asyncio.sleep(0.002 * (number % 5))
        await bench.fill(topic, 1, first=number)
        await asyncio.sleep(0.001 * (number % 7))
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            read += values(await waiting)
    read += values(await bench.read(consumer, 30 - len(read))) if len(read) < 30 else []
    assert list(range(30)) == read


async def test_a_record_in_hand_after_a_cancelled_poll_respects_pause_and_seek(bench: Any) -> None:
    """Pause and seek hold also for records that were fetched for a caller who went away."""
    topic = await bench.topic()
    consumer = await bench.ready_reader(topic)
    partition = TopicPartition(topic, 0)
    waiting = asyncio.create_task(consumer.poll(10, 5))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await bench.fill(topic, 20)
    await asyncio.gather(waiting, return_exceptions=True)
    await consumer.pause([partition])
    await bench.quiet(consumer)
    await consumer.resume([partition])
    assert list(range(20)) == values(await bench.read(consumer, 20))
    await consumer.seek(partition, 5)
    assert list(range(5, 20)) == values(await bench.read(consumer, 15))


async def test_a_paused_partition_is_silent_and_goes_on_where_it_stood(bench: Any) -> None:
    """Pause holds one partition back, not the others; resume loses and repeats nothing."""
    topic = await bench.topic(partitions=2)
    consumer = await bench.ready_reader(topic)
    await bench.fill(topic, 70)
    first = await bench.read(consumer, 70)
    paused = TopicPartition(topic, 0)
    await consumer.pause([paused, TopicPartition(topic, 99)])
    await bench.fill(topic, 70, first=70)
    expected_open = sum(1 for record in first if record.partition == 1)
    open_ones = await bench.read(consumer, expected_open)
    await bench.quiet(consumer)
    assert {record.partition for record in open_ones} == {1}
    await consumer.resume([paused])
    rest = await bench.read(consumer, 70 - len(open_ones))
    assert {record.partition for record in rest} == {0}
    assert list(range(70, 140)) == sorted(values(open_ones + rest))


async def test_a_pause_ends_with_the_assignment(bench: Any) -> None:
    """A partition that went to another member and came back is read again, whatever it was when it went."""
    group, topic = bench.group(), await bench.topic(partitions=2)
    one, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == 2, one)
    before = one.assignment()
    await one.pause(before)
    other, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == len(other.assignment()) == 1, one, other)
    [stayed] = one.assignment()
    await other.close()
    await bench.until(lambda: one.assignment() == before, one)
    await bench.fill(topic, 70)
    [returned] = before - {stayed}
    high = (await bench.admin.watermarks([returned]))[returned].high
    assert {record.partition for record in await bench.read(one, high)} == {returned.partition}
    await bench.quiet(one)


async def test_seek_moves_one_partition(bench: Any) -> None:
    """Reading goes on at the offset that was asked for, also in a paused partition."""
    topic = await bench.topic()
    await bench.fill(topic, 10)
    consumer = await bench.reader(topic)
    await bench.read(consumer, 10)
    partition = TopicPartition(topic, 0)
    await consumer.seek(partition, 7)
    assert values(await bench.read(consumer, 3)) == [7, 8, 9]
    await consumer.pause([partition])
    await consumer.seek(partition, 8)
    await bench.quiet(consumer)
    await consumer.resume([partition])
    assert values(await bench.read(consumer, 2)) == [8, 9]


async def test_seek_below_the_low_watermark_goes_to_the_first_record(bench: Any) -> None:
    """What was deleted cannot be read; reading starts at what is left."""
    topic = await bench.topic()
    await bench.fill(topic, 10)
    consumer = await bench.reader(topic)
    await bench.read(consumer, 10)
    partition = TopicPartition(topic, 0)
    await bench.admin.delete_records({partition: 4})
    await consumer.seek(partition, 1)
    assert list(range(4, 10)) == values(await bench.read(consumer, 6))


# Groups


async def test_every_group_sees_every_record(bench: Any) -> None:
    """Groups do not take from each other."""
    topic = await bench.topic(partitions=2)
    await bench.fill(topic, 40)
    for _ in range(2):
        assert list(range(40)) == sorted(values(await bench.read(await bench.reader(topic), 40)))


async def test_a_new_group_starts_at_the_earliest_record(bench: Any) -> None:
    """Nothing written before a group existed is skipped."""
    topic = await bench.topic()
    await bench.fill(topic, 5)
    await bench.admin.delete_records({TopicPartition(topic, 0): 2})
    assert values(await bench.read(await bench.reader(topic), 3)) == [2, 3, 4]


async def test_two_members_share_the_partitions(bench: Any) -> None:
    """Each partition is read by exactly one member, and each member reads some."""
    topic = await bench.topic(partitions=4)
    group = bench.group()
    one, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == 4, one)
    two, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == len(two.assignment()) == 2, one, two)
    assert not one.assignment() & two.assignment()
    await bench.fill(topic, 100)
    read: list[Any] = []
    await bench.until(lambda: len(read) >= 100, one, two, into=read)
    assert list(range(100)) == sorted(values(read))


async def test_partitions_of_a_leaver_go_to_who_stays(bench: Any) -> None:
    """Nobody's partitions stay orphaned."""
    topic = await bench.topic(partitions=3)
    group = bench.group()
    one, _ = await bench.member(group, topic)
    two, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment() | two.assignment()) == 3 and bool(two.assignment()), one, two)
    await one.close()
    await bench.until(lambda: len(two.assignment()) == 3, two)


async def test_a_rebalance_takes_only_what_moves(bench: Any) -> None:
    """A member keeps reading the partitions that stay with it (cooperative rebalancing)."""
    topic = await bench.topic(partitions=4)
    group = bench.group()
    one, one_tape = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == 4, one)
    two, _ = await bench.member(group, topic)
    await bench.until(lambda: len(two.assignment()) == 2, one, two)
    (revoked,) = one_tape.of("revoked")
    assert revoked == two.assignment()
    assert one_tape.of("lost") == []


async def test_a_rebalance_commits_what_the_listener_answers(bench: Any) -> None:
    """Partitions change hands behind the last finished record: nothing is repeated, nothing skipped."""
    topic = await bench.topic(partitions=2)
    group = bench.group()
    await bench.fill(topic, 40)
    one, tape = await bench.member(group, topic)
    first: list[Any] = []
    await bench.until(lambda: len(first) >= 40, one, into=first)
    tape.handle(first)
    two, _ = await bench.member(group, topic)
    second: list[Any] = []
    await bench.until(lambda: len(two.assignment()) == 1, one, two, into=second)
    await bench.fill(topic, 40, first=40)
    await bench.until(lambda: len(second) >= 40, one, two, into=second)
    assert list(range(40, 80)) == sorted(values(second))
    (moved,) = two.assignment()
    assert (await bench.admin.group_offsets(group, [moved])) == {moved: tape.handled[moved]}


async def test_close_commits_what_the_listener_answers_and_leaves(bench: Any) -> None:
    """The next member of the group goes on exactly there, at once."""
    topic = await bench.topic()
    group = bench.group()
    await bench.fill(topic, 10)
    one, tape = await bench.member(group, topic)
    tape.handle((await bench.read(one, 10))[:6])
    await one.close()
    assert one.assignment() == frozenset()
    assert tape.of("revoked") == [frozenset({TopicPartition(topic, 0)})]
    two, _ = await bench.member(group, topic)
    started = time.monotonic()
    assert values(await bench.read(two, 4)) == [6, 7, 8, 9]
    assert time.monotonic() - started < 5


async def test_uncommitted_records_come_again_and_committed_ones_do_not(bench: Any) -> None:
    """A group goes on at its committed offset, whatever it had read beyond."""
    topic = await bench.topic()
    group = bench.group()
    await bench.fill(topic, 10)
    one, _ = await bench.member(group, topic)
    await bench.read(one, 10)
    await one.commit({TopicPartition(topic, 0): 3})
    await one.close()
    two, _ = await bench.member(group, topic)
    assert list(range(3, 10)) == values(await bench.read(two, 7))


async def test_commit_of_a_foreign_partition_is_fenced(bench: Any) -> None:
    """A member cannot move a group's offset where another reads; what is its own is stored all the same."""
    topic = await bench.topic(partitions=2)
    group = bench.group()
    await bench.fill(topic, 20)
    one, _ = await bench.member(group, topic)
    two, _ = await bench.member(group, topic)
    await bench.until(lambda: len(one.assignment()) == len(two.assignment()) == 1, one, two)
    (mine,), (foreign,) = one.assignment(), two.assignment()
    with pytest.raises(FencedError, match=str(foreign)):
        await one.commit({mine: 1, foreign: 1})
    assert await bench.admin.group_offsets(group, [mine, foreign]) == {mine: 1}


async def test_a_listener_that_fails_does_not_stop_the_consumer(bench: Any, tape: Any) -> None:
    """A listener's error means no offsets, not a dead group."""
    topic = await bench.topic()
    group = bench.group()
    await bench.fill(topic, 3)

    class Broken(type(tape)):  # type: ignore[misc]  # the class comes from a fixture
        async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
            raise ValueError("assigned")

        async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
            raise ValueError("revoked")

    one = bench.consumer(group)
    await one.subscribe([topic], Broken())
    assert values(await bench.read(one, 3)) == [0, 1, 2]
    await one.close()
    assert await bench.admin.group_offsets(group, [TopicPartition(topic, 0)]) == {}


async def test_a_listener_may_pause_and_seek_what_it_is_given(bench: Any, tape: Any) -> None:
    """A worker that assigns positions itself does it before the first record comes."""
    topic = await bench.topic(partitions=2)
    await bench.fill(topic, 100)
    consumer = bench.consumer(bench.group())

    async def set_up(partitions: frozenset[TopicPartition]) -> None:
        for partition in partitions:
            if partition.partition == 0:
                await consumer.pause([partition])
            else:
                await consumer.seek(partition, 2)

    tape.during_assign = set_up
    await consumer.subscribe([topic], tape)
    high = (await bench.admin.watermarks([TopicPartition(topic, 1)]))[TopicPartition(topic, 1)].high
    records = await bench.read(consumer, high - 2)
    assert list(range(2, high)) == [record.offset for record in records]
    await bench.quiet(consumer)


async def test_close_twice_and_close_unused_are_harmless(bench: Any) -> None:
    """Whatever was made can be closed, any number of times."""
    consumer, producer, admin = bench.consumer(bench.group()), bench.broker.producer(), bench.broker.admin()
    for thing in (consumer, producer, admin):
        await thing.close()
        await thing.close()
    with pytest.raises(ProduceError):
        await producer.send([Message(topic="any", value=b"")])


# Refusals


async def test_an_unknown_topic_is_refused_by_name(bench: Any, unique: Any) -> None:
    """Nobody waits for a topic that does not exist, and nothing is created by accident."""
    name = unique("nowhere")
    with pytest.raises(BrokerRefusedError, match=name):
        await bench.member(bench.group(), name)
    with pytest.raises(ProduceError, match=name) as refusal:
        await bench.producer.send([Message(topic=name, value=b"v")])
    assert isinstance(refusal.value, BrokerRefusedError)
    with pytest.raises(BrokerRefusedError, match=name):
        await bench.admin.watermarks([TopicPartition(name, 0)])
    assert name not in await bench.admin.topics()


async def test_a_message_too_large_is_refused_before_any_is_written(bench: Any) -> None:
    """The others of its batch can then be sent once, without it."""
    topic = await bench.topic()
    small, large = Message(topic=topic, value=b"small"), Message(topic=topic, value=b"x" * 2_000_000)
    with pytest.raises(MessageTooLargeError, match=f"message 2 of 2, to {topic}"):
        await bench.producer.send([small, large])
    assert (await bench.admin.watermarks([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)].high == 0
    await bench.producer.send([small, Message(topic=topic, value=b"x" * 900_000)])


# Admin


async def test_a_topic_is_described_as_it_was_made(bench: Any, unique: Any) -> None:
    """Partitions, and where they have a meaning copies and configuration; what is not there is left out."""
    name = unique("described")
    await bench.admin.create_topics([NewTopic(name=name, partitions=3, config={"retention.ms": "86400000"})])
    found = await bench.admin.describe([name, unique("nobody-made-this")])
    assert list(found) == [name]
    assert found[name].partitions == 3
    if found[name].replication_factor is not None:
        assert found[name].replication_factor == 1
        assert found[name].config["retention.ms"] == "86400000"
        assert found[name].config["cleanup.policy"] == "delete"


async def test_topics_are_created_once(bench: Any, unique: Any) -> None:
    """Creating again returns nothing and changes nothing."""
    one, two = unique("topic"), unique("topic")
    config = {"retention.ms": "3600000"}
    assert await bench.admin.create_topics([NewTopic(name=one, partitions=3, config=config)]) == {one}
    again = [NewTopic(name=one, partitions=5), NewTopic(name=two, partitions=1)]
    assert await bench.admin.create_topics(again) == {two}
    topics = await bench.admin.topics()
    assert (topics[one], topics[two]) == (3, 1)
    assert not any(name.startswith("__") for name in topics)


async def test_watermarks_tell_what_is_there(bench: Any) -> None:
    """Low is the first record, high the next to be written."""
    topic = await bench.topic(partitions=2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert await bench.admin.watermarks([first, second]) == {first: Watermarks(0, 0), second: Watermarks(0, 0)}
    await bench.fill(topic, 50)
    marks = await bench.admin.watermarks([first, second])
    assert sum(mark.high for mark in marks.values()) == 50
    assert await bench.admin.watermarks([]) == {}


async def test_deleted_records_are_gone_and_offsets_are_not_used_again(bench: Any) -> None:
    """Deleting raises the low watermark; the rest stays, and new records go on counting."""
    topic = await bench.topic()
    partition = TopicPartition(topic, 0)
    await bench.fill(topic, 10)
    assert await bench.admin.delete_records({partition: 6}) == {partition: 6}
    assert await bench.admin.delete_records({partition: 3}) == {partition: 6}
    assert await bench.admin.watermarks([partition]) == {partition: Watermarks(6, 10)}
    assert await bench.admin.delete_records({partition: 10}) == {partition: 10}
    await bench.fill(topic, 1, first=10)
    (record,) = await bench.read(await bench.reader(topic), 1)
    assert (record.offset, int(record.value)) == (10, 10)
    with pytest.raises(BrokerRefusedError, match=topic):
        await bench.admin.delete_records({partition: 12})


async def test_group_offsets_leave_out_what_was_never_committed(bench: Any) -> None:
    """A group that nobody knows has no offsets, and that is no error."""
    topic = await bench.topic(partitions=2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    group = bench.group()
    assert await bench.admin.group_offsets(group, [one, two]) == {}
    consumer, _ = await bench.member(group, topic)
    await bench.until(lambda: len(consumer.assignment()) == 2, consumer)
    await consumer.commit({one: 0})
    assert await bench.admin.group_offsets(group, [one, two]) == {one: 0}


async def test_a_living_broker_passes_its_check_and_has_a_name(broker: Broker) -> None:
    """The check returns, and the description is for people."""
    await broker.check(10)
    assert broker.description.startswith(("Kafka at ", "embedded broker in "))
