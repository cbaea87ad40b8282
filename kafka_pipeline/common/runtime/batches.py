"""Runs batches side by side, from their records to everything that follows from them (the middle of the loop).

batcher ──▶ process ──▶ outbox ──▶ finished: their offsets may be committed, their keys are free
▲           └─────▶ waiting: held, and given to the worker again when their dependency is back
└──────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby

import structlog

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.common.failures import PipelineError, UnavailableError
from kafka_pipeline.common.messaging import Record, TopicPartition
from kafka_pipeline.common.messaging.carried import origin_ms
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.observability.tracing import NO_TRACER, Tracer
from kafka_pipeline.common.pulse import Pulse, beat, felt
from kafka_pipeline.common.runtime.batching import Batcher, Delivery
from kafka_pipeline.common.runtime.flight import Flight, InFlight
from kafka_pipeline.common.runtime.offsets import OffsetTracker
from kafka_pipeline.common.runtime.outbox import RETRIED, WAITS, Describe, Outbox, Settled, Settlement, position
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Wait
from kafka_pipeline.common.runtime.processor import Processor, failure_outcome

_LEAST_WAIT_S = 0.05
"""A dependency that says it is back while it is not must not turn the loop into a busy one."""


class Batches:
    """Starts every batch that is due and fits, and sees each to its end.

    One record's failure is its own. A batch that ends in an exception is a defect of ours: nothing more is started,
    `defect` says what it was, and none of its records counts as finished.
    """

    def __init__(
        self,
        processor: Processor,
        outbox: Outbox,
        *,
        batcher: Batcher,
        offsets: OffsetTracker,
        max_in_flight_records: int,
        on_progress: Callable[[], None],
        clock: Clock,
        tracer: Tracer = NO_TRACER,
        describe: Describe = position,
    ) -> None:
        """`on_progress` is called whenever something ended or went on; `describe` names a record in log lines."""
        self._processor = processor
        self._outbox = outbox
        self._batcher = batcher
        self._offsets = offsets
        self._max_in_flight_records = max_in_flight_records
        self._on_progress = on_progress
        self._clock = clock
        self._tracer = tracer
        self._describe = describe
        self._in_flight = InFlight()
        self._leaving: frozenset[TopicPartition] = frozenset()
        self._stopping = False
        self._reasons: frozenset[str] = frozenset()
        self.defect: BaseException | None = None
        self._latency = metrics.EVENT_LATENCY.labels(worker=processor.name)
        self._log = structlog.get_logger(__name__).bind(worker=processor.name)

    @property
    def held_bytes(self) -> int:
        """Bytes of the values in flight."""
        return self._in_flight.held_bytes

    @property
    def full(self) -> bool:
        """Whether another batch could not start."""
        return self._in_flight.records >= self._max_in_flight_records

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight.tasks

    @property
    def unavailable(self) -> bool:
        """Whether everything waits, because a dependency is down that all records need."""
        return self._in_flight.unavailable

    @property
    def overdue_s(self) -> float:
        """How long a sign of life of any batch has been due, in seconds."""
        return self._in_flight.overdue_s

    @property
    def waiting_for(self) -> frozenset[str]:
        """What records wait for."""
        return frozenset(self._in_flight.waiting())

    def dispatch(self) -> None:
        """Start every batch that is due and fits, unless what all of them need is down."""
        while not self._stopping and not self.unavailable and not self.full:
            now_s = self._clock.monotonic()
            due_s = self._batcher.due_in(now_s)
            if due_s is None or due_s > 0:
                return
            batch = self._batcher.take(now_s)
            if not batch:
                return
            flight = Flight(batch, Pulse(self._clock.monotonic))
            task = asyncio.create_task(self._run_batch(flight), name=f"{self._processor.name}-batch")
            self._in_flight.add(task, flight)
            task.add_done_callback(self._batch_over)
            metrics.RECORDS_IN_FLIGHT.labels(worker=self._processor.name).set(self._in_flight.records)

    def _batch_over(self, task: asyncio.Task[None]) -> None:
        flight = self._in_flight.over(task)
        defect = RuntimeError("a batch was cancelled by its own worker") if task.cancelled() else task.exception()
        if defect is not None and not (task.cancelled() and self._stopping):
            # Its records never finish, so their partitions would stand still in silence. Stop, and be seen.
            self.defect = self.defect or defect
            self._stopping = True
        metrics.RECORDS_IN_FLIGHT.labels(worker=self._processor.name).set(self._in_flight.records)
        self._batcher.release(flight.busy_keys, self._clock.monotonic())
        self._go_on()

    def _go_on(self) -> None:
        self.dispatch()
        self._on_progress()

    async def _run_batch(self, flight: Flight) -> None:
        with felt(flight.pulse):
            await self._work(flight)

    async def _work(self, flight: Flight) -> None:
        """Work on a batch until nothing of it is left; what waits for a dependency is tried again when that is back."""
        started_s = self._clock.monotonic()
        tries = 0
        while flight.left:
            tries += 1
            batch = list(flight.left)
            records = [delivery.record for delivery in batch]
            with self._tracer.batch(self._processor.name, self._processor.group, records) as trace:
                outcomes = await self._outcomes(trace.records)
                beat()
                settlements = await self._outbox.settle(trace.records, outcomes, tries=tries)
                trace.ended(one.label if isinstance(one, Settled) else WAITS for one in settlements)
            settled = [one for one in settlements if isinstance(one, Settled)]
            await self._clean_up(settled)
            self._finish(flight, [each for each, one in zip(batch, settlements, strict=True) if type(one) is Settled])
            self._count(trace.records, settlements, self._clock.monotonic() - started_s)
            waits = [settlement for settlement in settlements if isinstance(settlement, Wait)]
            if waits:
                await self._hold(flight, waits)

    def _finish(self, flight: Flight, settled: Sequence[Delivery]) -> None:
        for (topic, number, generation), run in groupby(settled, _assignment):
            self._offsets.finish_run(TopicPartition(topic, number), [each.record.offset for each in run], generation)
        if len(settled) == len(flight.left):
            self._in_flight.keep(flight, lambda _: False)
            return
        finished = set(map(_place, settled))
        self._in_flight.keep(flight, lambda delivery: _place(delivery) not in finished)
        # The keys of what is finished are free now, but for those that something left shares: it comes first.
        shared = {_lane(delivery) for delivery in flight.left}
        free = [each for each in settled if _lane(each) not in shared]
        places = {_place(each) for each in free}
        flight.busy_keys = [each for each in flight.busy_keys if _place(each) not in places]
        self._batcher.release(free, self._clock.monotonic())

    async def _hold(self, flight: Flight, waits: Sequence[Wait]) -> None:
        """Keep what waits until its dependency may be back. What is no longer ours, or never will be, is let go."""
        flight.rest(waits)
        self._let_go([flight])
        if not flight.left:
            return
        for reason in {wait.reason for wait in waits}:
            metrics.WAITS.labels(worker=self._processor.name, reason=metrics.bounded("reason", reason)).inc()
        self._count_waiting()
        try:
            await flight.until_worth_it(_LEAST_WAIT_S)
        finally:
            flight.rise()
            self._count_waiting()
        self._let_go([flight])
        self._go_on()

    def _let_go(self, flights: Iterable[Flight]) -> None:
        """Drop what is left of these batches and not ours any more: it was not begun, and someone else begins it."""
        for flight in flights:
            self._in_flight.keep(
                flight,
                lambda delivery: (
                    not self._stopping
                    and delivery.record.topic_partition not in self._leaving
                    and self._offsets.is_current(delivery.record.topic_partition, delivery.generation)
                ),
            )

    def _count_waiting(self) -> None:
        waiting = self._in_flight.waiting()
        labels = {metrics.bounded("reason", reason): count for reason, count in waiting.items()}
        for reason in self._reasons | labels.keys():
            metrics.RECORDS_WAITING.labels(worker=self._processor.name, reason=reason).set(labels.get(reason, 0))
        if labels and not self._reasons:
            self._log.warning("worker_waits", reasons=sorted(labels))
        self._reasons = frozenset(labels)

    async def _outcomes(self, records: Sequence[Record]) -> list[Outcome]:
        beat()
        try:
            outcomes = list(await self._processor.process(records))
            if len(outcomes) != len(records):
                raise RuntimeError(  # noqa: TRY301  # a worker's mistake is handled like one it raises itself
                    f"{self._processor.name} returned {len(outcomes)} outcomes for {len(records)} records"
                )
        except UnavailableError as error:  # that would be so for each of them alone, too
            return [failure_outcome(error) for _ in records]
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not take the neighbours along
            if len(records) > 1:
                self._log.warning("batch_taken_apart", records=len(records), error=type(error).__name__)
                return [(await self._outcomes([record]))[0] for record in records]
            if not isinstance(error, PipelineError):
                self._log.exception("record_failed_unforeseen", **self._describe(records[0]))
            return [failure_outcome(error)]
        return outcomes

    async def _clean_up(self, settled: Sequence[Settled]) -> None:
        done = [outcome for outcome, _ in settled if isinstance(outcome, Done)]
        for cleanup in [outcome.cleanup for outcome in done if outcome.cleanup is not None]:
            try:
                await cleanup()
            except (OSError, PipelineError) as error:  # what stays behind is found by the next cleaning
                self._log.warning("cleanup_failed", error=type(error).__name__)

    def _count(self, records: Sequence[Record], settlements: Sequence[Settlement], seconds: float) -> None:
        labels = Counter(one.label for one in settlements if isinstance(one, Settled))
        for label, count in labels.items():
            metrics.RECORDS_PROCESSED.labels(worker=self._processor.name, outcome=label).inc(count)
        if labels:
            metrics.BATCH_RECORDS.labels(worker=self._processor.name).observe(labels.total())
            metrics.BATCH_SECONDS.labels(worker=self._processor.name).observe(seconds)
        now_ms = self._clock.now().timestamp() * 1000
        latencies_s: list[float] = []
        for record, settlement in zip(records, settlements, strict=True):
            if isinstance(settlement, Wait):
                continue
            outcome, label = settlement
            if isinstance(outcome, Done):
                began_ms = origin_ms(record)
                if began_ms is not None:
                    latencies_s.append(max(0.0, now_ms - began_ms) / 1000)
            elif isinstance(outcome, Retry | Dead):
                reason = outcome.reason or (outcome.category.value if isinstance(outcome, Retry) else "")
                event = "record_retried_later" if label == RETRIED else "record_set_aside"
                self._log.warning(event, **self._describe(record), reason=reason)
        self._latency.observe_many(latencies_s)

    # -- partitions that leave, and the end ------------------------------------------------------------------------

    async def finish(self, partitions: frozenset[TopicPartition], timeout_s: float) -> None:
        """Return when nobody works any more on what came from these, or the time is over; what waits is let go."""
        self._leaving |= partitions
        self._let_go(self._resting())
        await _at_rest([flight for flight in self._in_flight if flight.touches(partitions)], timeout_s)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Let go what waits of partitions whose assignment is over; the tracker has forgotten them."""
        self._leaving -= frozenset(partitions)
        self._let_go(self._resting())

    async def drain(self, timeout_s: float) -> None:
        """Start nothing more; give what is in flight so much time, then cancel it. What waits is let go at once."""
        self._stopping = True
        self._let_go(self._resting())
        await _at_rest(list(self._in_flight), timeout_s)
        abandoned = [task for task in self._in_flight.tasks if not task.done()]
        if abandoned:
            self._log.warning("batches_abandoned", batches=len(abandoned), records=self._in_flight.records)
        for task in abandoned:
            task.cancel()
        await asyncio.gather(*abandoned, return_exceptions=True)

    def _resting(self) -> list[Flight]:
        return [flight for flight in self._in_flight if flight.waits]


async def _at_rest(flights: Sequence[Flight], timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            for flight in flights:
                await flight.at_rest.wait()


def _assignment(delivery: Delivery) -> tuple[str, int, int]:
    record, generation = delivery
    return record.topic, record.partition, generation


def _place(delivery: Delivery) -> tuple[TopicPartition, int]:
    return delivery.record.topic_partition, delivery.record.offset


def _lane(delivery: Delivery) -> tuple[TopicPartition, bytes | None]:
    return delivery.record.topic_partition, delivery.record.key
