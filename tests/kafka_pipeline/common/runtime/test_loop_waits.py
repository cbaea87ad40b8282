"""Promises of the worker loop about what cannot be done now, on both brokers: outages, delayed retries, floods."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.common.failures import Category, UnavailableError
from kafka_pipeline.common.messaging import Message, NewTopic, Record, TopicPartition
from kafka_pipeline.common.resilience.flood import FloodLimits
from kafka_pipeline.common.runtime.delays import RETRY_AT
from kafka_pipeline.common.runtime.loop import WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Wait
from kafka_pipeline.common.runtime.processor import Route
from tests.kafka_pipeline.common.runtime.bench import FAST, PATIENCE_S, Bench, until


class Dependency:
    """Something that is down until it is told otherwise, and counts who asked it while it was down."""

    def __init__(self, *, alone: bool = False) -> None:
        self.up = asyncio.Event()
        self.alone = alone
        self.refused = 0

    async def use(self, record: Record) -> Outcome:
        """Do the record's work, or raise as a breaker does."""
        if not self.up.is_set():
            self.refused += 1
            raise UnavailableError("it is down", self.back, reason="circuit_open", alone=self.alone)
        return Done()

    async def back(self) -> None:
        """Return when it is up."""
        await self.up.wait()


def paused(cause: str) -> float:
    """Return how many partitions the loop has paused, and why."""
    return REGISTRY.get_sample_value("partitions_paused", {"worker": "scripted", "cause": cause}) or 0


def waiting() -> float:
    """Return how many records wait for the dependency."""
    labels = {"worker": "scripted", "reason": "circuit_open"}
    return REGISTRY.get_sample_value("records_waiting", labels) or 0


async def test_while_a_dependency_is_down_nothing_is_failed_and_everything_is_done_afterwards(bench: Bench) -> None:
    """I7: records wait where they are, partitions pause, no offset moves; when it is back each is done once."""
    dependency = Dependency()
    finished: list[bytes | None] = []

    async def behave(record: Record) -> Outcome:
        outcome = await dependency.use(record)
        finished.append(record.value)
        return outcome

    values = [str(number).encode() for number in range(20)]
    await bench.fill(*values[:5])
    processor = bench.processor(behave)
    async with bench.running(processor, replace(FAST, max_batch_records=5)) as loop:
        await until(lambda: waiting() > 0 and paused("unavailable") == 1)
        await bench.fill(*values[5:])
        refused = dependency.refused
        for _ in range(10):
            await asyncio.sleep(0.02)
        assert dependency.refused == refused, "nobody asks again before it is back"
        assert loop.waiting_for == {"circuit_open"}
        assert await bench.committed() == 0
        dependency.up.set()
        await bench.commits(20)
        await until(lambda: waiting() == 0 and paused("unavailable") == 0)
    assert sorted(map(str, finished)) == sorted(map(str, values))
    assert await bench.values(bench.aside) == []


async def test_what_waits_alone_holds_nobody_else_back(bench: Bench) -> None:
    """One host of several is down: its files wait, the others pass; only commits wait for them (I1)."""
    dependency = Dependency(alone=True)

    async def behave(record: Record) -> Outcome:
        return await dependency.use(record) if record.value == b"down" else Done()

    await bench.fill(b"down", *[b"up"] * 30)
    processor = bench.processor(behave)
    async with bench.running(processor):
        await until(lambda: processor.seen.count(b"up") == 30)
        assert paused("unavailable") == 0
        assert await bench.committed() == 0
        dependency.up.set()
        await bench.commits(31)


async def test_a_part_of_a_batch_can_wait_while_the_rest_is_done(bench: Bench) -> None:
    """The neighbours finish and their keys are free; the one that waits comes again alone."""
    dependency = Dependency(alone=True)

    async def behave(record: Record) -> Outcome:
        if record.value != b"waits":
            return Done(messages=(Message(topic=bench.next, value=record.value),))
        try:
            return await dependency.use(record)
        except UnavailableError as error:
            return Wait(reason=error.reason, until=error.until, alone=True)

    await bench.fill(b"a", key=b"free")
    await bench.fill(b"waits", key=b"held")
    await bench.fill(b"b", key=b"free")
    processor = bench.processor(behave)
    async with bench.running(processor, replace(FAST, max_batch_records=3, linger_s=0.2)):
        await until(lambda: waiting() == 1)
        await bench.fill(b"c", key=b"free")
        await bench.fill(b"behind", key=b"held")
        await until(lambda: b"c" in processor.seen)
        assert b"behind" not in processor.seen
        dependency.up.set()
        await bench.commits(5)
    assert await bench.values(bench.next) == [b"a", b"b", b"c", b"behind"]
    assert processor.batches[-2:] == [[b"waits"], [b"behind"]]


async def test_a_cause_that_is_back_too_early_makes_no_busy_loop(bench: Bench) -> None:
    """Whoever says that it is back while it is not is asked again now and then, not all the time."""
    asked = 0

    async def at_once() -> None:
        pass

    async def behave(_: Record) -> Outcome:
        nonlocal asked
        asked += 1
        return Done() if asked == 4 else Wait(reason="circuit_open", until=at_once)

    await bench.fill(b"0")
    started_s = time.monotonic()
    async with bench.running(bench.processor(behave)):
        await bench.commits(1)
    assert asked == 4
    assert time.monotonic() - started_s >= 3 * 0.05


async def test_a_stop_does_not_wait_for_what_waits(bench: Bench) -> None:
    """It was not begun: whoever comes next begins with it."""
    dependency = Dependency()
    await bench.fill(b"0", b"1")
    async with asyncio.timeout(PATIENCE_S / 2):
        async with bench.running(bench.processor(dependency.use), replace(FAST, shutdown_timeout_s=PATIENCE_S)):
            await until(lambda: waiting() > 0)
    assert await bench.committed() == 0
    assert waiting() == 0
    dependency.up.set()
    second = bench.processor(dependency.use)
    async with bench.running(second):
        await bench.commits(2)
    assert second.seen == [b"0", b"1"]


async def test_a_partition_that_leaves_takes_what_waits_with_it_at_once(bench: Bench) -> None:
    """The rebalance is not held up by an outage, and the old owner does not work on it any more."""
    dependency = Dependency()
    await bench.fill(b"0")
    processor = bench.processor(dependency.use)
    settings = replace(FAST, revoke_timeout_s=PATIENCE_S)
    async with bench.running(processor, settings) as loop:
        await until(lambda: waiting() == 1)
        async with asyncio.timeout(PATIENCE_S / 2):
            assert await loop.on_revoked(frozenset({bench.partition})) == {}
        await until(lambda: waiting() == 0)
        dependency.up.set()
        await loop.on_lost(frozenset())
        assert processor.seen == [b"0"]


async def delayed(bench: Bench, *dues_ms: int) -> str:
    """Make a retry topic with records that are due then."""
    topic = f"{bench.work}.retry"
    await bench.admin.create_topics([NewTopic(name=topic, partitions=1)])
    feeder = bench.broker.producer()
    await feeder.send(
        [
            Message(topic=topic, value=b"retry %d" % number, headers=((RETRY_AT, str(due_ms).encode()),))
            for number, due_ms in enumerate(dues_ms)
        ]
    )
    await feeder.close()
    return topic


async def test_a_retry_waits_for_its_time_and_delays_nobody(bench: Bench) -> None:
    """I8: the main topic flows while retries wait; each comes when it is due, in order, never before."""
    now_ms = int(time.time() * 1000)
    dues_ms = [now_ms - 5, now_ms + 700, now_ms + 800, now_ms + 10**9]
    topic = await delayed(bench, *dues_ms)
    came: dict[bytes, float] = {}

    async def behave(record: Record) -> Outcome:
        came[record.value or b""] = time.time() * 1000
        return Done()

    async with bench.running(bench.processor(behave), delayed_topics=[topic]):
        await until(lambda: paused("delayed") == 1)
        await bench.fill(*(b"main %d" % number for number in range(50)))
        await bench.commits(50)
        await until(lambda: len(came) == 53)
    retries = [came[b"retry %d" % number] for number in range(3)]
    assert all(at >= due for at, due in zip(retries, dues_ms, strict=False))
    assert b"retry 3" not in came
    partition = TopicPartition(topic, 0)
    assert (await bench.admin.group_offsets(bench.group, [partition]))[partition] == 3, "a restart begins at the fourth"


async def test_more_retries_than_are_held_all_come(bench: Bench) -> None:
    """What is beyond the bound is read again when the time comes."""
    now_ms = int(time.time() * 1000)
    topic = await delayed(bench, *[now_ms + 800] * 350)
    processor = bench.processor(_done)
    async with bench.running(processor, delayed_topics=[topic]):
        await until(lambda: len(processor.seen) == 350)
    assert processor.seen == [b"retry %d" % number for number in range(350)]


async def test_a_flood_of_dead_letters_stops_the_worker_before_it_drains_the_topic(bench: Bench) -> None:
    """What would pass the limit stays in its topic, uncommitted; the loop goes on turning and says why it waits."""

    async def behave(record: Record) -> Outcome:
        if record.value == b"good":
            return Done()
        return Dead(reason="malformed", error_class="E", error_text="t")

    await bench.fill(*[b"good"] * 10, *[b"bad"] * 100)
    settings = replace(FAST, flood=FloodLimits(window_s=300, max_share=0.5, min_dead=5))
    async with bench.running(bench.processor(behave), settings) as loop:
        await until(lambda: loop.waiting_for == {"dead_letter_flood"})
        await bench.commits(20)
    assert await bench.values(bench.aside) == [b"malformed"] * 10
    assert await bench.committed() == 20


async def test_a_worker_without_retry_topics_tries_again_in_place(bench: Bench) -> None:
    """Its router says Wait; how often it was tried is told to it."""
    tried: list[int] = []

    class InPlace:
        def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
            tried.append(tries)
            return Wait(reason="retry_in_place", until=_nothing, alone=True)

        route_without_value = bench.failures.route_without_value

    async def behave(_: Record) -> Outcome:
        if len(tried) < 3:
            return Retry(category=Category.TRANSIENT, error_class="E", error_text="t")
        return Done()

    bench.failures = InPlace()  # type: ignore[assignment]
    await bench.fill(b"0")
    async with bench.running(bench.processor(behave)):
        await bench.commits(1)
    assert tried == [1, 2, 3]


@pytest.mark.parametrize("until_raises", [ZeroDivisionError()])
async def test_a_cause_that_breaks_ends_the_worker(bench: Bench, until_raises: Exception) -> None:
    """It is a defect of ours: nothing is committed, and somebody sees it."""

    async def broken() -> None:
        raise until_raises

    async def behave(_: Record) -> Outcome:
        return Wait(reason="circuit_open", until=broken)

    await bench.fill(b"0")
    loop = WorkerLoop(
        bench.processor(behave),
        consumer=bench.broker.consumer(bench.group),
        producer=bench.producer,
        failures=bench.failures,
        settings=FAST,
    )
    with pytest.raises(type(until_raises)):
        async with asyncio.timeout(PATIENCE_S):
            await loop.run(asyncio.Event())
    assert await bench.committed() == 0


async def _done(_: Record) -> Outcome:
    return Done()


async def _nothing() -> None:
    return
