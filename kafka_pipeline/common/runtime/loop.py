"""The one worker loop: poll, process, checkpoint.

    poll ──▶ batcher ──▶ process (batches overlap) ──▶ produce what follows, wait for the acknowledgement
     ▲                                                     │
     └──── commit the contiguous finished prefix ◀── finish ┘

What it promises (the invariants are those of `docs/design.md`):

- I1: an offset is committed only when everything that follows from its record, and from all before it in its
  partition, is durable.
- I9: it holds at most `max_in_flight_records` in process and `max_waiting_records` behind them; when full it pauses its
  partitions and goes on polling, which keeps it in its group.
- While the broker takes no messages it waits and tries again; no record is failed because of it (I7).
- Revocation: what is in flight gets `revoke_timeout_s` to finish; the finished prefix is committed, the rest will be
  delivered to the next owner.
- Stop: no more polling, what is in flight gets `shutdown_timeout_s`, the finished prefix is committed, the group is
  left.

It is a member of its group only as long as it turns: a loop that hangs is removed by `max.poll.interval.ms`, and its
partitions go to a worker that lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import (
    CommitError,
    Consumer,
    FencedError,
    Message,
    MessageTooLargeError,
    ProduceError,
    Producer,
    Record,
    TopicPartition,
)
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.runtime.batching import Batcher, Delivery, size_of
from kafka_pipeline.common.runtime.offsets import OffsetTracker
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip
from kafka_pipeline.common.runtime.processor import FailureRouter, Processor, failure_outcome

TRACEPARENT = "traceparent"

_ROOM_AGAIN = 0.5
"""Work goes on when so much of what may be held is held: a pause throws away what the client has fetched."""

_LEAST_POLL = 100
"""Records asked for at once where batches are small; more would let one poll pass the bound of bytes by far."""

_SPAN = 10
"""Times the records held, and one stuck record may have so many finished ones behind it before its partition waits."""

_LEAST_CLOSE_S = 5.0
"""Leaving a group takes a round trip or two, whatever the time for the batches was."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """Sizes and times of one loop."""

    max_batch_records: int = 500
    linger_s: float = 0.1
    """How long a record may wait for others to share its batch."""
    max_in_flight_records: int = 5_000
    """Bound of the records in process at a time (the last batch may pass it)."""
    max_waiting_records: int = 5_000
    """Bound of the records that wait for their turn behind those in process."""
    max_held_bytes: int = 256 * 2**20
    """Bound of the values of all those records together; one poll more may pass it."""
    poll_timeout_s: float = 0.2
    """A commit waits for the poll before it; longer polls make commits late, shorter ones burn processor time."""
    commit_interval_s: float = 0.25
    """Work that a crash repeats, in seconds, against round trips to the broker."""
    revoke_timeout_s: float = 30.0
    """Must stay below the consumer's revoke budget, or the finished prefix is not committed and done again."""
    shutdown_timeout_s: float = 30.0
    produce_retry_initial_s: float = 0.5
    produce_retry_max_s: float = 15.0


class WorkerLoop:
    """Runs one processor as one member of its consumer group. It owns the consumer and closes it."""

    def __init__(
        self,
        processor: Processor,
        *,
        consumer: Consumer,
        producer: Producer,
        failures: FailureRouter,
        settings: LoopSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._processor = processor
        self._consumer = consumer
        self._producer = producer
        self._failures = failures
        self._settings = settings or LoopSettings()
        self._clock = clock
        self._offsets = OffsetTracker()
        self._batcher = Batcher(
            max_records=self._settings.max_batch_records,
            linger_s=self._settings.linger_s,
            ordering=processor.ordering,
        )
        self._in_flight: dict[asyncio.Task[None], list[Delivery]] = {}
        self._in_flight_records = 0
        self._in_flight_bytes = 0
        self._paused: frozenset[TopicPartition] = frozenset()
        self._room_again = asyncio.Event()
        self._last_commit_s = self._last_turn_s = clock.monotonic()
        self._stopping = False
        self._defect: BaseException | None = None
        self._log = _log.bind(worker=processor.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain.

        Raises MessagingError where the broker refuses us, and whatever defect ended a batch: then nothing of that
        batch is committed, and a restart does it again.
        """
        metrics.RECORDS_IN_FLIGHT.labels(worker=self.name).set(0)
        self._log.info("worker_started", group=self._processor.group, topics=list(self._processor.topics))
        try:
            await self._consumer.subscribe(self._processor.topics, self)
            while not stop.is_set() and self._defect is None:
                await self._turn()
        finally:
            await self._drain()
            self._log.info("worker_stopped")
        if self._defect is not None:
            raise self._defect

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._processor.name

    @property
    def since_turn_s(self) -> float:
        """Seconds since the loop last turned: small also while a dependency is away, large only if it hangs."""
        return self._clock.monotonic() - self._last_turn_s

    @property
    def assigned(self) -> bool:
        """Whether the group gave it any partition."""
        return bool(self._consumer.assignment())

    # -- the turn ------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        self._last_turn_s = self._clock.monotonic()
        full = await self._wait_for_room()
        records = await self._consumer.poll(self._room(), 0.0 if full else self._poll_timeout_s())
        if records:
            self._batcher.add(self._begin(records), self._clock.monotonic())
        self._dispatch()
        if self._clock.monotonic() - self._last_commit_s >= self._settings.commit_interval_s:
            await self._commit()

    async def _wait_for_room(self) -> bool:
        """While too much waits, pause and wait a little; return whether it is still too much (I9).

        The poll that follows keeps this member in its group even so. Resuming waits until half of the room is free:
        a pause throws away what the client has fetched.
        """
        if self._fill() < 1.0 and not self._paused:
            return False
        self._room_again.clear()
        if self._fill() > _ROOM_AGAIN:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_timeout_s):
                    await self._room_again.wait()
        if self._fill() > _ROOM_AGAIN:
            fresh = self._consumer.assignment() - self._paused
            if fresh:
                await self._consumer.pause(fresh)
                self._paused |= fresh
            self._count_paused()
            return True
        paused, self._paused = self._paused, frozenset()
        if paused:
            await self._consumer.resume(paused & self._consumer.assignment())
            self._count_paused()
        return False

    def _fill(self) -> float:
        """Return how full the loop is, 1.0 being as much as it may hold: of records, of bytes, of finished offsets.

        Offsets that finished behind one that has not are small, but they too would grow with time (I9).
        """
        settings = self._settings
        return max(
            len(self._batcher) / settings.max_waiting_records,
            (self._batcher.held_bytes + self._in_flight_bytes) / settings.max_held_bytes,
            self._offsets.longest() / (_SPAN * (settings.max_in_flight_records + settings.max_waiting_records)),
        )

    def _count_paused(self) -> None:
        metrics.PARTITIONS_PAUSED.labels(worker=self.name, cause="full").set(len(self._paused))

    def _room(self) -> int:
        """How many records to ask for; while everything is paused none come, whatever is asked."""
        room = self._settings.max_waiting_records - len(self._batcher)
        return max(1, min(room, max(self._settings.max_batch_records, _LEAST_POLL)))

    def _poll_timeout_s(self) -> float:
        due_s = self._batcher.due_in(self._clock.monotonic())
        if due_s is None or self._in_flight_records >= self._settings.max_in_flight_records:
            return self._settings.poll_timeout_s
        return min(due_s, self._settings.poll_timeout_s)

    def _begin(self, records: Iterable[Record]) -> list[Delivery]:
        deliveries = []
        for record in records:
            generation = self._offsets.begin(record.topic_partition, record.offset)
            if generation is None:  # delivered twice by a rebalance; the first copy is still being worked on
                metrics.REDELIVERIES.labels(worker=self.name).inc()
                continue
            deliveries.append(Delivery(record, generation))
        return deliveries

    # -- batches -------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start every batch that is due and fits."""
        while not self._stopping and self._in_flight_records < self._settings.max_in_flight_records:
            now_s = self._clock.monotonic()
            due_s = self._batcher.due_in(now_s)
            if due_s is None or due_s > 0:
                return
            batch = self._batcher.take(now_s)
            if not batch:
                return
            self._in_flight_records += len(batch)
            self._in_flight_bytes += sum(map(size_of, batch))
            task = asyncio.create_task(self._run_batch(batch), name=f"{self._processor.name}-batch")
            self._in_flight[task] = batch
            task.add_done_callback(self._batch_over)
            metrics.RECORDS_IN_FLIGHT.labels(worker=self._processor.name).set(self._in_flight_records)

    def _batch_over(self, task: asyncio.Task[None]) -> None:
        batch = self._in_flight.pop(task)
        self._in_flight_records -= len(batch)
        self._in_flight_bytes -= sum(map(size_of, batch))
        defect = RuntimeError("a batch was cancelled by its own worker") if task.cancelled() else task.exception()
        if defect is not None and not (task.cancelled() and self._stopping):
            # Its records never finish, so their partitions would stand still in silence. Stop, and be seen.
            self._defect = self._defect or defect
            self._stopping = True
        metrics.RECORDS_IN_FLIGHT.labels(worker=self._processor.name).set(self._in_flight_records)
        self._batcher.release(batch, self._clock.monotonic())
        self._dispatch()
        if self._fill() <= _ROOM_AGAIN:
            self._room_again.set()

    async def _run_batch(self, batch: Sequence[Delivery]) -> None:
        started_s = self._clock.monotonic()
        records = [delivery.record for delivery in batch]
        outcomes = await self._outcomes(records)
        outcomes = await self._produce(records, outcomes)
        await self._clean_up(outcomes)
        for record, generation in batch:
            self._offsets.finish(record.topic_partition, record.offset, generation)
        self._count(records, outcomes, self._clock.monotonic() - started_s)

    async def _outcomes(self, records: Sequence[Record]) -> list[Outcome]:
        try:
            outcomes = list(await self._processor.process(records))
            if len(outcomes) != len(records):
                raise RuntimeError(  # noqa: TRY301  # a worker's mistake is handled like one it raises itself
                    f"{self._processor.name} returned {len(outcomes)} outcomes for {len(records)} records"
                )
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not take the neighbours along
            if len(records) > 1:
                self._log.warning("batch_taken_apart", records=len(records), error=type(error).__name__)
                return [(await self._outcomes([record]))[0] for record in records]
            if not isinstance(error, PipelineError):
                self._log.exception("record_failed_unforeseen", **_position(records[0]))
            return [failure_outcome(error)]
        return outcomes

    async def _produce(self, records: Sequence[Record], outcomes: list[Outcome]) -> list[Outcome]:
        """Produce what follows; wait for every acknowledgement, however long the broker takes."""
        outgoing = [self._messages(record, outcome) for record, outcome in zip(records, outcomes, strict=True)]
        messages = [message for some in outgoing for message in some]
        if not messages:
            return outcomes
        try:
            await self._send(messages)
        except MessageTooLargeError:
            return [await self._produce_alone(*each) for each in zip(records, outcomes, outgoing, strict=True)]
        return outcomes

    async def _produce_alone(self, record: Record, outcome: Outcome, messages: Sequence[Message]) -> Outcome:
        """Find the record whose message no broker takes, and set it aside; its neighbours go on."""
        try:
            await self._send(messages)
        except MessageTooLargeError as error:
            dead = Dead(reason="too_large", error_class=type(error).__name__, error_text=str(error))
            await self._set_aside(record, dead)
            return dead
        return outcome

    async def _set_aside(self, record: Record, dead: Dead) -> None:
        try:
            await self._send(self._messages(record, dead))
        except MessageTooLargeError:  # not even its dead letter: keep all but the value, or the worker would never pass
            self._log.error("dead_letter_without_value", **_position(record), size_bytes=len(record.value or b""))
            await self._send(_traced(self._failures.route_without_value(record, dead), record.header(TRACEPARENT)))

    async def _send(self, messages: Sequence[Message]) -> None:
        delay_s = self._settings.produce_retry_initial_s
        while messages:
            try:
                await self._producer.send(messages)
            except MessageTooLargeError:
                raise
            except ProduceError as error:
                metrics.PRODUCE_FAILURES.labels(worker=self._processor.name).inc()
                self._log.warning("produce_failed", messages=len(messages), error=str(error), again_in_s=delay_s)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, self._settings.produce_retry_max_s)
            else:
                return

    def _messages(self, record: Record, outcome: Outcome) -> Sequence[Message]:
        match outcome:
            case Done():
                messages: Sequence[Message] = outcome.messages
            case Skip():
                return ()
            case Retry() | Dead():
                messages = (*outcome.messages, *self._failures.route(record, outcome))
        return _traced(messages, record.header(TRACEPARENT))

    async def _clean_up(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Done) and outcome.cleanup is not None:
                try:
                    await outcome.cleanup()
                except (OSError, PipelineError) as error:  # what stays behind is found by the next cleaning
                    self._log.warning("cleanup_failed", error=type(error).__name__)

    def _count(self, records: Sequence[Record], outcomes: Sequence[Outcome], seconds: float) -> None:
        worker = self._processor.name
        for record, outcome in zip(records, outcomes, strict=True):
            match outcome:
                case Done(label=label):
                    metrics.RECORDS_PROCESSED.labels(worker=worker, outcome=label).inc()
                case Skip():
                    metrics.RECORDS_PROCESSED.labels(worker=worker, outcome="skipped").inc()
                case Retry():
                    metrics.RECORDS_PROCESSED.labels(worker=worker, outcome="retry").inc()
                    self._log.warning(
                        "record_set_aside", **_position(record), reason=outcome.reason or outcome.category.value
                    )
                case Dead():
                    metrics.RECORDS_PROCESSED.labels(worker=worker, outcome="dead_letter").inc()
                    self._log.warning("record_set_aside", **_position(record), reason=outcome.reason)
        metrics.BATCH_RECORDS.labels(worker=worker).observe(len(records))
        metrics.BATCH_SECONDS.labels(worker=worker).observe(seconds)

    # -- checkpoints and rebalances ------------------------------------------------------------------------------

    async def _commit(self) -> None:
        self._last_commit_s = self._clock.monotonic()
        offsets = self._offsets.committable()
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except FencedError:
            # Ours were stored or will be next time. What is not ours any more is dropped here too, in case the callback
            # that should have said so was not heard.
            metrics.COMMITS.labels(worker=self._processor.name, result="fenced").inc()
            gone = frozenset(offsets) - self._consumer.assignment()
            self._batcher.drop(gone)
            self._forget(gone)
            self._log.warning("commit_fenced", partitions=len(offsets), gone=sorted(map(str, gone)))
        except CommitError as error:
            metrics.COMMITS.labels(worker=self._processor.name, result="failed").inc()
            self._log.warning("commit_failed", partitions=len(offsets), error=str(error))
        else:
            metrics.COMMITS.labels(worker=self._processor.name, result="stored").inc()
            for partition, offset in offsets.items():
                self._offsets.committed(partition, offset)

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Start with a clean slate for what is new."""
        self._offsets.drop(partitions)
        self._paused -= partitions
        self._log.info("partitions_assigned", partitions=sorted(map(str, partitions)))

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """Let what is in flight finish within the budget; return the finished prefix for the last commit."""
        self._batcher.drop(partitions)
        try:
            await self._finish_in_flight(partitions, self._settings.revoke_timeout_s)
            offsets = self._offsets.committable(partitions)
        finally:
            self._forget(partitions)  # also when nobody waits for the answer any more
        self._log.info("partitions_revoked", partitions=sorted(map(str, partitions)))
        return offsets

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Drop the state of partitions that someone else already has."""
        self._batcher.drop(partitions)
        self._forget(partitions)
        self._log.warning("partitions_lost", partitions=sorted(map(str, partitions)))

    def _forget(self, partitions: frozenset[TopicPartition]) -> None:
        self._offsets.drop(partitions)
        self._paused -= partitions
        self._count_paused()

    async def _finish_in_flight(self, partitions: frozenset[TopicPartition] | None, timeout_s: float) -> None:
        tasks = [
            task
            for task, batch in self._in_flight.items()
            if partitions is None or any(delivery.record.topic_partition in partitions for delivery in batch)
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def _drain(self) -> None:
        self._stopping = True
        await self._finish_in_flight(None, self._settings.shutdown_timeout_s)
        abandoned = list(self._in_flight)
        if abandoned:
            self._log.warning("batches_abandoned", batches=len(abandoned), records=self._in_flight_records)
        for task in abandoned:
            task.cancel()
        await asyncio.gather(*abandoned, return_exceptions=True)
        # Closing asks on_revoked, which returns the finished prefix for the last commit. A broker that is silent gets
        # no more of our time than the batches did: what it does not store is done again.
        try:
            async with asyncio.timeout(max(self._settings.shutdown_timeout_s, _LEAST_CLOSE_S)):
                await self._consumer.close()
        except TimeoutError:
            self._log.warning("group_not_left", timeout_s=self._settings.shutdown_timeout_s)


def _position(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _traced(messages: Sequence[Message], traceparent: bytes | None) -> Sequence[Message]:
    """Carry the consumed record's trace context to what follows from it [TOP-3]."""
    if traceparent is None:
        return messages
    return [
        message
        if any(name == TRACEPARENT for name, _ in message.headers)
        else Message(
            topic=message.topic,
            value=message.value,
            key=message.key,
            headers=(*message.headers, (TRACEPARENT, traceparent)),
            timestamp_ms=message.timestamp_ms,
        )
        for message in messages
    ]
