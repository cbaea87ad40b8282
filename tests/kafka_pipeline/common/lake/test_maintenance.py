"""Promises of a table's upkeep, in a folder and on Azurite: no row is lost or changed, whoever writes beside it."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.layout import Limits
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.maintenance import LEAST_RETENTION_HOURS, TableKeeper
from kafka_pipeline.common.lake.tables import TableSpec

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
SMALL = Limits(target_bytes=20_000, part_bytes=1_000_000, few=3)
TINY = Limits(target_bytes=20_000, part_bytes=20_000, few=3)
"""With these every table is too large to be sorted in memory."""
WEEK = 168
Row = dict[str, Any]


def row(number: int, **values: Any) -> Row:
    """Return a row of things."""
    return {"thing_id": f"{number:06d}", "newest": f"{number:064d}", "seen_at": NOW, "created_at": NOW} | values


def opened(location: LakeLocation, spec: TableSpec) -> DeltaTable:
    """Open a table as a reader does."""
    return DeltaTable(location.table_uri(spec.name), storage_options=location.delta_options())


def rows_of(location: LakeLocation, spec: TableSpec) -> list[Row]:
    """Return all rows, by key."""
    rows: list[Row] = opened(location, spec).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda each: str(each[spec.keys[0]]))


def ranges(location: LakeLocation, spec: TableSpec) -> list[tuple[str, str]]:
    """Return the range of keys of each file, in key order."""
    adds = pa.table(opened(location, spec).get_add_actions(flatten=True)).to_pylist()
    key = spec.keys[0]
    return sorted((each[f"min.{key}"], each[f"max.{key}"]) for each in adds)


def fill(store: DeltaStore, things: TableSpec, *, merges: int = 10, rows: int = 200) -> None:
    """Merge rows whose keys lie all over, so that files overlap."""
    for merge in range(merges):
        store.merge(things, [row((number * 7_919 + merge * 31) % 5_000) for number in range(rows)])


def in_order(keeper: TableKeeper) -> list[bool]:
    """Do everything that is to be done."""
    survey = keeper.survey()
    assert survey is not None
    return [keeper.rewrite(step) for step in survey.steps]


@pytest.mark.parametrize(("limits", "name"), [(SMALL, "stretch 1 of 1"), (TINY, "the whole table")])
def test_files_are_in_key_order_afterwards_and_every_row_is_what_it_was(
    store: DeltaStore, location: LakeLocation, things: TableSpec, limits: Limits, name: str
) -> None:
    """Disjoint ranges; equal rows, equal schema; and a second look finds nothing more to do."""
    fill(store, things)
    before, schema = rows_of(location, things), opened(location, things).schema()
    keeper = TableKeeper(things, location, limits=limits)
    found = keeper.survey()
    assert found is not None
    assert [step.name for step in found.steps] == [name]
    assert all(in_order(keeper))
    assert rows_of(location, things) == before
    assert opened(location, things).schema() == schema
    files = ranges(location, things)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(files)), files
    after = keeper.survey()
    assert after is not None
    assert (after.steps, after.files) == ((), len(files))


def test_a_merge_after_it_opens_few_files(local_location: LakeLocation, things: TableSpec) -> None:
    """What it is for: a range of keys lies in few files again."""
    store = DeltaStore(local_location)
    fill(store, things, merges=30)
    limits = Limits(target_bytes=4_000, part_bytes=1 << 30, few=3)
    assert all(in_order(TableKeeper(things, local_location, limits=limits)))
    written = store.merge(things, [row(7, newest="again")])
    assert written.files_skipped > written.files_scanned


def test_a_writer_that_is_faster_keeps_its_rows(
    store: DeltaStore, location: LakeLocation, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge between our read and our commit: the commit is refused, read anew, and holds the merge."""
    fill(store, things, merges=6)
    beside = DeltaStore(location)
    keeper = TableKeeper(things, location, limits=SMALL, sleep=lambda _: None)
    attempts = _interfere(keeper, monkeypatch, lambda number: beside.merge(things, [row(number, newest="faster")]), 2)
    survey = keeper.survey()
    assert survey is not None
    assert keeper.rewrite(survey.steps[0])
    assert len(attempts) == 3
    found = {each["thing_id"]: each["newest"] for each in rows_of(location, things)}
    assert [found[f"{number:06d}"] for number in (0, 1)] == ["faster", "faster"]


def test_a_whole_table_that_is_written_to_meanwhile_waits_for_a_quieter_time(
    store: DeltaStore, location: LakeLocation, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes long, so it is tried twice only; what the writer changed is there."""
    fill(store, things, merges=6)
    beside = DeltaStore(location)
    keeper = TableKeeper(things, location, limits=TINY, sleep=lambda _: None)
    survey = keeper.survey()
    assert survey is not None
    key = int(rows_of(location, things)[0]["thing_id"])
    attempts = _interfere(keeper, monkeypatch, lambda _: beside.merge(things, [row(key, newest="faster")]), 99)
    assert not keeper.rewrite(survey.steps[0])
    assert len(attempts) == 2
    assert rows_of(location, things)[0]["newest"] == "faster"


def test_a_part_that_is_never_left_alone_waits_for_a_quieter_time(
    store: DeltaStore, location: LakeLocation, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tries are bounded; nothing was changed, and the writer lost nothing and waited for nobody."""
    fill(store, things, merges=6)
    beside = DeltaStore(location)
    pauses: list[float] = []
    keeper = TableKeeper(things, location, limits=SMALL, sleep=pauses.append, jitter=lambda: 0.5, tries=3)
    _interfere(keeper, monkeypatch, lambda number: beside.merge(things, [row(number, newest="faster")]), 99)
    survey = keeper.survey()
    assert survey is not None
    assert not keeper.rewrite(survey.steps[0])
    assert pauses == [0.5, 1.0, 2.0]
    assert [each["newest"] for each in rows_of(location, things)][:3] == ["faster"] * 3


def test_writers_and_upkeep_beside_each_other_lose_nothing(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """Two writers that merge all the time and an upkeep that never rests: every row is there with its last value."""
    fill(store, things, merges=4)
    expected = {each["thing_id"]: each["newest"] for each in rows_of(location, things)}
    writing = threading.Event()
    written: list[dict[str, str]] = [{}, {}]

    def write(which: int) -> None:
        beside = DeltaStore(location, tries=100)
        for turn in range(12):
            numbers = [which + 2 * ((turn * 37 + each) % 300) for each in range(40)]
            beside.merge(
                things, [row(number, newest=f"{which}-{turn}", seen_at=datetime.now(UTC)) for number in numbers]
            )
            written[which] |= {f"{number:06d}": f"{which}-{turn}" for number in numbers}

    writers = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]

    def keep() -> None:
        keeper = TableKeeper(things, location, limits=SMALL)
        while not writing.is_set():
            in_order(keeper)

    upkeep = threading.Thread(target=keep)
    upkeep.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    writing.set()
    upkeep.join()
    expected |= written[0] | written[1]
    assert {each["thing_id"]: each["newest"] for each in rows_of(location, things)} == expected
    operations = {each["operation"] for each in opened(location, things).history()}
    assert operations >= {"WRITE", "MERGE"}, "both came to their turn"


def test_a_partition_is_put_in_order_alone_and_inserts_go_on_beside_it(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Callable[..., Any]
) -> None:
    """Only where files are many; what is inserted meanwhile stays, and to readers nothing has changed (dataChange)."""
    for number in range(8):
        store.append_once(events, [event(f"a{number}", number, day=2)])
    store.append_once(events, [event("b", 99, day=3)])
    keeper = TableKeeper(events, location, limits=SMALL)
    survey = keeper.survey()
    assert survey is not None
    assert [(step.name, step.files) for step in survey.steps] == [("day=2026-03-02", 8)]
    DeltaStore(location).append_once(events, [event("c", 100, day=2)])
    assert keeper.rewrite(survey.steps[0])
    assert [each["event_id"] for each in rows_of(location, events)] == [*(f"a{n}" for n in range(8)), "b", "c"]
    assert len(ranges(location, events)) == 2
    assert opened(location, events).history(1)[0]["operation"] == "OPTIMIZE"
    assert opened(location, events).transaction_version("raw-0") == 100, "the ingester still knows where it stood (I2)"


def test_a_checkpoint_spares_readers_the_log(local_location: LakeLocation, things: TableSpec) -> None:
    """It is of the newest version, and reading from it gives the same rows."""
    fill(DeltaStore(local_location), things, merges=3, rows=5)
    before = rows_of(local_location, things)
    version = TableKeeper(things, local_location).checkpoint()
    log = Path(local_location.table_uri("things")) / "_delta_log"
    assert (log / f"{version:020d}.checkpoint.parquet").exists()
    for commit in log.glob("*.json"):
        commit.unlink()
    assert rows_of(local_location, things) == before


def test_vacuum_keeps_what_a_snapshot_of_the_retention_time_needs(
    local_location: LakeLocation, things: TableSpec
) -> None:
    """Files replaced a moment ago stay, and so does a file that a writer has not committed yet; old orphans go."""
    fill(DeltaStore(local_location), things, merges=5)
    keeper = TableKeeper(things, local_location, limits=SMALL)
    old = opened(local_location, things)
    assert all(in_order(keeper))
    folder = Path(local_location.table_uri("things"))
    fresh, orphan = folder / "part-fresh.parquet", folder / "part-orphan.parquet"
    fresh.write_bytes(b"x" * 7)
    orphan.write_bytes(b"x" * 11)
    os.utime(orphan, (0, 0))
    planned = keeper.vacuumable(WEEK)
    assert (planned.files, planned.size_bytes) == (1, 11)
    assert orphan.exists()
    done = keeper.vacuum(WEEK)
    assert (done.files, orphan.exists(), fresh.exists()) == (1, False, True)
    assert old.to_pyarrow_table().num_rows > 0, "who reads the old snapshot goes on"


def test_a_retention_that_takes_files_from_under_readers_is_refused(
    local_location: LakeLocation, things: TableSpec
) -> None:
    """The least is a day."""
    fill(DeltaStore(local_location), things, merges=1, rows=1)
    with pytest.raises(ValueError, match="from under a reader"):
        TableKeeper(things, local_location).vacuum(LEAST_RETENTION_HOURS - 1)


def test_a_table_that_is_not_there_is_no_failure(location: LakeLocation, things: TableSpec) -> None:
    """A fresh lake has none."""
    assert TableKeeper(things, location).survey() is None


def test_a_broken_table_is_told_without_a_path_or_a_cell(local_location: LakeLocation, things: TableSpec) -> None:
    """By the table of failures, as every other use of the lake (I10)."""
    fill(DeltaStore(local_location), things, merges=6, rows=50)
    keeper = TableKeeper(things, local_location, limits=SMALL)
    survey = keeper.survey()
    assert survey is not None
    for path in Path(local_location.table_uri("things")).glob("*.parquet"):
        path.unlink()
    with pytest.raises(PipelineError) as caught:
        keeper.rewrite(survey.steps[0])
    assert caught.value.text.startswith("compacting things failed: ")
    assert local_location.root not in caught.value.text


def _interfere(
    keeper: TableKeeper, monkeypatch: pytest.MonkeyPatch, deed: Callable[[int], object], times: int
) -> list[int]:
    """Do a deed between reading and committing, so many times; return a list that grows by one with each attempt."""
    attempts: list[int] = []
    plain = keeper._current

    def current() -> DeltaTable:
        table = plain()
        number = len(attempts)
        attempts.append(number)
        if number < times:
            deed(number)
        return table

    survey = keeper.survey

    def undisturbed() -> Any:
        with monkeypatch.context() as calm:
            calm.setattr(keeper, "_current", plain)
            return survey()

    monkeypatch.setattr(keeper, "_current", current)
    monkeypatch.setattr(keeper, "survey", undisturbed)
    return attempts
