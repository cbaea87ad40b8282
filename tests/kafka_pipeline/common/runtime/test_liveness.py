"""Promises of liveness: a worker that is stuck is told in time, and one that waits for a dependency never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common import pulse
from kafka_pipeline.common.failures import UnavailableError
from kafka_pipeline.common.messaging import Message, Record, TopicPartition
from kafka_pipeline.common.pulse import awaiting
from kafka_pipeline.common.runtime import liveness
from kafka_pipeline.common.runtime.liveness import LIMIT_S, Hearing, Signs, Stuck, stuck
from kafka_pipeline.common.runtime.loop import WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Done, Outcome
from tests.kafka_pipeline.common.runtime.bench import FAST, PATIENCE_S, Bench, until

WELL = Signs(since_turn_s=0.2, overdue_s=0, stranded_s=0, deaf_s=0, drains=False)
HERE = TopicPartition("work", 0)
THERE = TopicPartition("work", 1)

TABLE = [
    (WELL, ()),
    (replace(WELL, since_turn_s=LIMIT_S), ()),
    (replace(WELL, since_turn_s=LIMIT_S + 1), (Stuck.LOOP,)),
    (replace(WELL, overdue_s=0.1), (Stuck.BATCH,)),
    (replace(WELL, stranded_s=LIMIT_S + 1), (Stuck.STRANDED,)),
    (replace(WELL, deaf_s=LIMIT_S + 1), (Stuck.DEAF,)),
    (replace(WELL, deaf_s=LIMIT_S), ()),
    (
        Signs(since_turn_s=99, overdue_s=99, stranded_s=99, deaf_s=99, drains=False),
        (Stuck.LOOP, Stuck.BATCH, Stuck.STRANDED, Stuck.DEAF),
    ),
    (Signs(since_turn_s=99, overdue_s=99, stranded_s=99, deaf_s=99, drains=True), ()),
]


@pytest.mark.parametrize(("signs", "ways"), TABLE)
def test_the_decision(signs: Signs, ways: tuple[Stuck, ...]) -> None:
    """Each sign by itself, all together, and none of them while it stops."""
    assert stuck(signs) == ways


def test_a_stuck_worker_is_known_within_a_minute() -> None:
    """What the issue asks for: the limits leave a probe some seconds."""
    assert LIMIT_S < 60
    assert pulse.GRACE_S < 60


def test_records_that_arrive_and_are_not_delivered_are_noticed() -> None:
    """From the second time on that the partition has grown."""
    hearing = Hearing()
    for second, end in enumerate((5, 6, 7, 7, 8)):
        hearing.looked({HERE: end}, 10.0 * second)
        assert hearing.deaf_s(10.0 * second) == {0: 0, 1: 0, 2: 10, 3: 20, 4: 30}[second]
    hearing.delivered({HERE})
    assert hearing.deaf_s(60.0) == 0


@pytest.mark.parametrize(
    "ends",
    [
        [{HERE: 5}] * 20,
        [{HERE: 5 + number} if number % 2 else {} for number in range(20)],
        [{}] * 20,
        [{HERE: 5}, {HERE: 6}, *[{HERE: 6}] * 20],
    ],
    ids=["nothing arrives", "it is paused or unknown now and then", "nobody could look", "one record, at the edge"],
)
def test_silence_without_arrivals_is_no_deafness(ends: list[dict[TopicPartition, int]]) -> None:
    """An outage, a pause and an empty topic look like this."""
    hearing = Hearing()
    for second, each in enumerate(ends):
        hearing.looked(each, 10.0 * second)
    assert hearing.deaf_s(10.0 * len(ends)) == 0


@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("look"), st.sets(st.sampled_from([HERE, THERE]))),
            st.tuples(st.just("deliver"), st.sets(st.sampled_from([HERE, THERE]))),
        ),
        max_size=60,
    )
)
def test_a_partition_that_delivers_between_looks_is_never_deaf(events: list[tuple[str, set[TopicPartition]]]) -> None:
    """Whatever the other one does, and however often each is looked at."""
    hearing = Hearing()
    ends = {HERE: 0, THERE: 0}
    quiet_since: dict[TopicPartition, float] = {}
    for second, (what, partitions) in enumerate(events):
        if what == "look":
            for partition in partitions:
                ends[partition] += 1
            hearing.looked({partition: ends[partition] for partition in partitions}, float(second))
            quiet_since = {each: quiet_since.get(each, float(second)) for each in partitions}
        else:
            hearing.delivered(partitions)
            for partition in partitions:
                quiet_since.pop(partition, None)
        longest_s = max((second - since_s for since_s in quiet_since.values()), default=0.0)
        assert hearing.deaf_s(float(second)) <= longest_s


async def watched(loop: WorkerLoop, holds: Callable[[tuple[Stuck, ...]], bool], *, limit_s: float = LIMIT_S) -> None:
    """Return once the decision about a running loop is as wanted."""
    await until(lambda: holds(stuck(loop.signs, limit_s=limit_s)))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten the grace, and return it, so that tests need not wait for a minute."""
    grace_s = 0.3
    original = pulse.Pulse.__init__
    monkeypatch.setattr(pulse.Pulse, "__init__", lambda self, monotonic: original(self, monotonic, grace_s=grace_s))
    return grace_s


async def test_a_batch_that_hangs_is_told_and_one_that_goes_on_is_not(bench: Bench, impatient: float) -> None:
    """Inside process(), where nobody waits for anything that anyone watches."""
    never = asyncio.Event()

    async def behave(_: Record) -> Outcome:
        await never.wait()
        return Done()

    await bench.fill(b"0")
    async with bench.running(bench.processor(behave)) as loop:
        await watched(loop, lambda ways: ways == (Stuck.BATCH,))
        never.set()
        await watched(loop, lambda ways: ways == ())
        await bench.commits(1)


async def test_what_waits_for_a_dependency_never_hangs(bench: Bench, impatient: float) -> None:
    """By an outcome, as for a breaker; by a watched wait, as for the lake; by a producer that gets no answer."""
    back = asyncio.Event()

    async def until_back() -> None:
        await back.wait()

    async def behave(record: Record) -> Outcome:
        if record.value == b"breaker" and not back.is_set():
            raise UnavailableError("it is down", until_back, reason="circuit_open", alone=True)
        if record.value == b"lake":
            with awaiting("lake"):
                await back.wait()
        return Done()

    await bench.fill(b"breaker", b"lake", b"broker")
    processor = bench.processor(behave)
    async with bench.running(processor) as loop:
        await until(lambda: len(processor.seen) == 3)
        for _ in range(20):
            await asyncio.sleep(impatient / 5)
            assert stuck(loop.signs) == ()
        back.set()
        await bench.commits(3)


async def test_a_broker_that_takes_no_messages_makes_nobody_hang(bench: Bench, impatient: float) -> None:
    """What follows from a record waits for the broker, however long."""
    bench.producer.failures = 10**6
    await bench.fill(b"0")

    async def behave(record: Record) -> Outcome:
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    async with bench.running(bench.processor(behave)) as loop:
        await until(lambda: bench.producer.asked > 1)
        for _ in range(20):
            await asyncio.sleep(impatient / 5)
            assert stuck(loop.signs) == ()
        bench.producer.failures = 0
        await bench.commits(1)


async def test_a_loop_that_does_not_turn_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that does not come back: here a commit."""
    released = asyncio.Event()

    async def hang() -> None:
        await released.wait()

    async def behave(_: Record) -> Outcome:
        return Done()

    async with bench.running(bench.processor(behave)) as loop:
        await watched(loop, lambda ways: ways == (), limit_s=0.3)
        monkeypatch.setattr(loop, "_commit", hang)
        await bench.fill(b"0")
        await watched(loop, lambda ways: Stuck.LOOP in ways, limit_s=0.3)
        monkeypatch.undo()
        released.set()
        await watched(loop, lambda ways: ways == (), limit_s=0.3)
        await bench.commits(1)


async def test_records_that_nobody_begins_are_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of our own in the bookkeeping would look like this: held, and never in flight."""

    async def behave(_: Record) -> Outcome:
        return Done()

    async with bench.running(bench.processor(behave)) as loop:
        with monkeypatch.context() as broken:
            broken.setattr(loop._batches, "dispatch", lambda: None)
            await bench.fill(b"0")
            await watched(loop, lambda ways: ways == (Stuck.STRANDED,), limit_s=0.3)
        await watched(loop, lambda ways: ways == (), limit_s=0.3)
        await bench.commits(1)


async def test_a_client_that_delivers_nothing_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker answers and the partition grows; the loop turns and hears nothing."""

    async def behave(_: Record) -> Outcome:
        return Done()

    async with bench.running(bench.processor(behave), replace(FAST, poll_timeout_s=0.02)) as loop:
        await until(lambda: loop.listens_to == {bench.partition})

        async def nothing(_max_records: int, timeout_s: float) -> list[Record]:
            await asyncio.sleep(timeout_s)
            return []

        with monkeypatch.context() as broken:
            broken.setattr(loop._consumer, "poll", nothing)
            async with asyncio.timeout(PATIENCE_S):
                while stuck(loop.signs, limit_s=0.2) != (Stuck.DEAF,):
                    await bench.fill(b"0")
                    marks = await bench.admin.watermarks([bench.partition])
                    loop.looked({partition: mark.high for partition, mark in marks.items()})
        await watched(loop, lambda ways: ways == (), limit_s=0.2)


async def test_a_loop_that_drains_is_not_judged(bench: Bench, impatient: float) -> None:
    """It has a time of its own for that; a restart in the middle would only cost work."""
    never = asyncio.Event()
    seen = asyncio.Event()

    async def behave(_: Record) -> Outcome:
        seen.set()
        await never.wait()
        return Done()

    await bench.fill(b"0")
    async with bench.running(bench.processor(behave), replace(FAST, shutdown_timeout_s=2.0)) as loop:
        await seen.wait()
    assert stuck(loop.signs, limit_s=0.0) == ()
    assert liveness.stuck(replace(loop.signs, drains=False), limit_s=0.0) != ()
