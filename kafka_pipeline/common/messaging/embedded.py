"""A broker in one file, for the demo, a laptop, and fast tests: no server, nothing to install.

It answers the same protocols as Kafka's adapter and passes the same contract suite. What it promises: a send or commit
that returned survives kill -9; several processes may write and read the file at once; each consumer group lives in one
process at a time, with as many members there as it likes. What it does not: replication, retention by time, and reading
a group's partitions from two machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kafka_pipeline.common.messaging._embedded_consumer import EmbeddedConsumer
from kafka_pipeline.common.messaging._embedded_groups import Group, lock_path
from kafka_pipeline.common.messaging._embedded_log import EmbeddedLog
from kafka_pipeline.common.messaging._sizes import require_sizes
from kafka_pipeline.common.messaging.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    ProduceError,
)
from kafka_pipeline.common.messaging.protocols import (
    Admin,
    Consumer,
    NewTopic,
    Offsets,
    Producer,
    TopicFacts,
    Watermarks,
)
from kafka_pipeline.common.messaging.record import Message, TopicPartition

T = TypeVar("T")

MAX_MESSAGE_BYTES = 1 << 20
"""What a Kafka broker takes by default: what works on a laptop works in production."""

REVOKE_BUDGET_S = 60.0
"""How long a revoke waits for the listener: a fifth of Kafka's default poll interval, as in that adapter."""


class EmbeddedBroker:
    """A broker in the file `path`; beside it appear SQLite's own files and one lock file per group.

    One event loop and one broker object per process and file: its consumers share out partitions among themselves.
    Raises BrokerUnavailableError where the file cannot be used, BrokerRefusedError where it is something else.
    """

    def __init__(
        self, path: Path, *, max_message_bytes: int = MAX_MESSAGE_BYTES, revoke_budget_s: float = REVOKE_BUDGET_S
    ) -> None:
        self._path = path
        self.max_message_bytes = max_message_bytes
        self.revoke_budget_s = revoke_budget_s
        self._reader = _Desk(path, "embedded-read")
        self._writer = _Desk(path, "embedded-write")
        self._groups: dict[str, Group] = {}
        self._bells: list[Callable[[], None]] = []

    @property
    def description(self) -> str:
        """Name it for people."""
        return f"embedded broker in {self._path}"

    def consumer(self, group: str) -> Consumer:
        """Create a member of that group."""
        if group not in self._groups:
            self._groups[group] = Group(lock_path(self._path, group), group)
        return EmbeddedConsumer(self, self._groups[group], group)

    def producer(self) -> Producer:
        """Create a producer."""
        return _EmbeddedProducer(self)

    def admin(self) -> Admin:
        """Create an admin."""
        return _EmbeddedAdmin(self)

    async def check(self, timeout_s: float) -> None:
        """Return if the file can be read within the time."""
        try:
            await asyncio.wait_for(self.reading(EmbeddedLog.version), timeout_s)
        except TimeoutError:
            raise BrokerUnavailableError(f"{self._path}: no answer within {timeout_s} s") from None

    async def close(self) -> None:
        """Close the file. Safe to call twice."""
        await self._writer.close()
        await self._reader.close()

    # What consumers, producers and admins need of it.

    async def reading(self, call: Callable[[EmbeddedLog], T]) -> T:
        """Run a call on the connection for reads, off the event loop: no write ever keeps it waiting."""
        return await self._reader.run(call)

    async def writing(self, call: Callable[[EmbeddedLog], T]) -> T:
        """Run a call on the connection for writes, off the event loop."""
        return await self._writer.run(call)

    def listen(self, ring: Callable[[], None]) -> None:
        """Call `ring` after every send of this process."""
        if ring not in self._bells:
            self._bells.append(ring)

    def ignore(self, ring: Callable[[], None]) -> None:
        """Ring no more."""
        if ring in self._bells:
            self._bells.remove(ring)

    def ring(self) -> None:
        """Wake every waiting poll: there is something new."""
        for ring in self._bells:
            ring()


class _EmbeddedProducer:
    """The `Producer` protocol: a batch is one transaction."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._closed = False

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is written; none is if it raises.

        Raises MessageTooLargeError, TopicRefusedError for an unknown topic, ProduceError.
        """
        if self._closed:
            raise ProduceError("the producer is closed")
        if not messages:
            return
        require_sizes(messages, self._broker.max_message_bytes)
        try:
            await self._broker.writing(lambda log: log.append(messages))
        except ProduceError:
            raise
        except (BrokerUnavailableError, BrokerRefusedError) as error:
            raise ProduceError(f"{len(messages)} messages were not written: {error}") from error
        self._broker.ring()

    async def close(self) -> None:
        """Refuse what comes later; nothing is under way that `send` does not wait for."""
        self._closed = True


class _EmbeddedAdmin:
    """The `Admin` protocol on the embedded log."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    async def create_topics(self, topics: Sequence[NewTopic]) -> frozenset[str]:
        """Create those that are missing; their configuration has no meaning here."""
        return await self._broker.writing(lambda log: log.create({topic.name: topic.partitions for topic in topics}))

    async def topics(self) -> dict[str, int]:
        """Return all topics with their number of partitions."""
        return await self._broker.reading(EmbeddedLog.topics)

    async def describe(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        """Return how these topics are; there are no copies and no configuration here."""
        there = await self.topics()
        return {name: TopicFacts(partitions=there[name]) for name in topics if name in there}

    async def watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
        """Read the watermarks of these partitions."""
        return await self._broker.reading(lambda log: {part: log.watermarks(part) for part in partitions})

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group; partitions without one are left out."""
        return await self._broker.reading(lambda log: log.committed(group, partitions))

    async def delete_records(self, before: Offsets) -> dict[TopicPartition, int]:
        """Delete every record below the given offsets; return the new low watermarks."""
        return await self._broker.writing(lambda log: log.delete(before))

    async def close(self) -> None:
        """Free everything, which is nothing: the file is the broker's."""


class _Desk:
    """One connection and the one thread that uses it. Both begin with the first call."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._log: EmbeddedLog | None = None
        self._closed = False
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, call: Callable[[EmbeddedLog], T]) -> T:
        if self._closed:
            raise BrokerUnavailableError(f"{self._path}: the broker is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, call)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._executor.shutdown)
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def _run(self, call: Callable[[EmbeddedLog], T]) -> T:
        if self._log is None:
            self._log = EmbeddedLog(self._path)
        return call(self._log)
