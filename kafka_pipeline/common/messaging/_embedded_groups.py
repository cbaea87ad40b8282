"""Which member of a consumer group reads which partition, within one process."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

from kafka_pipeline.common.messaging.errors import BrokerRefusedError
from kafka_pipeline.common.messaging.record import TopicPartition

Member = int
"""A member's number; lower ones joined earlier."""


def share_out(
    partitions: Collection[TopicPartition],
    subscriptions: Mapping[Member, frozenset[str]],
    current: Mapping[TopicPartition, Member],
) -> dict[TopicPartition, Member]:
    """Decide who reads what: evenly within each topic (shares differ by one at most), and moving as little as possible.

    Partitions of topics that nobody subscribes to are left out.
    """
    shares: dict[TopicPartition, Member] = {}
    load: Counter[Member] = Counter()
    for topic in sorted({partition.topic for partition in partitions}):
        members = [member for member, topics in subscriptions.items() if topic in topics]
        if not members:
            continue
        open_ones = sorted(partition for partition in partitions if partition.topic == topic)
        held = {member: [part for part in open_ones if current.get(part) == member] for member in members}
        # Whoever has most keeps most; among equals, whoever has less of the other topics, then the elder.
        members.sort(key=lambda member: (-len(held[member]), load[member], member))
        share, rest = divmod(len(open_ones), len(members))
        quota = {member: share + (place < rest) for place, member in enumerate(members)}
        kept = {part: member for member in members for part in held[member][: quota[member]]}
        room = Counter(quota)
        room.subtract(kept.values())
        takers = [member for member in members for _ in range(room[member])]
        shares |= kept
        shares |= dict(zip((part for part in open_ones if part not in kept), takers, strict=True))
        load.update(quota)
    return shares


class Group:
    """The members of one group in this process: who wants what, who shall read what, and who does.

    A partition changes hands only once its owner has let it go, so no two members ever read it at the same time.
    Used on one event loop; does no I/O but for the lock that keeps other processes out of the group.
    """

    def __init__(self, lock_path: Path, name: str) -> None:
        self._lock_path = lock_path
        self._name = name
        self._lock: IO[bytes] | None = None
        self._subscriptions: dict[Member, frozenset[str]] = {}
        self._bells: dict[Member, Callable[[], None]] = {}
        self._partitions: frozenset[TopicPartition] = frozenset()
        self._owners: dict[TopicPartition, Member] = {}
        self._targets: dict[TopicPartition, Member] = {}

    def join(
        self, member: Member, topics: frozenset[str], partitions: Collection[TopicPartition], ring: Callable[[], None]
    ) -> None:
        """Add a member, or change its topics. Raises BrokerRefusedError where another process has the group."""
        if self._lock is None:
            self._lock = _take_lock(self._lock_path, self._name)
        self._subscriptions[member] = topics
        self._bells[member] = ring
        self._partitions |= frozenset(partitions)
        self._share_out()

    def leave(self, member: Member) -> None:
        """Remove a member that has let everything go. The last one opens the group to other processes."""
        if self._subscriptions.pop(member, None) is None:
            return
        del self._bells[member]
        self.let_go(member, frozenset(part for part, owner in self._owners.items() if owner == member))
        self._share_out()
        if not self._subscriptions and self._lock is not None:
            self._lock_path.unlink(missing_ok=True)  # while it is ours: whoever comes next makes a new one
            self._lock.close()
            self._lock = None

    def to_give(self, member: Member) -> frozenset[TopicPartition]:
        """Return what the member reads and shall not read any more."""
        return frozenset(
            part for part, owner in self._owners.items() if owner == member and self._targets.get(part) != member
        )

    def to_take(self, member: Member) -> frozenset[TopicPartition]:
        """Return what the member shall read and nobody reads."""
        return frozenset(
            part for part, target in self._targets.items() if target == member and part not in self._owners
        )

    def take(self, member: Member) -> frozenset[TopicPartition]:
        """Make the member the owner of what it shall read and nobody reads; return what is new."""
        free = self.to_take(member)
        self._owners |= dict.fromkeys(free, member)
        return free

    def let_go(self, member: Member, partitions: frozenset[TopicPartition]) -> None:
        """Take partitions from a member, and tell the others."""
        for part in partitions:
            if self._owners.get(part) == member:
                del self._owners[part]
        if partitions:
            self._ring()

    def _share_out(self) -> None:
        self._targets = share_out(self._partitions, self._subscriptions, self._owners)
        self._ring()

    def _ring(self) -> None:
        for ring in self._bells.values():
            ring()


def _take_lock(path: Path, group: str) -> IO[bytes]:
    """Lock the group's file for this process; the kernel unlocks it when the process ends, also by kill -9."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise BrokerRefusedError(
                f"group {group} is in use by another process (or another EmbeddedBroker of this one) on {path.parent}"
            ) from None
        if _is_at(lock, path):
            return lock
        lock.close()  # its owner left, and took the file away, between our two steps


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Tell whether the open file is the one that the path leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def lock_path(log_path: Path, group: str) -> Path:
    """Return the lock file of a group, beside the log."""
    return log_path.with_name(f"{log_path.name}.group-{quote(group, safe='')}.lock")
