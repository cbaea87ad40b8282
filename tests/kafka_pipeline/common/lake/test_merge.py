"""The merge planner: one row per key, ranges that never omit a key, conditions that say what they must."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.merge import (
    MAX_RANGES,
    KeyRange,
    apart,
    combine,
    key_of,
    key_ranges,
    lookup_condition,
    predicate,
    to_arrow,
)
from kafka_pipeline.common.lake.tables import DATE, INT, STRING, Column, TableSpec

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)

KEYS = st.one_of(
    st.lists(st.text(max_size=12), min_size=1, max_size=60),
    st.lists(st.integers(0, 10**9).map(str), min_size=1, max_size=60),
    st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60),
    st.lists(st.dates(), min_size=1, max_size=60),
)


@given(keys=KEYS, max_ranges=st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_ranges_hold_every_key_and_stay_few(keys: list[Any], max_ranges: int) -> None:
    """Every key is in exactly one range; ranges ascend, begin and end at keys, and are at most as many as asked."""
    ranges = key_ranges(keys, max_ranges)
    assert all(sum(r.low <= key <= r.high for r in ranges) == 1 for key in keys)
    assert len(ranges) <= max_ranges
    assert [r.low for r in ranges] == sorted(r.low for r in ranges)
    assert {r.low for r in ranges} | {r.high for r in ranges} <= set(keys)


def _uuid(milliseconds: int) -> str:
    return str(uuid.UUID(int=(milliseconds << 80) | (uuid.uuid4().int & ((1 << 80) - 1))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            [_uuid(1_700_000_000_000 + i * 10**9) for i in range(3)],
            [_uuid(1_772_460_000_000 + i * 50) for i in range(900)],
        ),
        (["7100001", "7150000", "7300000"], [str(7_900_000 + 3 * i) for i in range(900)]),
        ([1, 500_000, 900_000], list(range(5_000_000, 5_003_000, 3))),
    ],
)
def test_a_few_old_keys_do_not_stretch_the_range_of_many_new_ones(old: list[Any], new: list[Any]) -> None:
    """Time-ordered UUIDs, decimal ids and numbers are cut where time stood still, not at random."""
    ranges = key_ranges([*old, *new])
    assert ranges[-1].low == min(new)
    assert ranges[-1].high == max(new)
    assert [(r.low, r.high) for r in ranges[:-1]] == [(key, key) for key in sorted(old)]


def test_fifty_old_keys_among_new_ones_are_looked_for_one_by_one() -> None:
    """A file between two of them holds none, and is not read: what is read in vain costs time and memory."""
    old = [str(20_000_000 + 150_000 * i + i * i % 7_919) for i in range(50)]
    new = [str(29_900_000 + 2 * i) for i in range(950)]
    assert [(r.low, r.high) for r in key_ranges([*old, *new])] == [*((key, key) for key in old), (new[0], new[-1])]


@pytest.mark.parametrize(
    ("old", "files", "count"),
    [
        ([5, 40], [(0, 49), (50, 89), (90, 99)], 2),
        ([5, 40], [(0, 49), (50, 89)], 2),
        ([5, 40], [(0, 29), (30, 99)], 1),
        ([5, 40], [(0, 49), (30, 99)], 0),
        ([5, 40], [(0, 99)], 0),
        ([], [(0, 99)], 0),
        (range(0, 50, 10), [(0, 49), (50, 99)], 0),
    ],
    ids=["old files", "rows are new", "one in the last file", "overlap", "one file", "nothing old", "most are old"],
)
def test_a_few_old_rows_are_merged_apart_where_no_file_is_written_twice(
    old: Sequence[int], files: list[tuple[int, int]], count: int
) -> None:
    """The end of the table, where the next merges go, is not mixed with old files."""
    rows = [{"k": key} for key in [*old, *range(96, 100)]]
    ranges = [*(KeyRange(key, key) for key in old), KeyRange(96, 99)]
    assert apart(rows, ranges, [KeyRange(low, high) for low, high in files], "k") == count


def test_even_keys_are_one_range() -> None:
    """Nothing is gained by cutting where no gap stands out."""
    assert len(key_ranges([str(1_000 + i) for i in range(100)])) == 1
    assert key_ranges([]) == []


def test_combined_rows_are_one_per_key_in_clock_order(things: TableSpec) -> None:
    """Rows of a key are folded from oldest to newest, undated first, input order among equals [MRG-6]."""
    rows = [
        {"thing_id": "2", "newest": "late", "seen_at": NOW.replace(minute=9), "created_at": NOW},
        {"thing_id": "1", "newest": "only", "created_at": NOW},
        {"thing_id": "2", "newest": "undated", "number": 7, "created_at": NOW},
        {"thing_id": "2", "newest": "early", "guarded": "kept", "seen_at": NOW, "created_at": NOW},
    ]
    combined = combine(things, rows)
    assert [row["thing_id"] for row in combined] == ["1", "2"]
    assert (combined[1]["newest"], combined[1]["number"], combined[1]["guarded"]) == ("late", 7, "kept")
    assert set(combined[0]) == set(things.names)
    equal = [{"thing_id": "1", "newest": v, "seen_at": NOW, "created_at": NOW} for v in "ab"]
    assert combine(things, equal)[0]["newest"] == "b"


def test_of_equal_keys_an_insert_only_table_takes_the_first(events: TableSpec) -> None:
    """The stored row stays as it is, and so does the first of a batch (settled point 4)."""
    rows = [{"event_id": "1", "day": date(2026, 3, d), "text": str(d)} for d in (2, 3)]
    assert [row["text"] for row in combine(events, rows)] == ["2"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"thing_id": None}, "things.thing_id must not be null"),
        ({"thing_id": 7}, "things.thing_id must be a str, not a int"),
        ({"created_at": None}, "things.created_at must not be null"),
        ({"seen_at": datetime(2026, 3, 2)}, "things.seen_at must be an aware datetime"),  # noqa: DTZ001 - the subject
        ({"number": True}, "things.number must be a int, not a bool"),
        ({"surprise": 1}, "things.surprise is not a column"),
        ({"flag": "yes, my name is Pat"}, "things.flag does not hold bool"),
        ({"newest": "\ud800"}, "things.newest does not hold string"),
    ],
)
def test_a_row_that_cannot_go_in_is_named_without_its_value(
    things: TableSpec, change: dict[str, Any], says: str
) -> None:
    """The failure is permanent, says table, column and why, and shows no cell (I10)."""
    row = {"thing_id": "1", "created_at": NOW, **change}
    with pytest.raises(PipelineError, match=says) as caught:
        to_arrow(things, combine(things, [row]))
    assert caught.value.category is Category.PERMANENT
    assert "Pat" not in caught.value.text
    assert caught.value.__cause__ is None


def test_a_forgotten_id_among_old_and_new_ones_hides_no_gap() -> None:
    """Gaps are measured against what is still covered: an id from 1970 does not make the others look close."""
    forgotten, old, new = _uuid(0), [_uuid(1_760_000_000_000 + i * 10**9) for i in range(2)], 1_772_460_000_000
    ranges = key_ranges([forgotten, *old, *(_uuid(new + i * 50) for i in range(900))])
    assert [forgotten, *old] == [r.low for r in ranges][:3]
    assert [forgotten, *old] == [r.high for r in ranges][:3]


TWO_KEYS = TableSpec(
    name="pairs",
    columns=(
        Column("a", STRING, nullable=False),
        Column("b", INT, nullable=False),
        Column("d", DATE, nullable=False),
    ),
    keys=("a", "b", "d"),
    partition_by=("d",),
)


def test_the_condition_names_equal_keys_ranges_and_partitions() -> None:
    """Every key column gets its ranges, a partition its values."""
    rows = [{"a": "x'", "b": b, "d": date(2026, 3, 2)} for b in (1, 2, 900)]
    assert predicate(TWO_KEYS, rows) == (
        "t.a = s.a AND t.b = s.b AND t.d = s.d AND (t.d IN (DATE '2026-03-02') AND (t.a = 'x''') "
        "AND ((t.b = 1) OR (t.b = 2) OR (t.b = 900)))"
    )


def test_rows_to_be_looked_for_everywhere_are_not_bound_to_a_partition(events: TableSpec) -> None:
    """They stand beside the others as an alternative of the same condition [EVW-1]."""
    rows = [{"event_id": i, "day": date(2026, 3, 2)} for i in ("a", "b")]
    condition = predicate(events, rows, [("b",)])
    assert condition == (
        "t.event_id = s.event_id AND ((t.day IN (DATE '2026-03-02') AND (t.event_id = 'a')) OR ((t.event_id = 'b')))"
    )


def test_many_partitions_become_ranges(events: TableSpec) -> None:
    """A list of more than twenty values would no longer skip files."""
    rows = [{"event_id": str(i), "day": date.fromordinal(739_000 + i)} for i in range(50)]
    condition = predicate(events, rows)
    assert "t.day IN" not in condition
    assert f"t.day >= DATE '{date.fromordinal(739_000)}'" in condition


def test_a_condition_stays_short_for_any_batch(events: TableSpec) -> None:
    """Ranges are bounded in number, so the text is bounded too."""
    rows = [{"event_id": str(uuid.uuid4()), "day": date(2026, 3, 2)} for _ in range(3_000)]
    assert predicate(events, rows).count(" OR ") < MAX_RANGES


def test_a_lookup_may_name_the_leading_part_of_a_key() -> None:
    """The condition is exact for the first key column and a range for the others that are given."""
    assert lookup_condition(TWO_KEYS, [("p",), ("q",)]).endswith("AND a IN ('p', 'q')")
    assert "b" not in lookup_condition(TWO_KEYS, [("p",)]).replace("'p'", "")
    assert key_of(TWO_KEYS, {"a": "p", "b": 1, "d": date(2026, 1, 1)}) == ("p", 1, date(2026, 1, 1))
