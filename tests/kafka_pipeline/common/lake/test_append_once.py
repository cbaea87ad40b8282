"""Appends with their Kafka positions: nothing twice, nothing lost (I2, I6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore, Positioned, Written
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import Mode, TableSpec


def _opened(location: LakeLocation, spec: TableSpec) -> DeltaTable:
    return DeltaTable(location.table_uri(spec.name), storage_options=location.delta_options())


def _all(location: LakeLocation, spec: TableSpec) -> list[dict[str, Any]]:
    rows = pa.table(_opened(location, spec).scan()).to_pylist()
    return sorted(rows, key=lambda row: str(row["event_id"]))


def _recorded(location: LakeLocation, spec: TableSpec, app_id: str = "raw-0") -> int | None:
    return _opened(location, spec).transaction_version(app_id)


def test_a_redelivered_batch_adds_nothing_and_commits_nothing(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """The recorded offset and the keys tell that the batch is there (I2)."""
    batch = [event(f"e{i}", i) for i in range(5)]
    assert store.append_once(events, batch).inserted == 5
    version = _opened(location, events).version()
    again = DeltaStore(location).append_once(events, batch)
    assert (again.inserted, again.known) == (0, 5)
    assert _opened(location, events).version() == version
    assert _recorded(location, events) == 4


def test_offsets_are_recorded_per_partition_in_the_same_commit(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """The greatest offset of each partition goes with the rows, gaps and offset 0 included."""
    store.append_once(events, [event("a", 0), event("b", 7), event("c", 3, partition=1)])
    assert [_recorded(location, events, app) for app in ("raw-0", "raw-1", "raw-2")] == [7, 3, None]
    assert _opened(location, events).version() == 1


def test_a_batch_that_overlaps_a_stored_one_adds_the_rest(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """After a rebalance a batch may begin before the recorded offset and end behind it."""
    store.append_once(events, [event(f"e{i}", i) for i in range(5)])
    assert store.append_once(events, [event(f"e{i}", i) for i in range(3, 8)]).inserted == 3
    assert [row["event_id"] for row in _all(location, events)] == [f"e{i}" for i in range(8)]


def test_a_second_copy_under_another_offset_is_dropped(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """The key decides, the stored row stays (I2)."""
    store.append_once(events, [event("a", 0, text="first")])
    assert store.append_once(events, [event("a", 1, text="second"), event("a", 0, partition=3)]).inserted == 0
    assert [row["text"] for row in _all(location, events)] == ["first"]


def test_of_equal_keys_the_lowest_partition_and_offset_is_kept(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """Whatever the order in the batch (settled point 4); partition 2 is below partition 10."""
    copies = [
        event("a", 0, partition=10, text="10/0"),
        event("a", 9, partition=2, text="2/9"),
        event("a", 4, partition=2, text="2/4"),
    ]
    store.append_once(events, copies)
    assert [row["text"] for row in _all(location, events)] == ["2/4"]


def test_an_id_without_time_is_looked_for_in_all_partitions(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """Its day may differ between deliveries [EVW-1]; ids with time are bound to their day."""
    store.append_once(events, [event("zero", 0, day=2), event("e1", 1, day=2)])
    batch = [event("zero", 10, day=9, everywhere=True), event("e2", 11, day=9)]
    assert store.append_once(events, batch).inserted == 1
    assert [(row["event_id"], row["day"].day) for row in _all(location, events)] == [("e1", 2), ("e2", 9), ("zero", 2)]


def test_a_topic_that_was_made_anew_loses_nothing(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """New events at low offsets are written, although higher ones are recorded; the record does not go back."""
    store.append_once(events, [event("old", 500)])
    assert store.append_once(events, [event("new", 0), event("newer", 1)]).inserted == 2
    assert _recorded(location, events) == 500


def test_a_writer_with_a_stale_snapshot_is_refused_and_looks_again(
    location: LakeLocation, events: TableSpec, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie cannot commit on what it saw before its successor wrote; rerun, it finds everything there."""
    zombie = DeltaStore(location, sleep=lambda _: None)
    zombie.ensure(events)
    successor = DeltaStore(location)
    merge = zombie._merge
    tries: list[int] = []

    def late(spec: TableSpec, table: DeltaTable, *args: Any) -> Written:
        if not tries:
            successor.append_once(events, [event("a", 0), event("b", 1)])
        tries.append(table.version())
        return merge(spec, table, *args)

    monkeypatch.setattr(zombie, "_merge", late)
    assert zombie.append_once(events, [event("a", 0), event("b", 1)]).inserted == 0
    assert tries == [0]
    assert [row["event_id"] for row in _all(location, events)] == ["a", "b"]


def test_delta_refuses_a_stale_snapshot_of_the_same_application(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """What the fence rests on: disjoint keys, equal app id, one of the two commits fails."""
    store.ensure(events)
    stale = _opened(location, events)
    store.append_once(events, [event("a", 5)])
    with pytest.raises(CommitFailedError):
        stale.merge(
            _opened(location, events).scan(),
            predicate="t.event_id = s.event_id AND t.event_id = 'z'",
            source_alias="s",
            target_alias="t",
            commit_properties=CommitProperties(app_transactions=[Transaction("raw-0", 6)]),
        ).when_not_matched_insert_all().execute()


def test_two_processes_with_one_new_event_store_it_once(
    location: LakeLocation, events: TableSpec, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second copy meets a conflict, looks again and is dropped, also if it is on another day."""
    one, other = DeltaStore(location, sleep=lambda _: None), DeltaStore(location)
    one.ensure(events)
    merge = one._merge
    raced: list[Written] = []

    def late(spec: TableSpec, table: DeltaTable, *args: Any) -> Written:
        if not raced:
            raced.append(other.append_once(events, [event("same", 0, partition=1, day=3, everywhere=True)]))
        return merge(spec, table, *args)

    monkeypatch.setattr(one, "_merge", late)
    written = one.append_once(events, [event("same", 0, day=2, everywhere=True), event("mine", 1)])
    assert (written.inserted, written.known) == (1, 1)
    assert [row["event_id"] for row in _all(location, events)] == ["mine", "same"]


def test_a_commit_whose_answer_was_lost_is_recognised(
    location: LakeLocation, store: DeltaStore, events: TableSpec, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write succeeded, the reply did not come: repeating the call finds the rows and adds none."""
    merge = store._merge

    def cut(*args: Any) -> Written:
        merge(*args)
        raise OSError("error sending request: connection reset")

    monkeypatch.setattr(store, "_merge", cut)
    with pytest.raises(PipelineError) as caught:
        store.append_once(events, [event("a", 0)])
    assert caught.value.category is Category.TRANSIENT
    monkeypatch.setattr(store, "_merge", merge)
    assert store.append_once(events, [event("a", 0)]).inserted == 0
    assert len(_all(location, events)) == 1


def test_a_malformed_row_fails_before_anything_is_written(
    store: DeltaStore, location: LakeLocation, events: TableSpec, event: Any
) -> None:
    """The whole call fails for good; its good rows can be given again without it."""
    bad = event("b", 1)._replace(row={"event_id": "b", "day": None})
    with pytest.raises(PipelineError, match=r"events\.day must not be null"):
        store.append_once(events, [event("a", 0), bad])
    store.append_once(events, [event("c", 2)])
    assert store.append_once(events, [event("a", 0)]).inserted == 1, "a failed row below a later offset is not lost"
    assert [row["event_id"] for row in _all(location, events)] == ["a", "c"]


def test_an_upsert_table_cannot_be_appended_to(store: DeltaStore, events: TableSpec, event: Any) -> None:
    """Positions make sense where rows never change."""
    spec = replace(events, partition_by=(), mode=Mode.UPSERT)
    with pytest.raises(ValueError, match="not insert-only"):
        store.append_once(spec, [event("a", 0)])
    assert store.append_once(events, []) == Written()


DELIVERIES = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True), min_size=1, max_size=5)


@given(deliveries=DELIVERIES, everywhere=st.booleans())
@settings(max_examples=15, deadline=None)
def test_any_deliveries_of_a_log_end_with_each_event_once(
    tmp_path_factory: pytest.TempPathFactory,
    events: TableSpec,
    event: Any,
    deliveries: list[list[int]],
    everywhere: bool,  # noqa: FBT001 - Hypothesis draws it
) -> None:
    """Redelivered, overlapping and unordered batches, by restarted writers: every event delivered is stored once."""
    location = LakeLocation.parse(tmp_path_factory.mktemp("lake"))
    for offsets in deliveries:
        rows: list[Positioned] = [event(f"e{o // 2}", o, everywhere=everywhere) for o in offsets]
        DeltaStore(location).append_once(events, rows)
    assert [row["event_id"] for row in _all(location, events)] == sorted(
        {f"e{o // 2}" for offsets in deliveries for o in offsets}
    )
