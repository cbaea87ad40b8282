"""The merge rules: their Python and SQL forms agree, and they promise what the table in the module says."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.merge import combine
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.tables import TableSpec

MINUTES = [datetime(2026, 3, 2, 14, m, tzinfo=UTC) for m in range(3)]


def _some(values: Sequence[object]) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


ROWS = st.fixed_dictionaries(
    {
        "newest": _some(["a", "b"]),
        "number": _some([0, 1]),
        "words": _some([[], ["x"], ["x", "y"]]),
        "guarded": _some(["a", "b"]),
        "winner": _some(["a", "b"]),
        "earliest": _some(MINUTES),
        "weak": _some(["INVITED", "JOINED", "OTHER"]),
        "weak_at_once": _some(["uploaded", "completed", "failed"]),
        "kind": _some(["P", "Q"]),
        "flag": _some([True, False]),
        "label": _some(["m", "n"]),
        "label_seen_at": _some(MINUTES),
        "seen_at": _some(MINUTES),
        "created_at": st.sampled_from(MINUTES),
    }
)


@given(pairs=st.lists(st.tuples(ROWS, ROWS), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_a_rule_folds_in_python_as_it_merges_in_sql(
    things: TableSpec, pairs: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    """For any stored and arriving row, every column's `fold` equals what Delta makes of its `sql`."""
    stored = [{"thing_id": f"{i:03}", **t} for i, (t, _) in enumerate(pairs)]
    arriving = [{"thing_id": f"{i:03}", **s} for i, (_, s) in enumerate(pairs)]
    expected = [_fold(things, t, s) for t, s in zip(stored, arriving, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        store = DeltaStore(LakeLocation.parse(Path(folder)))
        store.merge(things, stored)
        store.merge(things, arriving)
        found = store.existing(things, [row["thing_id"] for row in stored])
    assert expected == sorted(found, key=lambda row: row["thing_id"])


def _fold(spec: TableSpec, t: Row, s: Row) -> dict[str, Any]:
    return {c.name: t[c.name] if c.name in spec.keys else c.rule.fold(c.name, spec.guard, t, s) for c in spec.columns}


def _in_any_grouping(spec: TableSpec, rows: Sequence[Mapping[str, Any]], column: str) -> set[Any]:
    """Return the values that `column` ends with, over all orders and all ways to cut an order into two batches."""
    ends = set()
    for order in itertools.permutations(rows):
        for cut in range(len(order)):
            batches = [batch for batch in (order[:cut], order[cut:]) if batch]
            merged: Row | None = None
            for batch in batches:
                row = combine(spec, batch)[0]
                merged = row if merged is None else _fold(spec, merged, row)
            ends.add((merged or {})[column])
    return ends


@given(rows=st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("column", ["earliest", "label", "label_seen_at", "seen_at"])
def test_order_and_batching_do_not_matter_where_the_rule_promises_it(
    things: TableSpec, rows: list[dict[str, Any]], column: str
) -> None:
    """Earliest, Latest, OwnClock and ClockOf end the same in any order and any batching (I4, settled point 2)."""
    keyed = [{**row, "thing_id": "1"} for row in rows]
    if column == "label_seen_at":  # the time of a label: without any label there is nothing that it could follow
        keyed = [row for row in keyed if row["label"] is not None] or [{**keyed[0], "label": "m"}]
    assert len(_in_any_grouping(things, keyed, column)) == 1


@given(rows=st.lists(ROWS, min_size=2, max_size=3, unique_by=lambda row: row["seen_at"]))
@settings(max_examples=60, deadline=None)
def test_full_rows_of_different_times_end_with_the_newest_in_any_order(
    things: TableSpec, rows: list[dict[str, Any]]
) -> None:
    """An older observation never overwrites a newer one, however they arrive (I4)."""
    keyed = [{**row, "thing_id": "1", "newest": f"v{i}", "winner": f"w{i}"} for i, row in enumerate(rows)]
    best = max(keyed, key=lambda row: row["seen_at"] or datetime.min.replace(tzinfo=UTC))
    assert {best["newest"]} == _in_any_grouping(things, keyed, "newest")
    assert {best["winner"]} == _in_any_grouping(things, keyed, "winner")


@given(rows=st.lists(ROWS, min_size=2, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_weak_value_never_survives_beside_a_strong_one(things: TableSpec, rows: list[dict[str, Any]]) -> None:
    """INVITED never replaces another value, and any other value replaces it, whatever the guard says [MRG-4]."""
    keyed = [{**row, "thing_id": "1"} for row in rows]
    carried = {row["weak"] for row in keyed} - {None}
    if carried - {"INVITED"}:
        assert "INVITED" not in _in_any_grouping(things, keyed, "weak")
    else:
        assert {next(iter(carried), None)} == _in_any_grouping(things, keyed, "weak")


def test_a_late_failure_changes_nothing_of_a_success(things: TableSpec) -> None:
    """A row without clock over a row with one leaves guarded, winner and weak columns as they are [INV-1]."""
    success = {"thing_id": "1", "seen_at": MINUTES[0], "weak_at_once": "completed", "created_at": MINUTES[0]}
    failure = {"thing_id": "1", "weak_at_once": "failed", "winner": "E", "guarded": "g", "created_at": MINUTES[1]}
    before = combine(things, [success])[0]
    assert before == _fold(things, before, failure)


def test_a_success_clears_the_error_of_a_failure(things: TableSpec) -> None:
    """Winner takes the newer row's null [INV-1]."""
    failure = {"thing_id": "1", "winner": "E", "weak_at_once": "failed", "created_at": MINUTES[0]}
    success = {"thing_id": "1", "weak_at_once": "completed", "seen_at": MINUTES[1], "created_at": MINUTES[1]}
    end = combine(things, [success, failure])[0]
    assert (end["winner"], end["weak_at_once"]) == (None, "completed")


def test_uploaded_never_replaces_completed_of_the_same_download(things: TableSpec) -> None:
    """At an equal clock the weak value loses in both orders; a newer download starts again [INV-1]."""
    rows = [
        {"thing_id": "1", "seen_at": MINUTES[0], "weak_at_once": status, "created_at": MINUTES[0]}
        for status in ("completed", "uploaded")
    ]
    assert {"completed"} == _in_any_grouping(things, rows, "weak_at_once")
    newer = {**rows[1], "seen_at": MINUTES[0] + timedelta(seconds=1)}
    assert combine(things, [rows[0], newer])[0]["weak_at_once"] == "uploaded"


def test_a_flag_that_is_true_wins_where_it_must(things: TableSpec) -> None:
    """A false is weak only in rows of the named kind (settled point 3); elsewhere the newest decides."""
    old: dict[str, Any] = {"thing_id": "1", "seen_at": MINUTES[0], "flag": True, "created_at": MINUTES[0]}
    new: dict[str, Any] = {"thing_id": "1", "seen_at": MINUTES[1], "flag": False, "created_at": MINUTES[0]}
    ends = {kind: _in_any_grouping(things, [old | {"kind": kind}, new | {"kind": kind}], "flag") for kind in "PQ"}
    assert ends == {"P": {True}, "Q": {False}}


def test_a_null_label_never_competes(things: TableSpec) -> None:
    """An API answer without the value, however new, leaves the observed one (settled point 2)."""
    rows: list[dict[str, Any]] = [
        {"thing_id": "1", "label": "M", "label_seen_at": MINUTES[0], "seen_at": MINUTES[0], "created_at": MINUTES[0]},
        {"thing_id": "1", "label": None, "label_seen_at": MINUTES[2], "seen_at": MINUTES[2], "created_at": MINUTES[0]},
    ]
    assert {"M"} == _in_any_grouping(things, rows, "label")
    assert {MINUTES[0]} == _in_any_grouping(things, rows, "label_seen_at")
