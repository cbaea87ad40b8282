"""What the worker loop costs a record: a worker that does nothing, beside a bare consume loop of the same client.

Told is processor time, of all threads of a process of its own, from joining the group to the last commit. The bare loop
has our client's properties and looks at topic, place, key, value, headers and time of each record, as any consumer
must that hands records on; it commits once, at its end. Ours does all that the pipeline's workers get: order, offsets,
outcomes, metrics, signs of life, commits four times a second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import confluent_kafka
import uvloop

from benchmarks.parts import kafka
from benchmarks.result import Better, Bound, Measurement
from benchmarks.side import Side
from benchmarks.topic import fill, partitions_of
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.loop import WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry
from kafka_pipeline.common.runtime.processor import Route

RECORDS_FULL, RECORDS_QUICK = 1_000_000, 5_000
PAIRS_FULL, PAIRS_QUICK = 3, 1
PARTITIONS = 6
KEYS = 10_000
VALUE = b"x" * 300
AT_MOST_US = 15.0

_CONSUME = 500
"""Records that the bare loop asks for at once: as many as a batch of ours."""
_WAIT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a side is to read, and as which group."""

    servers: str
    topic: str
    group: str
    records: int


def measure(*, quick: bool) -> list[Measurement]:
    """Measure the loop with both of its orders."""
    records, pairs = (RECORDS_QUICK, PAIRS_QUICK) if quick else (RECORDS_FULL, PAIRS_FULL)
    topic = f"bench.loop.{uuid.uuid4().hex[:8]}"
    spent: dict[str, list[float]] = {side: [] for side in _SIDES}
    with kafka() as servers:
        asyncio.run(_fill(servers, topic, records))
        for _ in range(pairs):
            for side, open_ in _SIDES.items():
                order = _Order(servers=servers, topic=topic, group=f"{topic}.{uuid.uuid4().hex[:8]}", records=records)
                with Side(open_) as process:
                    spent[side].append(process.ask(order) * 1e6 / records)
                asyncio.run(_check(order))
    return [_judged(case, spent[case], spent["bare"], records) for case in ("by_key", "by_arrival")]


def _judged(case: str, ours: Sequence[float], bare: Sequence[float], records: int) -> Measurement:
    more = round(median(our - other for our, other in zip(ours, bare, strict=True)), 2)
    return Measurement(
        name=f"loop_overhead.{case}",
        what="processor time for a record, a worker that does nothing",
        yardstick="a bare consume loop of confluent-kafka",
        unit="us/record",
        ours=round(median(ours), 2),
        beside=round(median(bare), 2),
        ratio=round(median(our / other for our, other in zip(ours, bare, strict=True)), 2),
        better=Better.LOWER,
        sizes={"records": records, "bytes_each": len(VALUE), "partitions": PARTITIONS, "pairs": len(ours)},
        figures={"more_us": more},
        bounds=[Bound(what="processor time more, us a record", value=more, at_most=AT_MOST_US)],
    )


async def _fill(servers: str, topic: str, records: int) -> None:
    broker = KafkaBroker(KafkaSettings(bootstrap_servers=servers))
    messages = (Message(topic=topic, key=b"%d" % (number % KEYS), value=VALUE) for number in range(records))
    await fill(broker, topic, messages, partitions=PARTITIONS)
    await broker.close()


async def _check(order: _Order) -> None:
    admin = KafkaBroker(KafkaSettings(bootstrap_servers=order.servers)).admin()
    offsets = await admin.group_offsets(order.group, partitions_of(order.topic, PARTITIONS))
    await admin.close()
    if sum(offsets.values()) != order.records:
        raise RuntimeError(f"{order.records} records were there, {sum(offsets.values())} are committed")


# -- the bare loop ---------------------------------------------------------------------------------------------------


@contextmanager
def _bare() -> Iterator[Callable[[_Order], float]]:
    yield _consume


def _consume(order: _Order) -> float:
    """Return the processor time of consuming everything, in seconds."""
    begin = time.process_time()
    options = KafkaSettings(bootstrap_servers=order.servers).consumer(order.group)
    consumer = confluent_kafka.Consumer(options)
    consumer.subscribe([order.topic])
    read = 0
    while read < order.records:
        for message in consumer.consume(_CONSUME, _WAIT_S):
            message.topic(), message.partition(), message.offset(), message.timestamp()
            message.key(), message.value(), message.headers()
            read += message.error() is None
    consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
    consumer.close()
    return time.process_time() - begin


# -- ours ------------------------------------------------------------------------------------------------------------


@contextmanager
def _by_key() -> Iterator[Callable[[_Order], float]]:
    yield lambda order: _work(order, Ordering.KEY)


@contextmanager
def _by_arrival() -> Iterator[Callable[[_Order], float]]:
    yield lambda order: _work(order, Ordering.ARRIVAL)


def _work(order: _Order, ordering: Ordering) -> float:
    """Return the processor time of a worker loop that did everything, in seconds."""
    begin = time.process_time()
    worker = _NoWork(order, ordering)
    uvloop.run(_loop(order, worker))
    if worker.done != order.records:
        raise RuntimeError(f"{order.records} records were there, {worker.done} were done")
    return time.process_time() - begin


async def _loop(order: _Order, worker: _NoWork) -> None:
    broker = KafkaBroker(KafkaSettings(bootstrap_servers=order.servers))
    producer = broker.producer()
    loop = WorkerLoop(worker, consumer=broker.consumer(order.group), producer=producer, failures=_NoFailures())
    await loop.run(worker.over)
    await producer.close()
    await broker.close()


class _NoWork:
    """Does nothing with its records, and says when it has had all of them."""

    name = "no-work"

    def __init__(self, order: _Order, ordering: Ordering) -> None:
        self.group = order.group
        self.topics = (order.topic,)
        self.ordering = ordering
        self.over = asyncio.Event()
        self.done = 0
        self._records = order.records

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        self.done += len(records)
        if self.done >= self._records:
            self.over.set()
        return [Done() for _ in records]


class _NoFailures:
    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        raise AssertionError("nothing fails here")

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        raise AssertionError("nothing fails here")


_SIDES = {"bare": _bare, "by_key": _by_key, "by_arrival": _by_arrival}
