"""Which dead letters are done: everything below a committed offset, and what marks name one by one.

A replay of all letters in order needs no more than committed offsets. One of chosen letters leaves gaps, which no
offset can express: the letters behind a gap are named in a mark, a record without a value at the end of the same topic.

    offset     0   1   2   3   4   5   6   7           committed: 2
               ✓   ✓   ·   ✓   ✓   ·   ·   M           M: `dlq-done: 0:3-4`

| header | content |
|---|---|
| dlq-done | `PARTITION:OFFSET-OFFSET,OFFSET …`, the letters of the same topic that are done |

A mark may stand in any partition of the topic, so whoever wants to know what is done reads all of it first. All
functions are pure; memory follows the number of gaps, not of letters.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

from kafka_pipeline.common.messaging import Message, Offsets, Record, TopicPartition

DONE: Final = "dlq-done"

_GROUP: Final = re.compile(
    r"(?P<partition>\d{1,9}):(?P<runs>\d{1,18}(?:-\d{1,18})?(?:,\d{1,18}(?:-\d{1,18})?)*)", re.ASCII
)

Run = tuple[int, int]
"""The first offset of a run, and the first one behind it."""


class OffsetSet:
    """A set of offsets of one partition, kept as runs."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._afters: list[int] = []

    def add(self, first: int, after: int) -> None:
        """Add every offset from `first` up to, and without, `after`."""
        if first >= after:
            return
        low = bisect_left(self._afters, first)
        high = bisect_right(self._firsts, after)
        if low < high:
            first = min(first, self._firsts[low])
            after = max(after, self._afters[high - 1])
        self._firsts[low:high] = [first]
        self._afters[low:high] = [after]

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._firsts, offset) - 1
        return at >= 0 and offset < self._afters[at]

    def first_missing(self, start: int) -> int:
        """Return the first offset from `start` on that is not in the set."""
        at = bisect_right(self._firsts, start) - 1
        return self._afters[at] if at >= 0 and start < self._afters[at] else start

    def runs(self) -> list[Run]:
        """Return the runs, ascending."""
        return list(zip(self._firsts, self._afters, strict=True))


class Ledger:
    """Keeps account of what is done in some topics of dead letters.

    It starts with the offsets that were committed, and learns from every record of the topics (`heed`) and from what
    is replayed (`finish`). Only after the last record it knows everything.
    """

    def __init__(self, committed: Offsets) -> None:
        self._committed = dict(committed)
        self._done: dict[TopicPartition, OffsetSet] = {}
        for partition, offset in committed.items():
            self._of(partition).add(0, offset)

    def heed(self, record: Record) -> bool:
        """Tell whether the record is a mark, and take note of what it says. A mark itself is done by being read."""
        told = read_mark(record)
        if told is None:
            return False
        self._of(record.topic_partition).add(record.offset, record.offset + 1)
        for partition, runs in told.items():
            for first, after in runs:
                self._of(partition).add(first, after)
        return True

    def finish(self, records: Iterable[Record]) -> None:
        """Note that these are done."""
        for record in records:
            self._of(record.topic_partition).add(record.offset, record.offset + 1)

    def is_done(self, record: Record) -> bool:
        """Tell whether this letter was replayed."""
        return record.offset in self._of(record.topic_partition)

    def committable(self) -> Offsets:
        """Return the offsets that may be committed and are not yet: the ends of the prefixes without a gap."""
        ends = {partition: self._of(partition).first_missing(start) for partition, start in self._committed.items()}
        return {partition: end for partition, end in ends.items() if end > self._committed[partition]}

    def committed(self, offsets: Offsets) -> None:
        """Note that the broker stored these."""
        self._committed |= offsets

    def marks_for(self, records: Iterable[Record]) -> list[Message]:
        """Return the marks, one a topic at most, that name those of the records which stand behind a gap."""
        behind: dict[str, dict[int, OffsetSet]] = {}
        for record in records:
            prefix = self._of(record.topic_partition).first_missing(self._committed.get(record.topic_partition, 0))
            if record.offset >= prefix:
                runs = behind.setdefault(record.topic, {}).setdefault(record.partition, OffsetSet())
                runs.add(record.offset, record.offset + 1)
        return [write_mark(topic, {part: each.runs() for part, each in runs.items()}) for topic, runs in behind.items()]

    def _of(self, partition: TopicPartition) -> OffsetSet:
        return self._done.setdefault(partition, OffsetSet())


def write_mark(topic: str, done: Mapping[int, Iterable[Run]]) -> Message:
    """Return the record that says, in that topic, that these offsets of its partitions are done."""
    groups = (f"{partition}:{','.join(map(_run_text, runs))}" for partition, runs in sorted(done.items()))
    return Message(topic=topic, value=None, headers=((DONE, " ".join(groups).encode()),))


def read_mark(record: Record) -> dict[TopicPartition, list[Run]] | None:
    """Return what a mark names; None for a record that is none, whoever wrote it."""
    text = record.header(DONE)
    if text is None or record.value is not None:
        return None
    groups = [_GROUP.fullmatch(word) for word in text.decode("ascii", "replace").split(" ")]
    if not all(groups):
        return None
    return {
        TopicPartition(record.topic, int(group["partition"])): list(map(_run, group["runs"].split(",")))
        for group in groups
        if group is not None
    }


def _run_text(run: Run) -> str:
    first, after = run
    return str(first) if after == first + 1 else f"{first}-{after - 1}"


def _run(text: str) -> Run:
    first, _, last = text.partition("-")
    return int(first), int(last or first) + 1
