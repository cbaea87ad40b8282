"""Promises of the worker loop, on both brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.messaging import (
    Broker,
    BrokerUnavailableError,
    Message,
    NewTopic,
    RebalanceListener,
    Record,
    TopicPartition,
)
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.loop import WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip
from kafka_pipeline.common.runtime.processor import Route
from tests.kafka_pipeline.common.runtime.bench import FAST, PATIENCE_S, Bench, Failures, until


async def done(_: Record) -> Outcome:
    """Behave well."""
    return Done()


async def test_nothing_is_committed_past_an_unfinished_record(bench: Bench) -> None:
    """I1: later records finish first, and wait."""
    gate = asyncio.Event()

    async def first_one_hangs(record: Record) -> Outcome:
        if record.offset == 0:
            await gate.wait()
        return Done()

    await bench.fill(b"0", b"1", b"2")
    processor = bench.processor(first_one_hangs)
    async with bench.running(processor, replace(FAST, shutdown_timeout_s=PATIENCE_S)):
        await until(lambda: len(processor.seen) == 3)
        await bench.fill(b"3")
        await until(lambda: len(processor.seen) == 4)
        assert await bench.committed() == 0
        gate.set()
        await bench.commits(4)


async def test_nothing_is_committed_before_what_follows_is_acknowledged(bench: Bench) -> None:
    """I1: the message is written, its acknowledgement is late; so is the commit."""
    await bench.fill(b"0")
    bench.producer.may_acknowledge.clear()

    async def tell(record: Record) -> Outcome:
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    async with bench.running(bench.processor(tell), replace(FAST, shutdown_timeout_s=PATIENCE_S)):
        await until(lambda: bench.producer.asked == 1)
        await bench.fill(b"1")
        await until(lambda: bench.producer.asked == 2)
        assert await bench.committed() == 0
        bench.producer.may_acknowledge.set()
        await bench.commits(2)
    assert sorted(map(str, await bench.values(bench.next))) == ["b'0'", "b'1'"]


async def test_a_broker_that_takes_nothing_fails_no_record(bench: Bench) -> None:
    """I7: the same messages are sent again until they are acknowledged; nothing is set aside."""
    bench.producer.failures = 5

    async def tell(record: Record) -> Outcome:
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    await bench.fill(b"0")
    async with bench.running(bench.processor(tell)):
        await bench.commits(1)
    assert bench.producer.asked == 6
    assert await bench.values(bench.next) == [b"0"]
    assert await bench.values(bench.aside) == []


async def test_failed_records_are_set_aside_and_the_others_go_on(bench: Bench) -> None:
    """Retry and Dead are produced; Skip is passed; what follows a failed record all the same is produced too."""
    outcomes: Mapping[bytes, Outcome] = {
        b"skip": Skip(reason="unsupported"),
        b"retry": Retry(category=Category.TRANSIENT, error_class="E", error_text="t"),
        b"dead": Dead(
            reason="malformed", error_class="E", error_text="t", messages=(Message(topic=bench.next, value=b"x"),)
        ),
        b"done": Done(),
    }

    async def behave(record: Record) -> Outcome:
        return outcomes[record.value or b""]

    await bench.fill(*outcomes)
    async with bench.running(bench.processor(behave), replace(FAST, max_batch_records=10)):
        await bench.commits(4)
    assert await bench.values(bench.aside) == [b"transient", b"malformed"]
    assert await bench.values(bench.next) == [b"x"]


async def test_one_bad_record_never_fails_its_neighbours(bench: Bench) -> None:
    """A batch that raises is taken apart; only who raises alone is set aside, by what it raises."""

    async def behave(record: Record) -> Outcome:
        if record.value == b"poison":
            raise PipelineError("it is poison", Category.PERMANENT, reason="malformed")
        if record.value == b"bug":
            raise ZeroDivisionError
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    await bench.fill(b"a", b"poison", b"b", b"bug", b"c")
    settings = replace(FAST, max_batch_records=5, linger_s=0.2)
    async with bench.running(bench.processor(behave), settings):
        await bench.commits(5)
    assert await bench.values(bench.next) == [b"a", b"b", b"c"]
    assert await bench.values(bench.aside) == [b"malformed", b"transient"]


async def test_a_message_no_broker_takes_sets_its_own_record_aside(bench: Bench) -> None:
    """Too large is a fault of that record; its neighbours are produced."""
    bench.producer.too_large = b"huge"

    async def tell(record: Record) -> Outcome:
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    await bench.fill(b"a", b"huge", b"b")
    async with bench.running(bench.processor(tell), replace(FAST, max_batch_records=3)):
        await bench.commits(3)
    assert [value for value in await bench.values(bench.next) if value == b"huge"] == []
    assert set(await bench.values(bench.next)) == {b"a", b"b"}
    assert await bench.values(bench.aside) == [b"too_large"]


async def test_a_record_whose_dead_letter_is_too_large_is_passed_without_its_value(bench: Bench) -> None:
    """The last resort: a record that nobody takes must not stop its partition for ever."""
    bench.producer.too_large = b"huge"
    bench.failures.whole = True

    async def tell(record: Record) -> Outcome:
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    await bench.fill(b"huge", b"a")
    async with bench.running(bench.processor(tell)):
        await bench.commits(2)
    assert await bench.values(bench.next) == [b"a"]
    assert await bench.values(bench.aside) == [None]


async def test_bytes_are_bounded_too(bench: Bench) -> None:
    """I9: a few large records fill the loop as many small ones do; all are done in the end."""
    gate = asyncio.Event()

    async def behave(_: Record) -> Outcome:
        await gate.wait()
        return Done()

    await bench.fill(*(b"%03d" % number + b"x" * 10_000 for number in range(400)))
    settings = replace(FAST, max_held_bytes=100_000, shutdown_timeout_s=PATIENCE_S)
    processor = bench.processor(behave)
    async with bench.running(processor, settings):
        await until(lambda: len(processor.seen) >= 10)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert len(processor.seen) <= 110, "what is held, and one poll more"
        gate.set()
        await bench.commits(400)


async def test_finished_records_behind_a_stuck_one_are_bounded(bench: Bench) -> None:
    """I9: their offsets cannot be committed, so their number must not grow with time."""
    gate = asyncio.Event()

    async def first_one_hangs(record: Record) -> Outcome:
        if record.offset == 0:
            await gate.wait()
        return Done()

    await bench.fill(*(str(number).encode() for number in range(500)))
    settings = replace(FAST, max_in_flight_records=5, max_waiting_records=5, shutdown_timeout_s=PATIENCE_S)
    processor = bench.processor(first_one_hangs)
    async with bench.running(processor, settings):
        await until(lambda: len(processor.seen) >= 100)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert len(processor.seen) <= 110
        gate.set()
        await bench.commits(500)


async def test_a_revocation_that_is_not_heard_leaves_nothing_behind(bench: Bench) -> None:
    """Whoever asks may give up; the partitions are gone all the same, and no commit is tried for them again."""
    gate = asyncio.Event()

    async def hang(_: Record) -> Outcome:
        await gate.wait()
        return Done()

    await bench.fill(b"0")
    processor = bench.processor(hang)
    loop = WorkerLoop(
        processor,
        consumer=bench.broker.consumer(bench.group),
        producer=bench.producer,
        failures=bench.failures,
        settings=replace(FAST, shutdown_timeout_s=PATIENCE_S),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(stop))
    await until(lambda: len(processor.seen) == 1)
    revoking = asyncio.create_task(loop.on_revoked(frozenset({bench.partition})))
    await asyncio.sleep(0)
    revoking.cancel()
    await asyncio.wait([revoking])
    gate.set()
    stop.set()
    await running
    assert await bench.committed() == 0, "it was not ours any more when it finished"


async def test_a_key_in_flight_waits_for_itself_and_nobody_else(bench: Bench) -> None:
    """Records with one key never overlap; other keys pass."""
    gate = asyncio.Event()
    running: set[bytes | None] = set()
    overlaps: list[bytes | None] = []

    async def behave(record: Record) -> Outcome:
        if record.key in running:
            overlaps.append(record.key)
        running.add(record.key)
        if record.key == b"slow":
            await gate.wait()
        running.discard(record.key)
        return Done()

    await bench.fill(b"s1", b"s2", key=b"slow")
    await bench.fill(b"o1", b"o2", key=b"other")
    processor = bench.processor(behave)
    async with bench.running(processor, replace(FAST, shutdown_timeout_s=PATIENCE_S)):
        await until(lambda: {b"s1", b"o1", b"o2"} <= set(processor.seen))
        assert b"s2" not in processor.seen
        gate.set()
        await bench.commits(4)
    assert overlaps == []


async def test_batches_start_in_the_order_of_arrival_where_a_worker_needs_it(bench: Bench) -> None:
    """Whatever finishes first, slices start as they came."""

    async def behave(record: Record) -> Outcome:
        await asyncio.sleep(0 if record.offset % 2 else 0.01)
        return Done()

    values = [str(number).encode() for number in range(40)]
    await bench.fill(*values, key=b"k")
    processor = bench.processor(behave, ordering=Ordering.ARRIVAL)
    async with bench.running(processor, replace(FAST, max_batch_records=3)):
        await bench.commits(40)
    assert processor.seen == values


async def test_what_waits_is_bounded_and_everything_is_done_in_the_end(bench: Bench) -> None:
    """I9: a worker that stands still holds a bounded number of records, stays in its group, and then goes on."""
    gate = asyncio.Event()

    async def behave(_: Record) -> Outcome:
        await gate.wait()
        return Done()

    await bench.fill(*(str(number).encode() for number in range(300)))
    settings = replace(FAST, max_in_flight_records=10, max_waiting_records=20, shutdown_timeout_s=PATIENCE_S)
    processor = bench.processor(behave)
    consumer = bench.broker.consumer(bench.group)
    loop = WorkerLoop(
        processor, consumer=consumer, producer=bench.producer, failures=Failures(bench.aside), settings=settings
    )
    stop = asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    await until(lambda: len(processor.seen) == 10 and len(loop._batcher) == 20)
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert len(loop._batcher) <= 20
        assert len(processor.seen) == 10
    gate.set()
    await bench.commits(300)
    stop.set()
    await task
    assert sorted(processor.seen, key=int) == [str(number).encode() for number in range(300)]  # type: ignore[arg-type]


async def test_cleaning_up_comes_after_the_acknowledgement(bench: Bench) -> None:
    """What is removed afterwards is needed until then."""
    cleaned: list[int] = []
    bench.producer.may_acknowledge.clear()

    async def behave(record: Record) -> Outcome:
        async def clean() -> None:
            cleaned.append(record.offset)

        return Done(messages=(Message(topic=bench.next, value=b"x"),), cleanup=clean)

    await bench.fill(b"0")
    async with bench.running(bench.processor(behave), replace(FAST, shutdown_timeout_s=PATIENCE_S)):
        await until(lambda: bench.producer.asked == 1)
        assert cleaned == []
        bench.producer.may_acknowledge.set()
        await bench.commits(1)
    assert cleaned == [0]


async def test_the_trace_goes_on(bench: Bench) -> None:
    """[TOP-3] traceparent is carried to everything that follows, dead letters too; one of its own is kept."""

    async def behave(record: Record) -> Outcome:
        if record.value == b"dead":
            return Dead(reason="r", error_class="E", error_text="t")
        own = (("traceparent", b"own"),) if record.value == b"own" else ()
        return Done(messages=(Message(topic=bench.next, value=record.value, headers=own),))

    await bench.fill(b"done", b"own", b"dead", headers=(("traceparent", b"00-trace"),))
    async with bench.running(bench.processor(behave)):
        await bench.commits(3)
    found = {record.value: record.header("traceparent") for record in await bench.read(bench.next)}
    assert found == {b"done": b"00-trace", b"own": b"own"}
    assert [record.header("traceparent") for record in await bench.read(bench.aside)] == [b"00-trace"]


async def test_a_stop_commits_what_is_finished_and_the_next_worker_does_the_rest(bench: Bench) -> None:
    """What hangs is abandoned after the time-out, never committed, and done again by whoever comes."""

    async def third_one_hangs(record: Record) -> Outcome:
        if record.offset == 2:
            await asyncio.Event().wait()
        return Done()

    await bench.fill(b"0", b"1", b"2", b"3")
    first = bench.processor(third_one_hangs)
    async with bench.running(first):
        await until(lambda: len(first.seen) == 4)
    assert await bench.committed() == 2
    second = bench.processor(done)
    async with bench.running(second):
        await bench.commits(4)
    assert second.seen == [b"2", b"3"]


async def test_a_defect_ends_the_worker_and_commits_nothing_of_its_batch(bench: Bench) -> None:
    """Our own mistake must not stand still in silence."""

    class Broken:
        def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
            raise ZeroDivisionError

        def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
            raise ZeroDivisionError

    async def dead(_: Record) -> Outcome:
        return Dead(reason="r", error_class="E", error_text="t")

    await bench.fill(b"0")
    loop = WorkerLoop(
        bench.processor(dead),
        consumer=bench.broker.consumer(bench.group),
        producer=bench.producer,
        failures=Broken(),
        settings=FAST,
    )
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ZeroDivisionError):
            await loop.run(asyncio.Event())
    assert await bench.committed() == 0


async def test_a_broker_that_goes_away_as_a_worker_joins_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the worker looked; the worker joins when it is back."""
    consumer = bench.broker.consumer(bench.group)
    subscribe, refusals = consumer.subscribe, [BrokerUnavailableError("metadata: _TRANSPORT")] * 2

    async def away(topics: Sequence[str], listener: RebalanceListener) -> None:
        if refusals:
            raise refusals.pop()
        await subscribe(topics, listener)

    monkeypatch.setattr(consumer, "subscribe", away)
    monkeypatch.setattr(bench.broker, "consumer", lambda _group: consumer)
    await bench.fill(b"0")
    async with bench.running(bench.processor(done)):
        await bench.commits(1)
    assert not refusals


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was begun, so there is nothing to finish."""
    consumer, asked = bench.broker.consumer(bench.group), asyncio.Event()

    async def away(_topics: Sequence[str], _listener: RebalanceListener) -> None:
        asked.set()
        raise BrokerUnavailableError("metadata: _TRANSPORT")

    monkeypatch.setattr(consumer, "subscribe", away)
    monkeypatch.setattr(bench.broker, "consumer", lambda _group: consumer)
    async with bench.running(bench.processor(done)):
        await asked.wait()


async def test_two_workers_share_the_work_and_lose_none_of_it(broker: Broker, unique: Callable[..., str]) -> None:
    """A member comes, a member goes: every record is done at least once, and the offsets end at the end."""
    made = Bench(broker, unique)
    await made.admin.create_topics(
        [
            NewTopic(name=made.work, partitions=4),
            *(NewTopic(name=name, partitions=1) for name in (made.next, made.aside)),
        ]
    )

    async def slowly(_: Record) -> Outcome:
        await asyncio.sleep(0.005)
        return Done()

    values: list[bytes] = []
    feeder = broker.producer()

    async def feed() -> None:
        more = [str(len(values) + number).encode() for number in range(100)]
        values.extend(more)
        await feeder.send([Message(topic=made.work, key=value, value=value) for value in more])

    first, second = made.processor(slowly), made.processor(slowly)
    settings = replace(FAST, max_in_flight_records=8, max_waiting_records=40)
    async with made.running(first, settings):
        await feed()
        await until(lambda: len(first.seen) > 10)
        async with made.running(second, settings), asyncio.timeout(PATIENCE_S):
            while len(second.seen) <= 10:  # the first is fast: without more it may be through before the second joins
                await feed()
        async with asyncio.timeout(PATIENCE_S):
            partitions = [TopicPartition(made.work, number) for number in range(4)]
            while sum((await made.admin.group_offsets(made.group, partitions)).values()) < len(values):
                await asyncio.sleep(0.05)
    assert set(first.seen) | set(second.seen) == set(values)
    await feeder.close()
    await made.producer.close()
    await made.admin.close()
