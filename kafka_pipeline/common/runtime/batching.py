"""Which records go into the next batch, so that batches may overlap and a key still keeps its order.

Pure: no I/O; the time is passed in. One instance belongs to one worker loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import NamedTuple

from kafka_pipeline.common.messaging import Record, TopicPartition


class Ordering(Enum):
    """What a worker needs to know about the order of its records."""

    KEY = "key"
    """Records with one key never overlap: the next one starts when the one before it has finished. Records without a
    key have no order."""
    ARRIVAL = "arrival"
    """Batches are consecutive slices of each partition and start in order; what overlaps is sequenced by the worker."""


class Delivery(NamedTuple):
    """A record with the generation of the assignment it came by (see `offsets.py`)."""

    record: Record
    generation: int


def size_of(delivery: Delivery) -> int:
    """Return the bytes of a delivery's value: what its memory is mostly made of."""
    return len(delivery.record.value or b"")


_Lane = tuple[TopicPartition, bytes]


class Batcher:
    """Holds delivered records until they are taken in batches.

    A batch is due when `max_records` wait, or `linger_s` after the oldest of them came. With `Ordering.KEY` a record
    whose key is in flight is parked and comes first, in order, once the key is released; it holds nobody else back.
    """

    def __init__(self, *, max_records: int, linger_s: float, ordering: Ordering) -> None:
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        self._max_records = max_records
        self._linger_s = linger_s
        self._ordered_by_key = ordering is Ordering.KEY
        self._waiting: deque[Delivery] = deque()
        self._released: deque[Delivery] = deque()
        self._parked: dict[_Lane, deque[Delivery]] = {}
        self._parked_count = 0
        self._busy: set[_Lane] = set()
        self._oldest_at: float | None = None
        self.held_bytes = 0
        """Bytes of the values that are held, parked ones included."""

    def __len__(self) -> int:
        """Return how many records are held, parked ones included."""
        return len(self._waiting) + len(self._released) + self._parked_count

    def add(self, deliveries: Iterable[Delivery], now_s: float, *, ahead: bool = False) -> None:
        """Hold these, in the order they came; `ahead` of all that was not yet taken for what has waited already."""
        queue = self._released if ahead else self._waiting
        for delivery in deliveries:
            queue.append(delivery)
            self.held_bytes += size_of(delivery)
        if self._oldest_at is None and queue:
            self._oldest_at = now_s

    def due_in(self, now_s: float) -> float | None:
        """Return the seconds until a batch is due: 0 if it is now, None if nothing waits (parked ones do not)."""
        if self._oldest_at is None:
            return None
        if len(self._waiting) + len(self._released) >= self._max_records:
            return 0.0
        return max(0.0, self._oldest_at + self._linger_s - now_s)

    def take(self, now_s: float) -> list[Delivery]:
        """Take the next batch: up to `max_records`, possibly none if every waiting record's key is in flight."""
        batch: list[Delivery] = []
        taken: set[_Lane] = set()
        for queue in (self._released, self._waiting):
            while queue and len(batch) < self._max_records:
                delivery = queue.popleft()
                if self._ordered_by_key:
                    lane = _lane(delivery.record)
                    if lane is not None:
                        if lane in self._busy:
                            self._parked.setdefault(lane, deque()).append(delivery)
                            self._parked_count += 1
                            continue
                        taken.add(lane)
                batch.append(delivery)
        self.held_bytes -= sum(map(size_of, batch))
        self._busy |= taken
        self._oldest_at = now_s if self._waiting or self._released else None
        return batch

    def release(self, batch: Iterable[Delivery], now_s: float) -> None:
        """Note that the batch is over: the keys in it are free again."""
        if not self._ordered_by_key:
            return
        for delivery in batch:
            lane = _lane(delivery.record)
            if lane is None or lane not in self._busy:
                continue
            self._busy.discard(lane)
            parked = self._parked.pop(lane, None)
            if parked:
                self._parked_count -= len(parked)
                self._released.extend(parked)
                if self._oldest_at is None:
                    self._oldest_at = now_s - self._linger_s

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget every held record of these partitions; what is in flight stays in flight."""
        gone = frozenset(partitions)

        def stays(delivery: Delivery) -> bool:
            return delivery.record.topic_partition not in gone

        self._waiting = _kept(self._waiting, stays)
        self._released = _kept(self._released, stays)
        for lane in [lane for lane in self._parked if lane[0] in gone]:
            self._parked_count -= len(self._parked.pop(lane))
        if not self._waiting and not self._released:
            self._oldest_at = None
        held = (*self._waiting, *self._released, *(each for queue in self._parked.values() for each in queue))
        self.held_bytes = sum(map(size_of, held))


def _lane(record: Record) -> _Lane | None:
    return None if record.key is None else (record.topic_partition, record.key)


def _kept(queue: deque[Delivery], stays: Callable[[Delivery], bool]) -> deque[Delivery]:
    return deque(delivery for delivery in queue if stays(delivery))
