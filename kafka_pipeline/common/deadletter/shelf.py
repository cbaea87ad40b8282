"""Dead letters opened for reading: a whole topic, from its first record to the end seen first, any number of times.

Looking leaves no trace: the group is a new one each time. Holding is for whoever sends or deletes: it joins the group
that the topic's progress belongs to, and two that hold one topic never work on it at the same time.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import Enum
from types import TracebackType
from typing import Final, Self

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.deadletter.marks import Ledger
from kafka_pipeline.common.messaging import (
    Broker,
    BrokerRefusedError,
    CommitError,
    Consumer,
    Offsets,
    Record,
    TopicPartition,
)

BATCH_RECORDS: Final = 500
POLL_S: Final = 0.2
JOIN_POLL_S: Final = 0.02
QUIET_POLLS: Final = 10
"""Polls without a record after which the broker is asked whether there still is anything to wait for."""
PATIENCE_S: Final = 60.0
"""How long the topic is waited for: a process that was killed keeps it until its session ends, 45 s by default."""


class Access(str, Enum):
    """What a shelf is opened for."""

    LOOK = "look"
    """Reading alone, beside anybody else."""
    HOLD = "hold"
    """Reading, sending, deleting: nobody else may, until the shelf is closed."""


class TakenError(BrokerRefusedError):
    """Another claimx-dlq is at work on these dead letters: let it end, then run this again."""


class _Hold:
    """A listener that remembers whether something was taken away."""

    def __init__(self) -> None:
        self.taken = False

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing to prepare."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        """Commit nothing: what is done was committed when it was done."""
        self.taken = True
        return {}

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Remember it."""
        self.taken = True


class Shelf:
    """One topic of dead letters, and the group that its progress belongs to; an asynchronous context manager.

    Entering raises BrokerRefusedError where the topic is not there, TakenError where it is held by somebody else for
    longer than `patience_s`. `ends` bounds what is read; without it, what is there when the shelf is opened.
    """

    def __init__(
        self,
        broker: Broker,
        topic: str,
        group: str,
        *,
        access: Access = Access.LOOK,
        ends: Offsets | None = None,
        patience_s: float = PATIENCE_S,
        batch_records: int = BATCH_RECORDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._broker = broker
        self._admin = broker.admin()
        self._consumer: Consumer | None = None
        self._hold = _Hold()
        self._access = access
        self._patience_s = patience_s
        self._batch_records = batch_records
        self._clock = clock
        self._partitions: list[TopicPartition] = []
        self.topic = topic
        self.group = group
        self.ends: Offsets = ends or {}

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the topic. Safe to call twice."""
        if self._consumer is not None:
            await self._consumer.close()
        await self._admin.close()

    async def read(self) -> AsyncGenerator[list[Record], None]:
        """Yield what the topic holds up to the ends, marks included, in batches; each partition in order.

        Raises BrokerUnavailableError where the broker falls silent, TakenError where the topic was taken away.
        """
        marks = await self._admin.watermarks(self._partitions)
        left = {part: self.ends.get(part, 0) for part, mark in marks.items() if self.ends.get(part, 0) > mark.low}
        consumer = self._consumer
        if not left or consumer is None:
            return
        for partition in left:
            await consumer.seek(partition, marks[partition].low)
        await consumer.resume(left)
        try:
            quiet = 0
            while left:
                self.require_held()
                records = await consumer.poll(self._batch_records, POLL_S)
                quiet = 0 if records else quiet + 1
                wanted = [record for record in records if record.offset < left.get(record.topic_partition, 0)]
                if wanted:
                    yield wanted
                for record in records:
                    if record.offset + 1 >= left.get(record.topic_partition, record.offset + 2):
                        del left[record.topic_partition]
                if quiet == QUIET_POLLS:
                    quiet = 0
                    await self._forget_deleted(left)
        finally:
            if not self._hold.taken:
                await consumer.pause(self._partitions)

    async def ledger(self) -> Ledger:
        """Read the topic once, and return what is done in it."""
        marks = await self._admin.watermarks(self._partitions)
        stored = await self._admin.group_offsets(self.group, self._partitions)
        ledger = Ledger(
            {
                # An offset behind the end is of a topic that was deleted and made anew: it says nothing of this one.
                part: stored[part] if mark.low <= stored.get(part, -1) <= mark.high else mark.low
                for part, mark in marks.items()
            }
        )
        async with aclosing(self.read()) as batches:
            async for records in batches:
                for record in records:
                    ledger.heed(record)
        return ledger

    async def commit(self, offsets: Offsets) -> None:
        """Store how far everything is done. Raises TakenError, CommitError."""
        self.require_held()
        if self._consumer is None:
            raise CommitError("a shelf that nobody holds has no progress of its own")
        await self._consumer.commit(offsets)

    async def delete(self) -> None:
        """Delete every record up to the ends. Raises TakenError, BrokerRefusedError, BrokerUnavailableError."""
        self.require_held()
        await self._admin.delete_records({part: end for part, end in self.ends.items() if end > 0})

    def require_held(self) -> None:
        """Raise TakenError where the topic was taken away meanwhile."""
        if self._hold.taken:
            raise TakenError

    async def _open(self) -> None:
        count = (await self._admin.topics()).get(self.topic, 0)
        if not count:
            raise BrokerRefusedError(
                f"there is no topic {self.topic} on {self._broker.description}: "
                "run `kafka-pipeline claimx-topics` to create it"
            )
        self._partitions = [TopicPartition(self.topic, number) for number in range(count)]
        if not self.ends:
            self.ends = {part: mark.high for part, mark in (await self._admin.watermarks(self._partitions)).items()}
        if self._access is Access.LOOK and not any(self.ends.values()):
            return
        look = self._access is Access.LOOK
        self._consumer = self._broker.consumer(f"{self.group}.look-{uuid.uuid4()}" if look else self.group)
        await self._consumer.subscribe([self.topic], self._hold)
        await self._take(self._consumer)

    async def _take(self, consumer: Consumer) -> None:
        """Poll until every partition is ours. What comes meanwhile is read again later."""
        deadline_s = self._clock.monotonic() + self._patience_s
        while not consumer.assignment() >= set(self._partitions):
            if self._clock.monotonic() >= deadline_s:
                raise TakenError
            await consumer.poll(1, JOIN_POLL_S)
        await consumer.pause(self._partitions)
        self._hold.taken = False  # what moved while the group formed is of no interest

    async def _forget_deleted(self, left: dict[TopicPartition, int]) -> None:
        """Wait no longer for records that somebody has deleted meanwhile. Raises BrokerUnavailableError."""
        marks = await self._admin.watermarks(list(left))
        for partition, mark in marks.items():
            if mark.low >= left[partition]:
                del left[partition]
