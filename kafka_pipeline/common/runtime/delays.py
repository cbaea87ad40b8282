"""Records that are not due yet: held back until their time, partition by partition, in order (I8).

Every topic of delayed retries has one delay, so within a partition the due times are in order: a partition whose first
record is not due has nothing that is. Such a partition is paused; what was already delivered of it waits here, up to
`max_held` records of a partition, and what is beyond is read again when the time comes.

    poll ──▶ admit ──▶ ready: due, work on it
                  ├──▶ held, until `release`; the partition is in `waiting`, so the loop pauses it
                  └──▶ rewind: beyond the bound, to be delivered again

Nothing here is durable and nothing needs to be: held records are neither begun nor committed, so a restart or a
rebalance delivers them again, to whoever has the partition then. Pure: no I/O; the time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from kafka_pipeline.common.messaging import Record, TopicPartition

RETRY_AT: Final = "retry-at"
"""Header: when the record is due, Unix milliseconds as text [RTY-3]."""

_DIGITS: Final = 15
"""Milliseconds of the year 33658 have so many; more is no time."""


def due_at_ms(record: Record) -> int:
    """Return when the record is due, Unix milliseconds; 0, at once, where no readable header says so."""
    text = record.header(RETRY_AT) or b""
    return int(text) if text.isdigit() and len(text) <= _DIGITS else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What became of delivered records."""

    ready: tuple[Record, ...]
    """In the order they came."""
    rewind: dict[TopicPartition, int] = field(default_factory=dict)
    """Partitions to be read again from that offset, once they are no longer in `waiting`."""


class Delays:
    """Holds records of the delayed topics until they are due; records of other topics pass."""

    def __init__(self, topics: Collection[str], *, max_held: int = 100) -> None:
        self._topics = frozenset(topics)
        self._max_held = max_held
        self._held: dict[TopicPartition, deque[Record]] = {}

    def admit(self, records: Iterable[Record], now_ms: int) -> Admitted:
        """Let through what is due; hold the rest, and whatever comes behind it in its partition."""
        ready: list[Record] = []
        rewind: dict[TopicPartition, int] = {}
        for record in records:
            if record.topic not in self._topics:
                ready.append(record)
                continue
            partition = record.topic_partition
            held = self._held.get(partition)
            if held is None and due_at_ms(record) <= now_ms:
                ready.append(record)
            elif partition in rewind:
                continue
            elif held is not None and len(held) >= self._max_held:
                rewind[partition] = record.offset
            else:
                self._held.setdefault(partition, deque()).append(record)
        return Admitted(ready=tuple(ready), rewind=rewind)

    def release(self, now_ms: int) -> list[Record]:
        """Take what has become due, in order within each partition."""
        due: list[Record] = []
        for partition, held in list(self._held.items()):
            while held and due_at_ms(held[0]) <= now_ms:
                due.append(held.popleft())
            if not held:
                del self._held[partition]
        return due

    def waiting(self) -> frozenset[TopicPartition]:
        """Return the partitions to pause: their next record is held."""
        return frozenset(self._held)

    def due_in_s(self, now_ms: int) -> float | None:
        """Return the seconds until the next held record is due, 0 if one is; None if none is held."""
        heads = [due_at_ms(held[0]) for held in self._held.values()]
        return max(0.0, (min(heads) - now_ms) / 1000) if heads else None

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held of partitions that are ours no longer."""
        for partition in partitions:
            self._held.pop(partition, None)

    def __len__(self) -> int:
        """Return how many records are held: at most `max_held` for each delayed partition."""
        return sum(map(len, self._held.values()))
