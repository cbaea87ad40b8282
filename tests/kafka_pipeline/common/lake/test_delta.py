"""Merging into real Delta tables on a local disk."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake import delta
from kafka_pipeline.common.lake.delta import DeltaStore, Written
from kafka_pipeline.common.lake.faults import CONFLICT
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.merge import LISTED_KEYS
from kafka_pipeline.common.lake.rules import Kept
from kafka_pipeline.common.lake.tables import INT, STRING, TIMESTAMP, Column, Mode, TableSpec

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)


def _rows(ids: Sequence[str], **values: Any) -> list[dict[str, Any]]:
    return [{"thing_id": i, "created_at": NOW, **values} for i in ids]


def _opened(location: LakeLocation, spec: TableSpec) -> DeltaTable:
    return DeltaTable(location.table_uri(spec.name), storage_options=location.delta_options())


def test_a_table_is_made_with_its_explicit_schema_and_no_reader_feature(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """Fabric, Spark, Power BI and DuckDB all read protocol 1/2: no deletion vectors, no column mapping."""
    store.ensure(things)
    table = _opened(location, things)
    assert [f.name for f in table.schema().fields] == list(things.names)
    assert {f.name for f in table.schema().fields if not f.nullable} == {"thing_id", "created_at"}
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert not protocol.reader_features


def test_nothing_to_write_is_no_commit(store: DeltaStore, location: LakeLocation, things: TableSpec) -> None:
    """Empty input is a no-op [MRG-7]: it does not even create the table."""
    assert store.merge(things, []) == Written()
    options = location.delta_options()
    assert not DeltaTable.is_deltatable(location.table_uri(things.name), storage_options=options)


def test_a_write_tells_what_other_writers_did_since_the_last_one(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """By their commits; the own ones and those before the first write do not count."""
    other = DeltaStore(location)
    other.merge(things, _rows(["a"]))
    assert [store.merge(things, _rows([i])).others for i in "12"] == [0, 0]
    for i in "bc":
        other.merge(things, _rows([i]))
    written = store.merge(things, _rows(["3"]))
    assert written.others == 2
    assert written.since_s >= written.commit_s > 0
    assert store.merge(things, _rows(["4"])).others == 0


def test_a_merge_inserts_new_rows_and_updates_stored_ones(store: DeltaStore, things: TableSpec) -> None:
    """Nulls stay out, created_at survives, equal keys of a batch become one row (I3, I4)."""
    store.merge(things, _rows(["1", "2"], newest="a", words=["w"]))
    later = [{"thing_id": i, "number": 1, "created_at": NOW.replace(hour=20)} for i in ("2", "3", "3")]
    written = store.merge(things, later)
    assert (written.rows, written.inserted, written.updated) == (2, 1, 1)
    found = {row["thing_id"]: row for row in store.existing(things, ["1", "2", "3"])}
    assert (found["2"]["newest"], found["2"]["words"], found["2"]["number"]) == ("a", ["w"], 1)
    assert found["2"]["created_at"] == NOW
    assert len(found) == 3


def test_replaying_a_merge_changes_nothing(store: DeltaStore, things: TableSpec) -> None:
    """The same rows again leave every cell as it is (I6)."""
    rows = [*_rows(["1", "2"], newest="a", seen_at=NOW, label="L", label_seen_at=NOW), *_rows(["1"], newest="z")]
    store.merge(things, rows)
    before = store.existing(things, ["1", "2"])
    store.merge(things, rows)
    assert sorted(map(str, before)) == sorted(map(str, store.existing(things, ["1", "2"])))


def test_an_insert_only_merge_leaves_stored_rows_and_rewrites_no_file(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """Known rows are passed over; files are only added."""
    spec = replace(things, mode=Mode.INSERT_ONLY)
    store.merge(spec, _rows(["1", "2"], newest="first"))
    files = set(_opened(location, spec).file_uris())
    written = store.merge(spec, _rows(["2", "3"], newest="second"))
    assert (written.inserted, written.updated, written.known) == (1, 0, 1)
    assert files < set(_opened(location, spec).file_uris())
    assert {row["thing_id"]: row["newest"] for row in store.existing(spec, ["1", "2", "3"])} == {
        "1": "first",
        "2": "first",
        "3": "second",
    }


def _time_ordered(milliseconds: int, count: int) -> list[str]:
    return [str(uuid.UUID(int=((milliseconds + i) << 80) | (uuid.uuid4().int >> 48))) for i in range(count)]


def test_key_ranges_skip_the_files_of_other_times(store: DeltaStore, location: LakeLocation, things: TableSpec) -> None:
    """New time-ordered ids with a few old ones scan only the files of those few; 36 characters have statistics."""
    store.ensure(things)
    old = [_time_ordered(1_772_000_000_000 + hour * 3_600_000, 50) for hour in range(20)]
    for ids in old:
        data = pa.Table.from_pylist(_rows(ids), schema=things.schema)
        options = location.delta_options()
        write_deltalake(location.table_uri(things.name), data, mode="append", storage_options=options)
    fresh = _time_ordered(1_772_900_000_000, 100)
    assert store.merge(things, _rows(fresh)).files_scanned == 0
    mixed = store.merge(things, _rows([old[3][7], old[11][0], *_time_ordered(1_773_000_000_000, 100)]))
    assert (mixed.updated, mixed.inserted, mixed.files_scanned) == (2, 100, 2)


def test_many_old_keys_among_new_ones_are_looked_for_in_their_own_files(tmp_path: Path, things: TableSpec) -> None:
    """A file that cannot hold one is not even opened: here it is not there any more."""
    store, location = DeltaStore(LakeLocation.parse(tmp_path)), LakeLocation.parse(tmp_path)
    store.ensure(things)
    hours = [_time_ordered(1_772_000_000_000 + hour * 3_600_000, 5) for hour in range(50)]
    for ids in hours:
        data = pa.Table.from_pylist(_rows(ids), schema=things.schema)
        write_deltalake(location.table_uri(things.name), data, mode="append")
    old = [ids[hour % 5] for hour, ids in enumerate(hours) if hour % 2]
    for file in pa.table(_opened(location, things).get_add_actions(flatten=True)).to_pylist():
        if not any(file["min.thing_id"] <= key <= file["max.thing_id"] for key in old):
            (Path(location.table_uri(things.name)) / file["path"]).unlink()
    written = store.merge(things, _rows([*old, *_time_ordered(1_773_000_000_000, 475)]))
    assert (written.updated, written.inserted) == (25, 475)


@pytest.mark.parametrize("large_bytes", [0, 2**40], ids=["large", "small"])
def test_old_rows_among_recent_ones_do_not_mix_the_last_file(
    tmp_path: Path, things: TableSpec, monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    """It is what the next merges of recent rows write anew; in a large table it goes on holding recent rows alone.

    A small table is mixed: that costs less than a second commit.
    """
    monkeypatch.setattr(delta, "LARGE_BYTES", large_bytes)
    store, location = DeltaStore(LakeLocation.parse(tmp_path)), LakeLocation.parse(tmp_path)
    store.ensure(things)
    hours = [_time_ordered(1_772_000_000_000 + hour * 3_600_000, 50) for hour in range(10)]
    for ids in hours:
        data = pa.Table.from_pylist(_rows(ids), schema=things.schema)
        write_deltalake(location.table_uri(things.name), data, mode="append")
    new = _time_ordered(1_772_000_000_000 + 10 * 3_600_000, 20)
    version = _opened(location, things).version()
    written = store.merge(things, _rows([hours[1][3], hours[4][9], *hours[9], *new]))
    assert (written.rows, written.updated, written.inserted) == (72, 52, 20)
    files = pa.table(_opened(location, things).get_add_actions(flatten=True)).to_pylist()
    mixed = [file for file in files if file["min.thing_id"] < hours[9][0] <= file["max.thing_id"]]
    assert len(mixed) == (1 if large_bytes else 0)
    assert _opened(location, things).version() == version + (1 if large_bytes else 2)
    assert len(store.existing(things, [key for ids in (*hours, new) for key in ids])) == 520


TEXTS = st.one_of(st.text(max_size=8), st.text("'\\\"%_;- \u0000\u00e9\U0010ffff", min_size=1, max_size=90))


@given(keys=st.lists(TEXTS, min_size=2, max_size=24, unique=True))
@example(keys=["'; DROP TABLE x; --", "\\'", "a\\", "''", "' OR '1'='1", "\x00", "", "{}", "$1", ":a", "?", "/*"])
@example(keys=["p" * 100 + c for c in "abcdefghijklmn"])
@settings(max_examples=20, deadline=None)
def test_keys_of_any_text_are_found_again_and_never_doubled(things: TableSpec, keys: list[str]) -> None:
    """Quotes, backslashes, control characters, long and astral keys: a merge of known keys inserts none."""
    with tempfile.TemporaryDirectory() as folder:
        store = DeltaStore(LakeLocation.parse(Path(folder)))
        half = keys[: len(keys) // 2]
        store.merge(things, _rows(half))
        again = store.merge(things, _rows(keys))
        assert (again.inserted, again.updated) == (len(keys) - len(half), len(half))
        assert sorted(keys) == sorted(row["thing_id"] for row in store.existing(things, keys, ["newest"]))


def test_a_look_up_returns_the_asked_keys_and_columns_only(store: DeltaStore, things: TableSpec) -> None:
    """Unknown keys and unknown tables have no rows; keys come along."""
    assert store.existing(things, ["1"]) == []
    assert store.existing(things, []) == []
    store.merge(things, _rows([str(i) for i in range(30)], newest="n"))
    found = store.existing(things, ["3", ("7",), "99"], ["newest"])
    assert sorted(found, key=str) == [{"thing_id": "3", "newest": "n"}, {"thing_id": "7", "newest": "n"}]


def test_a_look_up_of_many_keys_is_exact(store: DeltaStore, things: TableSpec) -> None:
    """Too many to be listed: ranges find them, and nothing between them."""
    ids = [f"{i:04}" for i in range(3 * LISTED_KEYS)]
    store.merge(things, _rows(ids, newest="n"))
    asked = [*ids[::2], "x"]
    assert sorted(asked[:-1]) == sorted(row["thing_id"] for row in store.existing(things, asked, ["newest"]))


PAIRS = TableSpec(
    name="pairs",
    columns=(
        Column("a", STRING, nullable=False),
        Column("b", STRING, nullable=False),
        Column("n", INT),
        Column("created_at", TIMESTAMP, nullable=False, rule=Kept()),
    ),
    keys=("a", "b"),
)


def test_composite_keys_match_as_a_whole(store: DeltaStore) -> None:
    """(x, 1) and (x, 2) are different rows; a look-up may ask for either or for all of x."""
    store.merge(PAIRS, [{"a": a, "b": b, "n": 1, "created_at": NOW} for a in "xy" for b in "12"])
    store.merge(PAIRS, [{"a": "x", "b": "2", "n": 5, "created_at": NOW}])
    assert [row["n"] for row in store.existing(PAIRS, [("x", "2")])] == [5]
    assert sorted(row["n"] for row in store.existing(PAIRS, [("x",)])) == [1, 5]


def test_a_new_column_is_added_and_a_foreign_one_is_kept(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """Schemas grow on both sides without loss [MRG-7]."""
    smaller = replace(things, columns=tuple(c for c in things.columns if c.name not in ("number", "words")))
    store.merge(smaller, _rows(["1"], newest="a"))
    foreign = pa.schema([*smaller.schema, pa.field("theirs", pa.string())])
    data = pa.Table.from_pylist(_rows(["2"], theirs="keep me"), schema=foreign)
    write_deltalake(
        location.table_uri(things.name),
        data,
        mode="append",
        schema_mode="merge",
        storage_options=location.delta_options(),
    )
    grown = DeltaStore(location)
    grown.merge(things, _rows(["1", "2", "3"], number=5, words=["w"]))
    table = pa.table(_opened(location, things).scan()).to_pylist()
    assert {row["thing_id"]: (row["number"], row["words"]) for row in table} == dict.fromkeys("123", (5, ["w"]))
    assert {row["thing_id"]: row["theirs"] for row in table} == {"1": None, "2": "keep me", "3": None}
    assert {row["thing_id"]: row["newest"] for row in store.existing(things, ["1"])} == {"1": "a"}


def test_a_column_that_the_table_lacks_is_null_to_a_reader(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """A newer reader meets an older table without failing, and without altering it."""
    smaller = replace(things, columns=tuple(c for c in things.columns if c.name != "number"))
    store.merge(smaller, _rows(["1"]))
    assert DeltaStore(location).existing(things, ["1"], ["number"]) == [{"thing_id": "1", "number": None}]


def test_another_type_than_declared_is_permanent(store: DeltaStore, location: LakeLocation, things: TableSpec) -> None:
    """Nothing is cast in silence [7.4]."""
    store.merge(things, _rows(["1"]))
    other = tuple(Column(c.name, STRING) if c.name == "number" else c for c in things.columns)
    with pytest.raises(PipelineError, match=r"things\.number has another type") as caught:
        DeltaStore(location).merge(replace(things, columns=other), _rows(["1"], number="5"))
    assert caught.value.category is Category.PERMANENT


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_a_table_that_was_deleted_and_made_anew_is_found_again(
    location: LakeLocation, store: DeltaStore, things: TableSpec
) -> None:
    """After a failure the handle is opened anew: repeating the call succeeds."""
    store.merge(things, _rows(["1"]))
    Path(location.table_uri("things")).rename(Path(location.root) / "gone")
    with pytest.raises(PipelineError):
        store.merge(things, _rows(["2"]))
    store.merge(things, _rows(["2"]))
    assert [row["thing_id"] for row in store.existing(things, ["1", "2"], [])] == ["2"]


def test_endless_conflicts_end_as_a_transient_failure(
    location: LakeLocation, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five rounds with short pauses, then the caller decides; nothing was written."""
    pauses: list[float] = []
    store = DeltaStore(location, sleep=pauses.append, jitter=lambda: 0.5)
    rival = DeltaStore(location)
    rival.ensure(things)
    merge = store._merge

    def always_late(spec: TableSpec, table: DeltaTable, *args: Any) -> Written:
        rival.merge(things, _rows(["1"], newest="rival"))
        return merge(spec, table, *args)

    monkeypatch.setattr(store, "_merge", always_late)
    with pytest.raises(PipelineError, match="lost against other writers 5 times") as caught:
        store.merge(things, _rows(["1"], newest="late"))
    assert (caught.value.category, caught.value.reason) == (Category.TRANSIENT, CONFLICT)
    assert pauses == [0.05, 0.1, 0.2, 0.2, 0.2]
    assert rival.existing(things, ["1"], ["newest"]) == [{"thing_id": "1", "newest": "rival"}]
