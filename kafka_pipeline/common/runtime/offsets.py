"""Which offsets may be committed: the contiguous prefix of finished records, per partition (I1).

Batches overlap and finish out of order; a committed offset must not pass an unfinished record. Offsets may have gaps
(compaction, transaction markers), so "contiguous" means contiguous among the records that were delivered.

    delivered   10 11 12 15 16      finished 10 11 15      may be committed: 12
                ✓  ✓  ·  ✓  ·                              (the next offset to read; 15 waits for 12)

Pure: no I/O, no clock. One instance belongs to one consumer and is not shared between threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from kafka_pipeline.common.messaging import TopicPartition
from kafka_pipeline.common.messaging.record import NO_TIMESTAMP


@dataclass(slots=True)
class _Partition:
    generation: int
    delivered: deque[int] = field(default_factory=deque)
    """Offsets begun and not yet passed by the prefix, ascending."""
    since_ms: deque[int] = field(default_factory=deque)
    """Since when each of them could have been worked on, Unix milliseconds."""
    unfinished: set[int] = field(default_factory=set)
    next_offset: int | None = None
    """One past the finished prefix; None until something finished."""
    committed: int | None = None


class OffsetTracker:
    """Follows every delivered record of the assigned partitions from `begin` to `finish`.

    Each assignment of a partition has a generation. A batch that outlives its assignment finishes under an old
    generation and changes nothing: its records are delivered again to whoever has the partition now.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._generation = 0

    def begin(self, partition: TopicPartition, offset: int, since_ms: int = NO_TIMESTAMP) -> int | None:
        """Note a delivered record. Return its generation, or None if it is already being worked on.

        An offset below what was seen before, and not in flight, means that the log was cut or rewound: the partition
        starts over, since those records are new ones or must be done again.
        """
        state = self._partitions.get(partition)
        if state is None:
            state = self._start(partition)
        elif state.delivered and state.delivered[0] <= offset <= state.delivered[-1]:
            return None
        elif (state.delivered and offset < state.delivered[0]) or (
            state.next_offset is not None and offset < state.next_offset
        ):
            state = self._start(partition)
        state.delivered.append(offset)
        state.since_ms.append(since_ms)
        state.unfinished.add(offset)
        return state.generation

    def begin_run(self, partition: TopicPartition, offsets: Sequence[int], since_ms: Sequence[int]) -> int | None:
        """Note records that follow in order on all that was seen of the partition; return their generation.

        None where they do not, and then nothing is noted: ask `begin` of each. Together is what is usual, and it costs
        a third.
        """
        state = self._partitions.get(partition) or self._start(partition)
        least = state.delivered[-1] + 1 if state.delivered else state.next_offset or 0
        if not offsets or offsets[0] < least or any(after <= before for before, after in pairwise(offsets)):
            return None
        state.delivered.extend(offsets)
        state.since_ms.extend(since_ms)
        state.unfinished.update(offsets)
        return state.generation

    def finish(self, partition: TopicPartition, offset: int, generation: int) -> None:
        """Note that everything that follows from the record is durable. Stale generations are ignored."""
        self.finish_run(partition, (offset,), generation)

    def finish_run(self, partition: TopicPartition, offsets: Collection[int], generation: int) -> None:
        """Note the same of several records of one assignment."""
        state = self._partitions.get(partition)
        if state is None or state.generation != generation:
            return
        state.unfinished.difference_update(offsets)
        while state.delivered and state.delivered[0] not in state.unfinished:
            state.next_offset = state.delivered.popleft() + 1
            state.since_ms.popleft()

    def committable(self, partitions: Collection[TopicPartition] | None = None) -> dict[TopicPartition, int]:
        """Return the offsets that may be committed and are not yet, for these partitions or for all."""
        chosen: Iterable[TopicPartition] = self._partitions if partitions is None else partitions
        result: dict[TopicPartition, int] = {}
        for partition in chosen:
            state = self._partitions.get(partition)
            if state is not None and state.next_offset is not None and state.next_offset != state.committed:
                result[partition] = state.next_offset
        return result

    def committed(self, partition: TopicPartition, offset: int) -> None:
        """Note that the broker stored this offset."""
        state = self._partitions.get(partition)
        if state is not None:
            state.committed = offset

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that are ours no longer."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def is_current(self, partition: TopicPartition, generation: int) -> bool:
        """Tell whether the partition is still ours by that assignment."""
        state = self._partitions.get(partition)
        return state is not None and state.generation == generation

    def oldest_ms(self, topic: str) -> int | None:
        """Return since when the oldest unfinished record of a topic waits, Unix milliseconds; None if none does.

        The head of each partition is unfinished, and the oldest but for clocks that disagree.
        """
        heads = [state.since_ms[0] for at, state in self._partitions.items() if at.topic == topic and state.since_ms]
        known = [head for head in heads if head != NO_TIMESTAMP]
        return min(known, default=None)

    def longest(self) -> int:
        """Return how many records of one partition are remembered at most, finished ones behind an unfinished too."""
        return max((len(state.delivered) for state in self._partitions.values()), default=0)

    def unfinished(self) -> int:
        """Return how many delivered records are not finished."""
        return sum(len(state.unfinished) for state in self._partitions.values())

    def _start(self, partition: TopicPartition) -> _Partition:
        self._generation += 1
        state = self._partitions[partition] = _Partition(generation=self._generation)
        return state
