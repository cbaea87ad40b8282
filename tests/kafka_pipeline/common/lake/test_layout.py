"""Promises of the plan for a table's files: what is worth writing anew, and that it comes to rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.lake.layout import Limits, Part, StoredFile, depth, is_crowded, plan

LIMITS = Limits(target_bytes=100, part_bytes=300)


def file(low: int | None, high: int | None, size_bytes: int = 10) -> StoredFile:
    """Return a file of these keys."""
    return StoredFile(low=low, high=high, size_bytes=size_bytes)


def bounds(parts: Sequence[Part]) -> list[tuple[object, object]]:
    """Return where each part begins and ends."""
    return [(part.low, part.high) for part in parts]


def test_small_files_side_by_side_become_one_stretch() -> None:
    """Many appends in key order: nothing overlaps, but there are too many of them."""
    assert bounds(plan([file(n, n) for n in range(20)], LIMITS)) == [(0, 19)]


def test_few_small_files_are_left_alone() -> None:
    """A table is not written anew for the sake of two or three files."""
    assert plan([file(n, n) for n in range(4)], LIMITS) == ()
    assert plan([file(n, n) for n in range(5)], LIMITS) != (), "four more than needed"


def test_full_files_in_order_are_left_alone() -> None:
    """However many there are."""
    assert plan([file(n, n, 90) for n in range(1_000)], LIMITS) == ()


def test_old_files_in_order_are_not_written_anew_for_the_new_ones() -> None:
    """Cost follows what changed: the stretch begins where the disorder does."""
    old = [file(n * 10, n * 10 + 9, 95) for n in range(100)]
    new = [file(1_000 + n, 1_010 + n) for n in range(12)]
    assert bounds(plan([*new, *old], LIMITS)) == [(1_000, 1_021)]


def test_one_wide_file_is_not_worth_the_whole_table() -> None:
    """A merge of an old and a new key leaves one file that overlaps all: it costs each read one file more, no more."""
    table = [file(n * 10, n * 10 + 9, 95) for n in range(100)]
    assert plan([file(0, 999, 95), *table], LIMITS) == ()
    assert plan([file(0, 999, 95)] * 14 + table, LIMITS) != (), "fourteen of them cost each read fourteen"


def test_a_file_without_statistics_may_hold_any_key() -> None:
    """Whatever is written anew with it has no bounds: no row of it can be left out."""
    (part,) = plan([file(None, None), *[file(n, n) for n in range(10)]], LIMITS)
    assert part.condition("k") == "k IS NOT NULL"


def test_the_condition_holds_exactly_the_part() -> None:
    """Both ends belong to it."""
    assert Part(low="a'b", high="z", files=1, size_bytes=1).condition("k") == "k >= 'a''b' AND k <= 'z'"
    assert Part(low=3, high=9, files=1, size_bytes=1).condition("k") == "k >= 3 AND k <= 9"


def test_a_stretch_too_large_for_memory_takes_the_whole_table_with_it() -> None:
    """If enough of the table is in disorder; else it waits, and the small ones are put in order all the same."""
    wide = [file(0, 999, 90) for _ in range(5)]
    (part,) = plan([*wide, *[file(2_000 + n, 2_000 + n) for n in range(9)]], LIMITS)
    assert (part.is_whole, part.files, part.size_bytes) == (True, 14, 540)
    in_order = [file(10_000 + n, 10_000 + n, 90) for n in range(500)]
    small = [file(20_000 + n, 20_000 + n) for n in range(9)]
    assert bounds(plan([*wide, *in_order, *small], LIMITS)) == [(20_000, 20_008)]


def test_a_partition_is_crowded_where_files_are_many_for_their_bytes() -> None:
    """Its keys do not matter."""
    assert is_crowded([file(None, None)] * 5, LIMITS)
    assert not is_crowded([file(None, None)] * 4, LIMITS)
    assert not is_crowded([file(None, None, 90)] * 50, LIMITS)


files = st.lists(
    st.builds(
        lambda low, width, size: file(low, low + width, size),
        st.integers(0, 200),
        st.one_of(st.integers(0, 5), st.integers(0, 200)),
        st.integers(1, 250),
    ),
    max_size=60,
)


@given(stored=files)
def test_parts_are_disjoint_and_cut_no_file(stored: list[StoredFile]) -> None:
    """In key order; a file that one part touches lies wholly in it, so that what is kept is not written anew."""
    parts = plan(stored, LIMITS)
    if any(part.is_whole for part in parts):
        assert [(part.files, part.size_bytes) for part in parts] == [(len(stored), _total(stored))]
        return
    last = -1
    for part in parts:
        assert last < part.low <= part.high
        last = part.high
        inside = [each for each in stored if each.low <= part.high and each.high >= part.low]
        assert all(part.low <= each.low and each.high <= part.high for each in inside)
        assert (part.files, part.size_bytes) == (len(inside), _total(inside))
        assert part.size_bytes <= LIMITS.part_bytes


@given(stored=files)
def test_what_was_written_anew_needs_nothing_more(stored: list[StoredFile]) -> None:
    """Files of the target size, and one remainder for each part: the next run finds rest."""
    parts = plan(stored, LIMITS)
    if not parts:
        return
    after = []
    for part in parts:
        left, place = part.size_bytes, 0 if part.is_whole else part.low
        while left > 0:
            after.append(file(place, place, min(left, LIMITS.target_bytes)))
            left, place = left - LIMITS.target_bytes, place + 1
    if not parts[0].is_whole and any(other.low - one.high < 5 for one, other in pairwise(parts)):
        return  # their new files could not be told apart by the keys made up here
    assert plan(after, LIMITS) == () or len(parts) > 4, "remainders side by side are a stretch of their own"


@given(stored=files)
def test_depth_is_what_counting_gives(stored: list[StoredFile]) -> None:
    """The most files at any one key."""
    counted = max((sum(each.low <= key <= each.high for each in stored) for key in range(401)), default=0)
    assert depth(stored) == counted


def _total(stored: Sequence[StoredFile]) -> int:
    return sum(each.size_bytes for each in stored)
