"""Which files of a table are worth writing anew, so that a range of keys lies in few files. Pure: no I/O, no clock.

A MERGE leaves small files, and files whose ranges of keys overlap: whatever it touches ends up in one file together
with what is new. Then the ranges in a predicate skip less and less. Writing a stretch of overlapping or small files
anew, in key order, gives files that share no key.

    files   ▕████▏▕█▏▕█▏▕█▏▕█▏        ▕██████▏▕██████▏
                    ▕██████████████▏                      stretch: what overlaps, with small neighbours
    worth         └───── yes ─────┘        no

Cost follows what changed: a stretch is left alone until enough in it is small or overlaps (`Limits`). One that is too
large to be sorted in memory makes the whole table worth it, if enough in the table is in disorder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from kafka_pipeline.common.lake.sql import Value, literal

Bound: TypeAlias = Value
"""Text, a whole number or a date; of one column always the same. None where it is not known."""

_BEGINS, _ENDS = 0, 1
"""In this order: where one file begins with the key that another ends with, both may hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One data file, with the range of its first key column. Without statistics it may hold any key."""

    low: Bound
    high: Bound
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large files should be, and how much disorder is worth a rewrite."""

    target_bytes: int = 8 * 2**20
    """Size of a file. A MERGE writes whatever file it touches anew, and keeps in memory what it reads and leaves as it
    was: with 64 MiB an update of recent rows takes four times as long. Smaller ones would be too many for readers."""
    part_bytes: int = 128 * 2**20
    """Largest stretch that is sorted in memory, where it takes about eight times as much."""
    few: int = 4
    """So many files more than needed are disorder."""
    deep: int = 4
    """So many files that may hold the same key are disorder, however large they are."""
    share: int = 8
    """A stretch of up to so many times as many files as are in disorder is written anew for their sake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A range of keys that is written anew in one commit: whole files, none of which reaches beyond it.

    No bound: open on that side. `is_whole`: the table as a whole, too large to be sorted in memory.
    """

    low: Bound
    high: Bound
    files: int
    size_bytes: int
    is_whole: bool = False

    def condition(self, key: str) -> str:
        """Return the range as SQL over the key column."""
        terms = []
        if self.low is not None:
            terms.append(f"{key} >= {literal(self.low)}")
        if self.high is not None:
            terms.append(f"{key} <= {literal(self.high)}")
        return " AND ".join(terms) or f"{key} IS NOT NULL"


def plan(files: Sequence[StoredFile], limits: Limits) -> tuple[Part, ...]:
    """Return the parts to write anew, in key order; disjoint. After that the same files need nothing more."""
    stretches = [stretch for stretch in _stretches(files, limits) if _is_worth_it(stretch, limits)]
    small = [stretch for stretch in stretches if _bytes(stretch) <= limits.part_bytes]
    if len(small) < len(stretches) and _is_worth_it(files, limits):
        return (Part(low=None, high=None, files=len(files), size_bytes=_bytes(files), is_whole=True),)
    return tuple(map(_part, small))


def is_crowded(files: Sequence[StoredFile], limits: Limits) -> bool:
    """Tell whether there are clearly more files than their bytes need."""
    return _surplus(files, limits) >= limits.few


def depth(files: Iterable[StoredFile]) -> int:
    """Return how many files may hold the same key, at most."""
    anywhere, edges = 0, []
    for each in files:
        if each.low is None or each.high is None:
            anywhere += 1
        else:
            edges += [(each.low, _BEGINS), (each.high, _ENDS)]
    deepest = now = anywhere
    for _, edge in sorted(edges):
        now += 1 if edge == _BEGINS else -1
        deepest = max(deepest, now)
    return deepest


def _surplus(files: Sequence[StoredFile], limits: Limits) -> int:
    """Return how many files there are beyond what they would be at half the target size."""
    return len(files) - max(1, _ceil(2 * _bytes(files), limits.target_bytes))


def _is_worth_it(files: Sequence[StoredFile], limits: Limits) -> bool:
    surplus, deepest = _surplus(files, limits), depth(files)
    if surplus < limits.few and deepest < limits.deep:
        return False
    return max(surplus, deepest) * limits.share >= _ceil(_bytes(files), limits.target_bytes)


def _stretches(files: Sequence[StoredFile], limits: Limits) -> list[list[StoredFile]]:
    """Return runs of neighbours in key order: groups that overlap, joined with small files beside them."""
    stretches: list[list[StoredFile]] = []
    is_open = False
    for group in _overlapping(files):
        is_done = len(group) == 1 and 2 * group[0].size_bytes >= limits.target_bytes
        if is_open and not is_done:
            stretches[-1].extend(group)
        else:
            stretches.append(list(group))
        is_open = not is_done
    return stretches


def _overlapping(files: Sequence[StoredFile]) -> list[list[StoredFile]]:
    """Return the files in groups that share no key, in key order; within a group by where they begin."""
    anywhere = [each for each in files if each.low is None or each.high is None]
    known = [each for each in files if each.low is not None and each.high is not None]
    known.sort(key=lambda each: (each.low, each.high))
    if anywhere:
        return [[*(replace(each, low=None, high=None) for each in anywhere), *known]]
    groups: list[list[StoredFile]] = []
    reach: Bound = None
    for each in known:
        if reach is not None and each.low <= reach:
            groups[-1].append(each)
            reach = max(reach, each.high)
        else:
            groups.append([each])
            reach = each.high
    return groups


def _part(stretch: Sequence[StoredFile]) -> Part:
    is_bounded = all(each.low is not None and each.high is not None for each in stretch)
    return Part(
        low=min(each.low for each in stretch) if is_bounded else None,
        high=max(each.high for each in stretch) if is_bounded else None,
        files=len(stretch),
        size_bytes=_bytes(stretch),
    )


def _bytes(files: Iterable[StoredFile]) -> int:
    return sum(each.size_bytes for each in files)


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
