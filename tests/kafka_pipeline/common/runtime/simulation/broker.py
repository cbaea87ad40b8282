"""A broker in memory, with groups that rebalance, commits that fail and acknowledgements that are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from kafka_pipeline.common.messaging import (
    CommitError,
    FencedError,
    Message,
    Offsets,
    ProduceError,
    RebalanceListener,
    Record,
    TopicPartition,
)
from tests.kafka_pipeline.common.runtime.simulation.virtual_time import EPOCH
from tests.kafka_pipeline.common.runtime.simulation.world import DEAD, NEXT, RETRIES, WORK, Member, World

PARTITIONS = 2
SESSION_S = 10.0
REVOKE_BUDGET_S = 4.0


@dataclass(slots=True)
class Group:
    """One consumer group: who has what, who should have it, what is committed."""

    owner: dict[TopicPartition, Member | None]
    target: dict[TopicPartition, Member | None]
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    seen_at_s: dict[Member, float] = field(default_factory=dict)
    """Members, and when they polled last."""


class SimulatedBroker:
    """Topics of two partitions each and one group that reads the work and the retries."""

    def __init__(self, world: World) -> None:
        self.world = world
        for topic in (WORK, NEXT, DEAD, *RETRIES):
            for partition in range(PARTITIONS):
                world.log[topic, partition] = []
        work = [TopicPartition(topic, number) for topic in (WORK, *RETRIES) for number in range(PARTITIONS)]
        self.group = Group(owner=dict.fromkeys(work), target=dict.fromkeys(work))

    def append(self, message: Message) -> None:
        """Write one message; its key decides the partition."""
        partition = sum(message.key or b"") % PARTITIONS
        log = self.world.log[message.topic, partition]
        record = Record(
            topic=message.topic,
            partition=partition,
            offset=len(log),
            key=message.key,
            value=message.value,
            headers=message.headers,
            timestamp_ms=int(EPOCH.timestamp() * 1000),
        )
        log.append(record)
        self.world.note_written(record)

    @property
    def drained(self) -> bool:
        """Whether everything to be read is committed."""
        return all(
            self.group.committed.get(partition, 0) == len(self.world.log[partition]) for partition in self.group.owner
        )

    def see(self, member: Member) -> None:
        """Note a sign of life; let go whoever gave none for too long; share the partitions out anew if that changed."""
        now_s = self.world.loop.time()
        before = set(self.group.seen_at_s)
        self.group.seen_at_s[member] = now_s
        for other, at_s in list(self.group.seen_at_s.items()):
            if now_s - at_s > SESSION_S:
                self.expel(other)
        if set(self.group.seen_at_s) != before:
            self._share_out()

    def expel(self, member: Member) -> None:
        """Take its partitions from a member that is gone."""
        self.group.seen_at_s.pop(member, None)
        for partition, owner in self.group.owner.items():
            if owner is member:
                self.group.owner[partition] = None

    def leave(self, member: Member) -> None:
        """Let a member go that says so."""
        self.expel(member)
        self._share_out()

    def _share_out(self) -> None:
        members = list(self.group.seen_at_s)
        partitions = list(self.group.owner)
        self.world.rng.shuffle(partitions)
        for number, partition in enumerate(partitions):
            self.group.target[partition] = members[number % len(members)] if members else None


class SimulatedProducer:
    """Writes, some of it or all of it, and does not always say so."""

    def __init__(self, broker: SimulatedBroker, member: Member) -> None:
        self._broker = broker
        self._member = member

    async def send(self, messages: Sequence[Message]) -> None:
        """Write one after the other; any step may fail, before or after the write."""
        world = self._broker.world
        for message in messages:
            await world.step(self._member, f"sends to {message.topic}")
            if world.chance(world.chances.produce_fails):
                raise ProduceError
            self._broker.append(message)
        await world.step(self._member, "awaits the acknowledgement")
        if world.chance(world.chances.produce_fails):
            raise ProduceError

    async def close(self) -> None:
        """Free nothing."""


class SimulatedConsumer:
    """A member of the group, as the protocol describes one."""

    def __init__(self, broker: SimulatedBroker, member: Member) -> None:
        self._broker = broker
        self._member = member
        self._listener: RebalanceListener
        self._position: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._closed = False

    async def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join."""
        self._listener = listener
        await self._broker.world.step(self._member, "joins")

    async def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Take part in rebalances, then return what is there."""
        world = self._broker.world
        await world.step(self._member, "polls")
        self._broker.see(self._member)
        await self._rebalance()
        records = self._fetch(max_records)
        if not records and timeout_s > 0:
            await asyncio.sleep(timeout_s)
            records = self._fetch(max_records)
        return records

    def _fetch(self, max_records: int) -> list[Record]:
        world = self._broker.world
        ready = [partition for partition in self._position if partition not in self._paused]
        world.rng.shuffle(ready)
        records: list[Record] = []
        for partition in ready:
            at = self._position[partition]
            some = world.log[partition][at : at + min(max_records - len(records), world.rng.randint(1, 6))]
            self._position[partition] = at + len(some)
            records += some
        return records

    async def _rebalance(self) -> None:
        group, world = self._broker.group, self._broker.world
        lost = frozenset(partition for partition in self._position if group.owner[partition] is not self._member)
        if lost:
            self._drop(lost)
            await self._listener.on_lost(lost)
        leaving = frozenset(partition for partition in self._position if group.target[partition] is not self._member)
        if leaving:
            await self._revoke(leaving)
        fresh = frozenset(
            partition
            for partition, target in group.target.items()
            if target is self._member and group.owner[partition] is None
        )
        for partition in sorted(fresh):  # in the same order in every process: chance draws from it
            group.owner[partition] = self._member
            self._position[partition] = group.committed.get(partition, 0)
        if fresh:
            await world.step(self._member, "is assigned")
            await self._listener.on_assigned(fresh)

    async def _revoke(self, leaving: frozenset[TopicPartition]) -> None:
        world, group = self._broker.world, self._broker.group
        try:
            async with asyncio.timeout(REVOKE_BUDGET_S):
                offsets = await self._listener.on_revoked(leaving)
        except TimeoutError:
            offsets = {}
        await world.step(self._member, "commits before it leaves")
        if not world.chance(world.chances.commit_fails):
            self._store({tp: at for tp, at in offsets.items() if group.owner[tp] is self._member})
        for partition in leaving:
            if group.owner[partition] is self._member:
                group.owner[partition] = None
        self._drop(leaving)

    def _drop(self, partitions: frozenset[TopicPartition]) -> None:
        for partition in partitions:
            self._position.pop(partition, None)
            self._paused.discard(partition)

    async def commit(self, offsets: Offsets) -> None:
        """Store; it may fail before or after."""
        world, group = self._broker.world, self._broker.group
        await world.step(self._member, "commits")
        ours = {tp: at for tp, at in offsets.items() if group.owner[tp] is self._member}
        if world.chance(world.chances.commit_fails):
            raise CommitError("no answer")
        self._store(ours)
        await world.step(self._member, "awaits the answer to its commit")
        if world.chance(world.chances.commit_fails):
            raise CommitError("the answer was lost")
        if len(ours) < len(offsets):
            raise FencedError("not ours any more")

    def _store(self, offsets: Offsets) -> None:
        for (topic, number), offset in offsets.items():
            committed = self._broker.group.committed
            since = committed.get(TopicPartition(topic, number), 0)
            self._broker.world.check_committable(topic, number, since, offset)
            committed[TopicPartition(topic, number)] = offset

    async def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver nothing of these."""
        await self._broker.world.step(self._member, "pauses")
        self._paused |= set(partitions) & self._position.keys()

    async def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver these again."""
        await self._broker.world.step(self._member, "resumes")
        self._paused -= set(partitions)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go back."""
        await self._broker.world.step(self._member, "seeks")
        if partition in self._position:
            self._position[partition] = offset

    def assignment(self) -> frozenset[TopicPartition]:
        """Return what is ours, as far as we know."""
        return frozenset(self._position)

    async def close(self) -> None:
        """Leave."""
        if self._closed:
            return
        self._closed = True
        await self._broker.world.step(self._member, "closes")
        if self._position:
            await self._revoke(frozenset(self._position))
        await self._broker.world.step(self._member, "leaves")
        self._broker.leave(self._member)
