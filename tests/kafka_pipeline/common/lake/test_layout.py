"""Promises of the plan for a table's files: what is worth writing anew, and that it comes to rest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.lake.layout import Limits, Part, StoredFile, depth, is_crowded, plan

LIMITS = Limits(target_bytes=100, part_bytes=300)


def file(low: int | None, high: int | None, size_bytes: int = 10) -> StoredFile:
    """Return a file of these keys."""
    return StoredFile(low=low, high=high, size_bytes=size_bytes)


def bounds(parts: Sequence[Part]) -> list[tuple[object, object]]:
    """Return where each part begins and ends."""
    return [(part.low, part.high if part.before is None else part.before) for part in parts]


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
    parts = plan([file(None, None, 200), *[file(n, n, 20) for n in range(30)]], LIMITS)
    assert parts[0].low is None
    assert parts[-1].high is None
    assert all(one.before == other.low for one, other in itertools.pairwise(parts))


def test_the_condition_holds_exactly_the_part() -> None:
    """Both ends belong to a part, but the beginning of the next one does not."""
    part = Part(low="a'b", high="z", before=None, files=1, size_bytes=1)
    assert part.condition("k") == "k >= 'a''b' AND k <= 'z'"
    assert Part(low=3, high=9, before=5, files=1, size_bytes=1).condition("k") == "k >= 3 AND k < 5"


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
def test_parts_are_disjoint_and_leave_no_file_cut_at_the_ends_of_a_stretch(stored: list[StoredFile]) -> None:
    """In key order; a file that one part touches lies wholly in the parts of that stretch."""
    parts = plan(stored, LIMITS)
    covered = set[int]()
    for part in parts:
        end = part.high + 1 if part.before is None else part.before
        keys = set(range(part.low, end))
        assert not covered & keys
        assert not covered or min(keys) > max(covered)
        covered |= keys
    for each in stored:
        touched = covered & set(range(each.low, each.high + 1))
        assert not touched or touched == set(range(each.low, each.high + 1))
    assert sum(part.files for part in parts) == sum(each.low in covered for each in stored)


@given(stored=files)
def test_what_was_written_anew_needs_nothing_more(stored: list[StoredFile]) -> None:
    """However the bytes fell into files of about the target size: the next run finds rest."""
    parts = plan(stored, LIMITS)
    touched = [each for each in stored if any(_begins_in(each, part) for part in parts)]
    rewritten = []
    place = max((each.high for each in stored), default=0)
    for part in parts:
        left = part.size_bytes
        while left > 0:
            place += 1
            rewritten.append(file(place, place, min(left, LIMITS.target_bytes)))
            left -= LIMITS.target_bytes
    assert plan(rewritten, LIMITS) == () or len(parts) > 4, "a remainder for each part, and five of them are a stretch"
    assert sum(each.size_bytes for each in touched) == sum(each.size_bytes for each in rewritten)


@given(stored=files)
def test_depth_is_what_counting_gives(stored: list[StoredFile]) -> None:
    """The most files at any one key."""
    counted = max((sum(each.low <= key <= each.high for each in stored) for key in range(401)), default=0)
    assert depth(stored) == counted


def _begins_in(each: StoredFile, part: Part) -> bool:
    return bool(part.low <= each.low and (each.low < part.before if part.before is not None else each.low <= part.high))
