"""The verifier finds every kind of planted difference, and nothing in a lake that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.simulator.expectation import Matcher, Truth
from kafka_pipeline.simulator.lake import row_times
from kafka_pipeline.simulator.verifier import DifferenceKind, VerificationReport, verify

Rows = list[dict[str, Any]]
Change = Callable[[str, Rows], None]


def _in(table: str, change: Callable[[Rows], object]) -> Change:
    """Change one table's rows and leave the others."""
    return lambda name, rows: None if name != table else (change(rows), None)[1]


def _kinds(report: VerificationReport) -> dict[str, dict[str, int]]:
    parts = {**report.tables, "Files": report.files}
    counts = {name: {kind.value: count for kind, count in part.differences.items()} for name, part in parts.items()}
    return {name: count for name, count in counts.items() if count}


def _files(root: Path) -> list[Path]:
    return sorted(path for path in (root / "Files").rglob("*") if path.is_file())


def test_a_lake_that_is_right_is_right(make_lake: Any, small_truth: Truth) -> None:
    """Every row and every byte is counted, and nothing is amiss."""
    report = verify(make_lake(), small_truth)
    assert (report.ok, report.differences, report.difference_count) == (True, (), 0)
    counts = {name: (table.expected, table.found) for name, table in report.tables.items()}
    assert {name: (len(table.rows), len(table.rows)) for name, table in small_truth.tables.items()} == counts
    assert (len(small_truth.files), small_truth.file_bytes) == (report.files.found, report.file_bytes)
    assert all(expected for expected, _ in counts.values())


@pytest.mark.parametrize(
    "table", ["claimx_events", "claimx_projects", "claimx_contacts", "claimx_media", "claimx_attachments"]
)
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("missing", lambda rows: rows.pop()),
        ("doubled", lambda rows: rows.append(dict(rows[0]))),
        ("different", lambda rows: rows[0].update(created_at=None)),
    ],
)
def test_a_planted_difference_is_found(
    make_lake: Any, small_truth: Truth, table: str, kind: str, change: Callable[[Rows], object]
) -> None:
    """One row less, one twice, or one column null is told for that table and for no other."""
    report = verify(make_lake(_in(table, change)), small_truth)
    expected = {kind: 2 if kind == "different" and table in {"claimx_contacts", "claimx_attachments"} else 1}
    assert (False, {table: expected}) == (report.ok, _kinds(report))
    assert len(report.differences) == report.difference_count


def test_a_row_that_nobody_expects_is_extra(make_lake: Any, small_truth: Truth) -> None:
    """A row under a key of its own is told by its key."""
    change = _in("claimx_media", lambda rows: rows.append({**rows[0], "media_id": "1"}))
    report = verify(make_lake(change), small_truth)
    assert report.differences == ("claimx_media 1: extra",)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("claimx_events", "raw_data", "{}"),
        ("claimx_events", "media_id", "0"),
        ("claimx_projects", "zip_postcode", "1"),
        ("claimx_projects", "master_file_name", "stale"),
        ("claimx_contacts", "contact_type", "NOBODY"),
        ("claimx_media", "full_download_link", "http://api.example.com/x?signed=1"),
        ("claimx_attachments", "content_sha256", "0" * 64),
        ("claimx_attachments", "bytes_downloaded", 1),
        ("claimx_attachments", "status", "uploaded"),
        ("claimx_attachments", "error_category", "transient"),
    ],
)
def test_a_wrong_column_is_named_and_its_value_is_not(
    make_lake: Any, small_truth: Truth, table: str, column: str, value: object
) -> None:
    """The line has table, key and column; neither the value found nor the one expected."""
    report = verify(make_lake(_in(table, lambda rows: rows[0].update({column: value}))), small_truth)
    key = "/".join(str(part) for part in next(iter(small_truth.tables[table].rows)))
    assert (f"{table} {key}: {column} different",) == report.differences


COLUMNS = [(spec.name, column) for spec in TABLES.values() for column in spec.names]


def _wrong(expected: object, found: object, sample: object) -> object:
    """Return a value of the column that is not the one that must be there."""
    if expected is Matcher.PRESENT:
        return None
    match sample if found is None else found:
        case bool() as flag:
            return not flag
        case datetime() as moment:
            return moment + timedelta(microseconds=1)
        case date() as day:
            return day + timedelta(days=1)
        case int() | float() as number:
            return number + 1
        case text:
            return f"{text}!"


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[f"{table}.{column}" for table, column in COLUMNS])
def test_a_wrong_value_is_found_in_every_column_of_every_table(
    tmp_path: Path, make_table: Callable[..., None], small_truth: Truth, table: str, column: str
) -> None:
    """In each of its rows; a wrong key is a row too much and one too few. Reserved columns are no exception."""
    expected = small_truth.tables[table]

    def spoil(rows: Rows) -> None:
        sample = next((row[column] for row in rows if row[column] is not None), None)
        for row, wanted in zip(rows, expected.rows.values(), strict=True):
            row[column] = _wrong(wanted[column], row[column], sample)

    make_table(table, spoil)
    report = verify(tmp_path, replace(small_truth, tables={table: expected}, files={}), max_lines=10_000)
    if column in expected.key_columns:
        assert _kinds(report) == {table: {"missing": len(expected.rows), "extra": len(expected.rows)}}
    else:
        lines = [line for line in report.differences if line.endswith(f": {column} different")]
        assert len(lines) == len(expected.rows) > 0


def test_the_truth_knows_every_column_of_every_table(small_truth: Truth) -> None:
    """A column that nobody expects anything of would hold anything unnoticed; one that no table has would be none."""
    for spec in TABLES.values():
        expected = small_truth.tables[spec.name]
        assert {frozenset(row) for row in expected.rows.values()} == {frozenset(spec.names)}
        assert expected.key_columns == spec.keys


def test_a_date_that_is_not_its_times_is_found(make_lake: Any, small_truth: Truth) -> None:
    """event_date must be the day of the row's own ingested_at, also where that time is not known beforehand."""

    def shift(rows: Rows) -> None:
        row = next(row for row in rows if row["ingested_at"] is not None)
        row["event_date"] += timedelta(1)

    report = verify(make_lake(_in("claimx_events", shift)), small_truth)
    assert _kinds(report) == {"claimx_events": {"different": 1}}


def test_an_absent_column_is_told_once(make_lake: Any, small_truth: Truth) -> None:
    """Not once per row."""

    def drop(rows: Rows) -> None:
        for row in rows:
            del row["taken_date"]

    report = verify(make_lake(_in("claimx_media", drop)), small_truth)
    assert report.differences == ("claimx_media: taken_date missing",)


def test_an_absent_table_misses_all_its_rows(tmp_path: Path, small_truth: Truth) -> None:
    """An empty lake has nothing of anything, and at most as many lines as asked for."""
    report = verify(tmp_path, small_truth, max_lines=7)
    missing = sum(len(table.rows) for table in small_truth.tables.values()) + len(small_truth.files)
    assert (missing, 7, 0) == (report.difference_count, len(report.differences), report.file_bytes)
    assert all({DifferenceKind.MISSING} == set(table.differences) for table in report.tables.values())


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (Path.unlink, {"missing": 1}),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), {"different": 1}),
        (lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]), {"different": 1}),
        (lambda path: path.with_name(path.name + ".part").write_bytes(b"x"), {"extra": 1}),
        (lambda path: path.rename(path.with_name("other.jpg")), {"missing": 1, "extra": 1}),
    ],
)
def test_a_harmed_file_is_found_and_its_name_is_not_told(
    make_lake: Any, small_truth: Truth, harm: Callable[[Path], object], expected: dict[str, int]
) -> None:
    """Absent, shorter, with one bit changed, left over or misnamed: told by ids, without the file's name."""
    root = make_lake()
    path = next(path for path in _files(root) if path.suffix == ".jpg" and len(path.stem) < 100)
    harm(path)
    report = verify(root, small_truth)
    assert {"Files": expected} == _kinds(report)
    assert all(line.startswith("Files claimx/9") and ".jpg" not in line for line in report.differences)


def test_only_the_newest_version_counts(make_lake: Any, small_truth: Truth) -> None:
    """A row that was deleted from the table is missing, whatever older versions hold."""
    root = make_lake()
    DeltaTable(str(root / "Tables" / "claimx_media")).delete()
    report = verify(root, small_truth)
    assert {"claimx_media": {"missing": len(small_truth.tables["claimx_media"].rows)}} == _kinds(report)


def test_a_time_without_zone_is_different(make_lake: Any, small_truth: Truth) -> None:
    """Tables hold moments: a column of local times is wrong in every row."""
    root = make_lake()
    path = str(root / "Tables" / "claimx_events")
    arrow = pa.Table.from_batches(DeltaTable(path).to_pyarrow_dataset().to_batches())
    place = arrow.schema.get_field_index("ingested_at")
    naive = arrow.column(place).cast(pa.timestamp("us"))
    write_deltalake(path, arrow.set_column(place, "ingested_at", naive), mode="overwrite", schema_mode="overwrite")
    report = verify(root, small_truth)
    assert any("ingested_at different" in line for line in report.differences)


def test_row_times_are_those_of_the_rows(make_lake: Any, small_truth: Truth) -> None:
    """Each table's creation times come by the id that an event or a file is known by."""
    times = row_times(make_lake())
    for name, found in (
        ("claimx_events", times.events),
        ("claimx_projects", times.projects),
        ("claimx_media", times.media),
        ("claimx_attachments", times.attachments),
    ):
        assert {str(key[0]) for key in small_truth.tables[name].rows} == set(found)
        assert all(moment.utcoffset() == timedelta(0) for moment in found.values())
