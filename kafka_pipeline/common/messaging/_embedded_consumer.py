"""A member of a consumer group of the embedded broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

import structlog

from kafka_pipeline.common.messaging._embedded_groups import Group
from kafka_pipeline.common.messaging._embedded_log import EmbeddedLog, Slice
from kafka_pipeline.common.messaging.errors import BrokerRefusedError, CommitError, FencedError, MessagingError
from kafka_pipeline.common.messaging.protocols import Offsets, RebalanceListener
from kafka_pipeline.common.messaging.record import Record, TopicPartition

_log = structlog.get_logger(__name__)
T = TypeVar("T")

FOREIGN_PAUSE_S = 0.05
"""How often a waiting poll looks for messages of other processes; those of this process ring a bell."""

_members = itertools.count()


class Home(Protocol):
    """What a consumer needs of its broker: the file, used off the event loop, and the bell for new messages."""

    revoke_budget_s: float

    async def reading(self, call: Callable[[EmbeddedLog], T]) -> T:
        """Run a call on the connection for reads."""

    async def writing(self, call: Callable[[EmbeddedLog], T]) -> T:
        """Run a call on the connection for writes."""

    def listen(self, ring: Callable[[], None]) -> None:
        """Call `ring` after every send of this process, until `ignore`."""

    def ignore(self, ring: Callable[[], None]) -> None:
        """Ring no more."""


class EmbeddedConsumer:
    """The `Consumer` protocol on the embedded log."""

    def __init__(self, home: Home, group: Group, name: str) -> None:
        self._home = home
        self._group = group
        self._name = name
        self._member = next(_members)
        self._listener: RebalanceListener | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._bell = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rebalancing: asyncio.Task[None] | None = None
        self._seen: tuple[int, int] | None = None
        self._moves = 0
        self._turn = 0
        self._closed = False

    async def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join the group for these topics. Raises BrokerRefusedError: unknown topic, or group in use elsewhere."""
        if self._closed:
            raise BrokerRefusedError("the consumer is closed")
        partitions = await self._home.reading(lambda log: log.require(topics))
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._group.join(self._member, frozenset(topics), partitions, self._bell.set)
        self._home.listen(self._ring)

    async def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return what is there, as the protocol says. Positions move only when records are handed out."""
        if self._listener is None or self._closed:
            raise BrokerRefusedError("poll before subscribe, or after close")
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            self._bell.clear()
            await self._rebalance()
            records = await self._read(max_records)
            left_s = deadline - asyncio.get_running_loop().time()
            if records or left_s <= 0:
                return records
            try:
                await asyncio.wait_for(self._bell.wait(), min(left_s, FOREIGN_PAUSE_S))
            except TimeoutError:
                continue

    async def commit(self, offsets: Offsets) -> None:
        """Store offsets durably. Raises FencedError where a partition is no longer ours, CommitError otherwise."""
        ours = {partition: offset for partition, offset in offsets.items() if partition in self._positions}
        await self._commit(ours)
        if len(ours) < len(offsets):
            raise FencedError(f"not ours any more: {', '.join(sorted(map(str, offsets.keys() - ours.keys())))}")

    async def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver nothing more from these until `resume`."""
        self._paused |= self._positions.keys() & set(partitions)
        self._moves += 1

    async def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver from these again."""
        self._paused -= set(partitions)
        self._moves += 1

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver this partition from `offset` on next. Outside of what is there means the low watermark."""
        low, high = await self._home.reading(lambda log: log.watermarks(partition))
        if partition in self._positions:
            self._positions[partition] = offset if low <= offset <= high else low
            self._moves += 1

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are ours now."""
        return frozenset(self._positions)

    async def close(self) -> None:
        """Revoke, commit, leave the group. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._home.ignore(self._ring)
        if self._rebalancing is not None:
            await asyncio.gather(self._rebalancing, return_exceptions=True)
        try:
            await self._give_up(frozenset(self._positions))
        finally:
            self._group.leave(self._member)

    def _ring(self) -> None:
        """Wake a waiting poll, from whatever thread the send was made."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._bell.set)

    # Reading

    async def _read(self, max_records: int) -> list[Record]:
        wanted = [
            Slice(partition, offset) for partition, offset in self._positions.items() if partition not in self._paused
        ]
        if not wanted:
            return []
        # Each read begins with another partition, so that a full one does not keep the others waiting.
        self._turn = (self._turn + 1) % len(wanted)
        slices = wanted[self._turn :] + wanted[: self._turn]
        seen, moves = self._seen, self._moves

        def read(log: EmbeddedLog) -> tuple[int, list[Record]]:
            version = log.version()
            # Nothing was written, and nobody moved, since there was nothing: one look instead of one per partition.
            return version, [] if (version, moves) == seen else log.read(slices, max_records)

        version, records = await self._home.reading(read)
        if not records:
            self._seen = (version, moves)
        for record in records:
            self._positions[record.topic_partition] = record.offset + 1
        if records:
            self._moves += 1
        return records

    # Rebalancing

    async def _rebalance(self) -> None:
        """Give up and take what the group wants. It goes on when the caller goes away; the next poll waits for it."""
        if self._rebalancing is None:
            if not self._group.to_give(self._member) and not self._group.to_take(self._member):
                return
            self._rebalancing = asyncio.create_task(self._move())
        try:
            await asyncio.shield(self._rebalancing)
        finally:
            if self._rebalancing.done():
                self._rebalancing = None

    async def _move(self) -> None:
        await self._give_up(self._group.to_give(self._member))
        new = self._group.take(self._member)
        if not new:
            return

        def starts(log: EmbeddedLog) -> dict[TopicPartition, int]:
            committed = log.committed(self._name, new)
            found = {}
            for partition in new:
                low, high = log.watermarks(partition)
                offset = committed.get(partition, low)
                found[partition] = offset if low <= offset <= high else low
            return found

        try:
            self._positions |= await self._home.reading(starts)
        except MessagingError:
            self._group.let_go(self._member, new)
            raise
        self._moves += 1
        if self._listener is not None:
            await self._ask(self._listener.on_assigned(new), "on_assigned")

    async def _give_up(self, gone: frozenset[TopicPartition]) -> None:
        """Ask the listener what to commit, commit it, let go."""
        if not gone:
            return
        answer = await self._ask(self._listener.on_revoked(gone), "on_revoked") if self._listener else None
        try:
            await self._commit({partition: offset for partition, offset in (answer or {}).items() if partition in gone})
        except CommitError as error:
            # The records will be delivered again, which every consumer tolerates (I6).
            _log.warning("revoke_commit_failed", group=self._name, error=str(error))
        for partition in gone:
            self._positions.pop(partition, None)
            self._paused.discard(partition)
        self._group.let_go(self._member, gone)

    async def _ask(self, call: Awaitable[T], what: str) -> T | None:
        try:
            return await asyncio.wait_for(call, self._home.revoke_budget_s)
        except TimeoutError:
            _log.warning("rebalance_listener_too_slow", group=self._name, call=what)
        except Exception:  # noqa: BLE001  whatever a listener raises must not stop the group
            _log.exception("rebalance_listener_failed", group=self._name, call=what)
        return None

    async def _commit(self, offsets: Offsets) -> None:
        if not offsets:
            return
        try:
            await self._home.writing(lambda log: log.commit(self._name, offsets))
        except MessagingError as error:
            raise CommitError(f"offsets were not committed: {error}") from error
