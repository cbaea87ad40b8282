"""How late a retry begins after its time has come, while its worker is busy with its main topic.

A real broker, the real loop, one worker. Retries of one delay are due evenly over some seconds; the main topic is full
all the while. What is told is the error in milliseconds: begun minus due, which is never negative (I8).
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.parts import kafka
from benchmarks.result import Better, Bound, Measurement
from kafka_pipeline.common.messaging import Broker, Message, NewTopic, Record, TopicPartition
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.delays import RETRY_AT, due_at_ms
from kafka_pipeline.common.runtime.loop import WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry
from kafka_pipeline.common.runtime.processor import Route

PARTITIONS = 6
RETRIES_FULL, RETRIES_QUICK = 3_000, 100
SPREAD_S_FULL, SPREAD_S_QUICK = 20.0, 1.0
BEFORE_FIRST_S = 2.0
WORK_S = 0.005
"""What a batch of the worker takes: it is busy, not idle."""
MAIN_WINDOW = 2_000
"""Records of the main topic that are written and not yet done: there is always more to do."""
PROMISED_MS = 1_000
"""A retry begins within a second after its time has come."""


def measure(*, quick: bool) -> list[Measurement]:
    """Measure on the embedded broker and on Apache Kafka."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = asyncio.run(_measure("embedded", EmbeddedBroker(Path(folder) / "broker.db"), quick=quick))
    with kafka() as servers:
        real = asyncio.run(_measure("kafka", KafkaBroker(KafkaSettings(bootstrap_servers=servers)), quick=quick))
    return [embedded, real]


class _Worker:
    """Does its records in `WORK_S` a batch, and notes when each retry began."""

    name = "retry-precision"
    ordering = Ordering.KEY

    def __init__(self, group: str, main: str) -> None:
        self.group = group
        self.topics = (main,)
        self.errors_ms: list[float] = []
        self.main_done = 0

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        now_ms = time.time() * 1000
        for record in records:
            if due_ms := due_at_ms(record):
                self.errors_ms.append(now_ms - due_ms)
            else:
                self.main_done += 1
        await asyncio.sleep(WORK_S)
        return [Done()] * len(records)


class _NoFailures:
    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        raise AssertionError("nothing fails here")

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        raise AssertionError("nothing fails here")


async def _measure(case: str, broker: Broker, *, quick: bool) -> Measurement:
    run = uuid.uuid4().hex[:8]
    main, retries = f"bench.main.{run}", f"bench.retry.{run}"
    count, spread_s = (RETRIES_QUICK, SPREAD_S_QUICK) if quick else (RETRIES_FULL, SPREAD_S_FULL)
    admin = broker.admin()
    await admin.create_topics([NewTopic(name=name, partitions=PARTITIONS) for name in (main, retries)])
    worker = _Worker(f"bench.{run}", main)
    async with _running(worker, broker, retries):
        producer = broker.producer()
        first_ms = (time.time() + BEFORE_FIRST_S) * 1000
        await producer.send(
            [
                Message(
                    topic=retries,
                    key=str(number).encode(),
                    value=b"{}",
                    headers=((RETRY_AT, str(math.ceil(first_ms + number * spread_s * 1000 / count)).encode()),),
                )
                for number in range(count)
            ]
        )
        sent = 0
        while len(worker.errors_ms) < count:
            if sent - worker.main_done < MAIN_WINDOW:
                keys = [str(number).encode() for number in range(sent, sent + 500)]
                await producer.send([Message(topic=main, key=key, value=b"x" * 300) for key in keys])
                sent += len(keys)
            else:
                await asyncio.sleep(0.01)
        await producer.close()
    offsets = await admin.group_offsets(worker.group, [TopicPartition(retries, number) for number in range(PARTITIONS)])
    if sum(offsets.values()) != count:
        raise RuntimeError(f"{count} retries were done, {sum(offsets.values())} committed")
    await admin.close()
    await broker.close()
    errors = sorted(worker.errors_ms)
    if errors[0] < 0:
        raise RuntimeError("a retry began before it was due")
    p99_ms = round(errors[count * 99 // 100], 1)
    return Measurement(
        name=f"retry_precision.{case}",
        what="begun minus due, 99th percentile, the main topic full beside it",
        yardstick="the promised second",
        unit="ms",
        ours=p99_ms,
        beside=PROMISED_MS,
        ratio=round(p99_ms / PROMISED_MS, 4),
        better=Better.LOWER,
        sizes={"retries": count, "main_records_beside": worker.main_done, "partitions": PARTITIONS},
        figures={"p50_ms": round(errors[count // 2], 1), "max_ms": round(errors[-1], 1)},
        bounds=[Bound(what="99th percentile, ms", value=p99_ms, at_most=PROMISED_MS)],
    )


@asynccontextmanager
async def _running(worker: _Worker, broker: Broker, retries: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    producer = broker.producer()
    loop = WorkerLoop(
        worker,
        consumer=broker.consumer(worker.group),
        producer=producer,
        failures=_NoFailures(),
        delayed_topics=[retries],
    )
    task = asyncio.create_task(loop.run(stop))
    try:
        while not loop.assigned:
            await asyncio.sleep(0.05)
            if task.done():
                break
        yield
    finally:
        stop.set()
        await task
        await producer.close()
