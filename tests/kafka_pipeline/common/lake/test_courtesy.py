"""Writers of one table leave each other room: nobody starves, and who is alone waits for nobody."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.lake.courtesy import MEMORY_S, ROOM, Courtesy
from kafka_pipeline.common.lake.delta import TRIES, conflict_pause_s

SECONDS = st.floats(min_value=0, max_value=1e4)
LONGEST_S = 10.0
MEAN = 0.5
"""The jitter that changes nothing."""


@given(commit_s=SECONDS, others=st.integers(0, 10_000), since_s=SECONDS, jitter=st.floats(0, 1))
def test_the_wait_is_bounded_and_grows_with_what_others_do(
    commit_s: float, others: int, since_s: float, jitter: float
) -> None:
    """Never longer than allowed, never shorter with more of them."""
    few, many = [
        Courtesy(longest_s=LONGEST_S).room_s(commit_s, others=each, since_s=since_s, now_s=0, jitter=jitter)
        for each in (others, others + 1)
    ]
    assert 0 <= few <= many <= LONGEST_S


@given(commits=st.lists(st.tuples(SECONDS, SECONDS), max_size=20))
def test_who_is_alone_never_waits(commits: list[tuple[float, float]]) -> None:
    """A table with one writer is as fast as ever."""
    courtesy, now_s = Courtesy(longest_s=LONGEST_S), 0.0
    for commit_s, since_s in commits:
        now_s += since_s
        assert courtesy.room_s(commit_s, others=0, since_s=since_s, now_s=now_s, jitter=1) == 0


def test_there_is_room_for_a_writer_that_was_seen_and_is_silent_until_it_is_forgotten() -> None:
    """It may be losing every race."""
    courtesy = Courtesy(longest_s=LONGEST_S)
    courtesy.room_s(0.1, others=1, since_s=1, now_s=0, jitter=MEAN)
    for now_s, room_s in ((1.0, ROOM * 0.1), (MEMORY_S - 1, ROOM * 0.1), (MEMORY_S, 0.0)):
        assert courtesy.room_s(0.1, others=0, since_s=1, now_s=now_s, jitter=MEAN) == pytest.approx(room_s)


def test_what_others_did_long_ago_makes_nobody_wait_long() -> None:
    """A thousand commits in an hour are three in ten seconds."""
    room_s = Courtesy(longest_s=LONGEST_S).room_s(0.1, others=1_000, since_s=3_600, now_s=0, jitter=MEAN)
    assert room_s == pytest.approx(ROOM * 0.1 * 1_000 * LONGEST_S / 3_600)


INTERVAL_S = 0.5
"""Between the beginnings of two flushes of a writer, where nothing else keeps them apart."""


@dataclass
class Writer:
    """A writer that always has rows, as it is between two events of its life."""

    merge_s: float
    courtesy: Courtesy = field(default_factory=lambda: Courtesy(longest_s=LONGEST_S))
    version: int = 0
    committed_at_s: float = 0.0
    wanted_at_s: float = 0.0
    lost: int = 0


def longest_flush_s(merges_s: list[float], rng: Random, *, polite: bool) -> float:
    """Play ten minutes of writers of one table, as Delta decides who wins; return the longest flush of any.

    `merges_s` has for each writer what a merge takes on average.
    """
    writers = [Writer(merge_s) for merge_s in merges_s]
    version, longest_s = 0, 0.0
    begins = [(rng.uniform(0, INTERVAL_S), number) for number in range(len(writers))]
    heapq.heapify(begins)
    ends: list[tuple[float, int, float, int]] = []  # end of a merge, writer, its begin, the version it began from
    while True:
        if begins and (not ends or begins[0][0] < ends[0][0]):
            began_s, number = heapq.heappop(begins)
            if not writers[number].lost:
                writers[number].wanted_at_s = began_s
            heapq.heappush(ends, (began_s + writers[number].merge_s * rng.uniform(0.7, 1.3), number, began_s, version))
            continue
        now_s, number, began_s, found = heapq.heappop(ends)
        writer = writers[number]
        longest_s = max(longest_s, now_s - writer.wanted_at_s)
        if now_s > 600:
            return longest_s
        if found != version:  # another one was faster
            heapq.heappush(begins, (now_s + conflict_pause_s(writer.lost % TRIES, rng.random()), number))
            writer.lost += 1
            continue
        since_s, others = now_s - writer.committed_at_s, found - writer.version
        room_s = writer.courtesy.room_s(
            now_s - began_s, others=others, since_s=since_s, now_s=now_s, jitter=rng.random()
        )
        next_s = max(now_s + room_s * polite, writer.wanted_at_s + INTERVAL_S, now_s)
        version += 1
        writer.version, writer.committed_at_s, writer.lost = version, now_s, 0
        heapq.heappush(begins, (next_s, number))


@pytest.mark.parametrize("seed", range(5))
def test_a_writer_of_large_flushes_does_not_starve_beside_writers_of_small_ones(seed: int) -> None:
    """Two uploaders with a few rows each, and a result processor with many, on a machine with much to do.

    As it was in a storm: the one that had to take over a partition lost nine races in a row.
    """
    merges_s = [0.3, 0.3, 0.4]
    assert longest_flush_s(merges_s, Random(seed), polite=True) < 8
    assert longest_flush_s(merges_s, Random(seed), polite=False) > 16


@pytest.mark.parametrize("count", [2, 4, 8])
def test_however_many_writers_there_are_each_has_its_turn(count: int) -> None:
    """Some twenty merges' time for each of them at most."""
    assert longest_flush_s([0.1] * count, Random(count), polite=True) < 2 * count
