"""The one worker loop: poll, process, checkpoint.

    poll ──▶ due? ──▶ batcher ──▶ process (batches overlap) ──▶ produce what follows, wait for the acknowledgement
     ▲        └─ retries wait          ▲        └─ a dependency is down? hold, and process again when it is back
     │                                 └────────────┘                │
     └──── commit the contiguous finished prefix ◀── finish ◀────────┘

What it promises (the invariants are those of `docs/design.md`):

- I1: an offset is committed only when everything that follows from its record, and from all before it in its
  partition, is durable.
- I7: a record whose worker says `Wait` stays where it is and no attempt counts; its worker's partitions pause until the
  dependency is back. While the broker takes no messages the loop waits and tries again.
- I8: retries come from topics of their own. Their partitions pause until their first record is due; neither they nor
  the main topics ever wait for each other.
- I9: it holds at most `max_in_flight_records` in process and `max_waiting_records` behind them; when full it pauses its
  partitions and goes on polling, which keeps it in its group.
- Revocation: what is in flight gets `revoke_timeout_s` to finish; the finished prefix is committed, the rest will be
  delivered to the next owner. What waits for a dependency is let go at once.
- Stop: no more polling, what is in flight gets `shutdown_timeout_s`, the finished prefix is committed, the group is
  left.

It is a member of its group only as long as it turns: a loop that hangs is removed by `max.poll.interval.ms`, and its
partitions go to a worker that lives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import structlog

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import (
    BrokerUnavailableError,
    CommitError,
    Consumer,
    FencedError,
    Producer,
    Record,
    TopicPartition,
)
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.observability.tracing import NO_TRACER, Tracer
from kafka_pipeline.common.resilience.flood import FloodGuard
from kafka_pipeline.common.runtime.batches import Batches
from kafka_pipeline.common.runtime.batching import Batcher, Delivery
from kafka_pipeline.common.runtime.delays import Delays, due_at_ms
from kafka_pipeline.common.runtime.gauges import telling
from kafka_pipeline.common.runtime.liveness import Hearing, Signs
from kafka_pipeline.common.runtime.offsets import OffsetTracker
from kafka_pipeline.common.runtime.outbox import Describe, Outbox, position
from kafka_pipeline.common.runtime.processor import FailureRouter, Processor
from kafka_pipeline.common.runtime.settings import LoopSettings

__all__ = ["LoopSettings", "WorkerLoop"]

_ROOM_AGAIN = 0.5
"""Work goes on when so much of what may be held is held: a pause throws away what the client has fetched."""

_LEAST_POLL = 100
"""Records asked for at once where batches are small; more would let one poll pass the bound of bytes by far."""

_SPAN = 10
"""Times the records held, and one stuck record may have so many finished ones behind it before its partition waits."""

_LEAST_CLOSE_S = 5.0
"""Leaving a group takes a round trip or two, whatever the time for the batches was."""

_PLACE = attrgetter("topic", "partition")
"""Records come in runs of one partition, and what is done once a run is not done for each."""

_log = structlog.get_logger(__name__)


class WorkerLoop:
    """Runs one processor as one member of its consumer group. It owns the consumer and closes it.

    `delayed_topics` hold retries of the processor's records; each record there says when it is due.
    """

    def __init__(
        self,
        processor: Processor,
        *,
        consumer: Consumer,
        producer: Producer,
        failures: FailureRouter,
        delayed_topics: Collection[str] = (),
        settings: LoopSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tracer: Tracer = NO_TRACER,
        describe: Describe = position,
    ) -> None:
        """`describe` says what to call a record in a log line."""
        self._processor = processor
        self._consumer = consumer
        self._settings = settings or LoopSettings()
        self._clock = clock
        self._topics = [*processor.topics, *delayed_topics]
        self._delayed_topics = frozenset(delayed_topics)
        self._delays = Delays(delayed_topics)
        self._offsets = OffsetTracker()
        self._batcher = Batcher(
            max_records=self._settings.max_batch_records,
            linger_s=self._settings.linger_s,
            ordering=processor.ordering,
        )
        outbox = Outbox(
            processor.name,
            producer=producer,
            failures=failures,
            flood=FloodGuard(self._settings.flood),
            clock=clock,
            first_pause_s=self._settings.produce_retry_initial_s,
            last_pause_s=self._settings.produce_retry_max_s,
        )
        self._batches = Batches(
            processor,
            outbox,
            batcher=self._batcher,
            offsets=self._offsets,
            max_in_flight_records=self._settings.max_in_flight_records,
            on_progress=self._look_for_room,
            clock=clock,
            tracer=tracer,
            describe=describe,
        )
        self._paused: frozenset[TopicPartition] = frozenset()
        self._told_pauses: dict[str, int] = {}
        self._closed = False
        self._room_again = asyncio.Event()
        self._last_commit_s = self._last_turn_s = self._last_begun_s = clock.monotonic()
        self._drains = True
        self._hearing = Hearing()
        self._log = _log.bind(worker=processor.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain.

        Raises MessagingError where the broker refuses us, and whatever defect ended a batch: then nothing of that
        batch is committed, and a restart does it again.
        """
        metrics.RECORDS_IN_FLIGHT.labels(worker=self.name).set(0)
        self._log.info("worker_started", group=self._processor.group, topics=self._topics)
        with telling(
            self.name,
            self._topics,
            oldest_ms=self._offsets.oldest_ms,
            since_turn_s=lambda: self.since_turn_s,
            assigned=lambda: len(self._consumer.assignment()),
            clock=self._clock,
        ):
            self._last_turn_s = self._last_begun_s = self._clock.monotonic()
            self._drains = False
            try:
                await self._join(stop)
                while not stop.is_set() and self._batches.defect is None:
                    await self._turn()
            finally:
                self._drains = True
                await self._drain()
                self._log.info("worker_stopped")
        if self._batches.defect is not None:
            raise self._batches.defect

    @property
    def name(self) -> str:
        """The worker's name."""
        return self._processor.name

    @property
    def since_turn_s(self) -> float:
        """Seconds since the loop last turned: small also while a dependency is away, large only if it hangs."""
        return self._clock.monotonic() - self._last_turn_s

    @property
    def signs(self) -> Signs:
        """What it shows of itself, for the decision whether it is stuck."""
        now_s = self._clock.monotonic()
        return Signs(
            since_turn_s=now_s - self._last_turn_s,
            overdue_s=self._batches.overdue_s,
            stranded_s=now_s - self._last_begun_s,
            deaf_s=self._hearing.deaf_s(now_s),
            drains=self._drains,
        )

    @property
    def listens_to(self) -> frozenset[TopicPartition]:
        """The partitions from which records are to come now: those that are assigned and not paused."""
        return frozenset() if self._closed else self._consumer.assignment() - self._paused

    def looked(self, ends: Mapping[TopicPartition, int]) -> None:
        """Be told where the partitions it listens to end."""
        listened = self.listens_to
        known = {partition: end for partition, end in ends.items() if partition in listened}
        self._hearing.looked(known, self._clock.monotonic())

    @property
    def assigned(self) -> bool:
        """Whether the group gave it any partition."""
        return bool(self._consumer.assignment())

    @property
    def waiting_for(self) -> frozenset[str]:
        """What its records wait for: dependencies that are down. Empty when all is well."""
        return self._batches.waiting_for

    async def _join(self, stop: asyncio.Event) -> None:
        """Join the group. A broker that went away since somebody looked is waited for, as it is later on."""
        while not stop.is_set():
            self._last_turn_s = self._clock.monotonic()
            try:
                await self._consumer.subscribe(self._topics, self)
            except BrokerUnavailableError as error:
                self._log.warning("group_not_joined", error=str(error))
            else:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.produce_retry_initial_s):
                    await stop.wait()

    # -- the turn ------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        self._last_turn_s = self._clock.monotonic()
        self._closed = await self._wait_for_room()
        await self._arrange_pauses()
        records = await self._consumer.poll(self._room(), 0.0 if self._closed else self._poll_timeout_s())
        await self._take_in(records)
        self._batches.dispatch()
        if not self._batches.idle or not self._offsets.unfinished():
            self._last_begun_s = self._clock.monotonic()
        if self._clock.monotonic() - self._last_commit_s >= self._settings.commit_interval_s:
            await self._commit()

    async def _wait_for_room(self) -> bool:
        """While too much waits, or a dependency is down, wait a little; return whether it is still so (I7, I9).

        The poll that follows keeps this member in its group even so. Opening again waits until half of the room is
        free: a pause throws away what the client has fetched.
        """
        if not self._closed and self._fill() < 1.0 and not self._batches.unavailable:
            return False
        self._room_again.clear()
        if self._is_shut():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_timeout_s):
                    await self._room_again.wait()
        return self._is_shut()

    def _look_for_room(self) -> None:
        if not self._is_shut():
            self._room_again.set()

    def _is_shut(self) -> bool:
        return self._batches.unavailable or self._fill() > _ROOM_AGAIN

    async def _arrange_pauses(self) -> None:
        """Pause everything while closed, else the partitions whose next record is not due; resume all others."""
        assigned = self._consumer.assignment()
        delayed = self._delays.waiting() & assigned
        wanted = assigned if self._closed else delayed
        fresh, again = wanted - self._paused, (self._paused - wanted) & assigned
        if fresh:
            await self._consumer.pause(fresh)
        if again:
            await self._consumer.resume(again)
        self._paused = wanted
        self._tell_pauses(len(wanted - delayed), len(delayed))

    def _tell_pauses(self, held: int, delayed: int) -> None:
        cause = "unavailable" if self._batches.unavailable else "full"
        pauses = {"full": 0, "unavailable": 0, cause: held, "delayed": delayed}
        if pauses != self._told_pauses:
            self._told_pauses = pauses
            for each, partitions in pauses.items():
                metrics.PARTITIONS_PAUSED.labels(worker=self.name, cause=each).set(partitions)

    def _fill(self) -> float:
        """Return how full the loop is, 1.0 being as much as it may hold: of records, of bytes, of finished offsets.

        Offsets that finished behind one that has not are small, but they too would grow with time (I9).
        """
        settings = self._settings
        return max(
            len(self._batcher) / settings.max_waiting_records,
            (self._batcher.held_bytes + self._batches.held_bytes) / settings.max_held_bytes,
            self._offsets.longest() / (_SPAN * (settings.max_in_flight_records + settings.max_waiting_records)),
        )

    def _room(self) -> int:
        """How many records to ask for; while everything is paused none come, whatever is asked."""
        room = self._settings.max_waiting_records - len(self._batcher)
        return max(1, min(room, max(self._settings.max_batch_records, _LEAST_POLL)))

    def _poll_timeout_s(self) -> float:
        batch_s = self._batcher.due_in(self._clock.monotonic())
        if self._batches.full:
            batch_s = None  # it could not start
        retry_s = self._delays.due_in_s(self._now_ms())
        return min(each for each in (self._settings.poll_timeout_s, batch_s, retry_s) if each is not None)

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def _take_in(self, records: Sequence[Record]) -> None:
        """Hand what is due to the batcher: retries whose time has come first, then what was polled."""
        self._hearing.delivered(record.topic_partition for record in records)
        now_ms = self._now_ms()
        retries = self._delays.release(now_ms)
        admitted = self._delays.admit(records, now_ms)
        for partition, offset in admitted.rewind.items():
            await self._consumer.seek(partition, offset)
        if self._delayed_topics:
            self._tell_lateness((*retries, *admitted.ready), now_ms)
        self._batcher.add(self._begin(retries), self._clock.monotonic(), ahead=True)
        self._batcher.add(self._begin(admitted.ready), self._clock.monotonic())

    def _tell_lateness(self, records: Iterable[Record], now_ms: int) -> None:
        for record in records:
            if record.topic in self._delayed_topics:
                lateness_s = max(0, now_ms - due_at_ms(record)) / 1000
                metrics.RETRY_LATENESS.labels(worker=self.name).observe(lateness_s)

    def _begin(self, records: Iterable[Record]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for (topic, number), group in groupby(records, _PLACE):
            partition, run = TopicPartition(topic, number), list(group)
            since_ms = [due_at_ms(each) if topic in self._delayed_topics else each.timestamp_ms for each in run]
            generation = self._offsets.begin_run(partition, [each.offset for each in run], since_ms)
            if generation is not None:
                deliveries += [Delivery(each, generation) for each in run]
                continue
            for each, since in zip(run, since_ms, strict=True):
                generation = self._offsets.begin(partition, each.offset, since)
                if generation is None:  # delivered twice by a rebalance; the first copy is still being worked on
                    metrics.REDELIVERIES.labels(worker=self.name).inc()
                else:
                    deliveries.append(Delivery(each, generation))
        return deliveries

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
            metrics.COMMITS.labels(worker=self.name, result="fenced").inc()
            gone = frozenset(offsets) - self._consumer.assignment()
            self._forget(gone)
            self._log.warning("commit_fenced", partitions=len(offsets), gone=sorted(map(str, gone)))
        except CommitError as error:
            metrics.COMMITS.labels(worker=self.name, result="failed").inc()
            self._log.warning("commit_failed", partitions=len(offsets), error=str(error))
        else:
            metrics.COMMITS.labels(worker=self.name, result="stored").inc()
            for partition, offset in offsets.items():
                self._offsets.committed(partition, offset)

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Start with a clean slate for what is new."""
        self._forget(partitions)
        self._log.info("partitions_assigned", partitions=sorted(map(str, partitions)))

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """Let what is in flight finish within the budget; return the finished prefix for the last commit."""
        self._batcher.drop(partitions)
        try:
            await self._batches.finish(partitions, self._settings.revoke_timeout_s)
            offsets = self._offsets.committable(partitions)
        finally:
            self._forget(partitions)  # also when nobody waits for the answer any more
        self._log.info("partitions_revoked", partitions=sorted(map(str, partitions)))
        return offsets

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Drop the state of partitions that someone else already has."""
        self._forget(partitions)
        self._log.warning("partitions_lost", partitions=sorted(map(str, partitions)))

    def _forget(self, partitions: frozenset[TopicPartition]) -> None:
        self._batcher.drop(partitions)
        self._delays.drop(partitions)
        self._offsets.drop(partitions)
        self._paused -= partitions
        self._batches.forget(partitions)

    async def _drain(self) -> None:
        await self._batches.drain(self._settings.shutdown_timeout_s)
        # Closing asks on_revoked, which returns the finished prefix for the last commit. A broker that is silent gets
        # no more of our time than the batches did: what it does not store is done again.
        try:
            async with asyncio.timeout(max(self._settings.shutdown_timeout_s, _LEAST_CLOSE_S)):
                await self._consumer.close()
        except TimeoutError:
            self._log.warning("group_not_left", timeout_s=self._settings.shutdown_timeout_s)
