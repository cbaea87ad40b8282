"""Promises of the batcher: order per key, overlap, bounded batches, nothing forgotten."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.messaging import Record, TopicPartition
from kafka_pipeline.common.runtime.batching import Batcher, Delivery, Ordering


def delivery(offset: int, key: bytes | None = None, partition: int = 0) -> Delivery:
    """Make a delivered record."""
    return Delivery(Record(topic="t", partition=partition, offset=offset, key=key, value=b"x" * (offset + 1)), 1)


def offsets(batch: list[Delivery]) -> list[int]:
    """Return what a batch holds."""
    return [each.record.offset for each in batch]


def test_a_full_batch_is_due_at_once() -> None:
    """Size decides before time does."""
    batcher = Batcher(max_records=2, linger_s=10, ordering=Ordering.ARRIVAL)
    batcher.add([delivery(0)], 100.0)
    assert batcher.due_in(100.0) == 10
    batcher.add([delivery(1)], 101.0)
    assert batcher.due_in(101.0) == 0


def test_the_oldest_record_waits_no_longer_than_the_linger() -> None:
    """Later arrivals do not start the wait anew."""
    batcher = Batcher(max_records=10, linger_s=10, ordering=Ordering.ARRIVAL)
    batcher.add([delivery(0)], 100.0)
    batcher.add([delivery(1)], 109.0)
    assert batcher.due_in(109.0) == 1
    assert batcher.due_in(120.0) == 0


def test_nothing_is_due_when_nothing_waits() -> None:
    """An empty batcher, or one with parked records only, asks for no attention."""
    batcher = Batcher(max_records=10, linger_s=0, ordering=Ordering.KEY)
    assert batcher.due_in(0.0) is None
    batcher.add([delivery(0, b"k")], 0.0)
    batcher.take(0.0)
    batcher.add([delivery(1, b"k")], 0.0)
    assert batcher.take(0.0) == []
    assert batcher.due_in(0.0) is None
    assert len(batcher) == 1


def test_a_key_in_flight_holds_back_its_own_records_only() -> None:
    """Others pass; the parked ones come first, in order, after the release."""
    batcher = Batcher(max_records=2, linger_s=0, ordering=Ordering.KEY)
    batcher.add([delivery(0, b"k"), delivery(1, b"k"), delivery(2, b"k"), delivery(3, b"x"), delivery(4, b"k")], 0.0)
    first = batcher.take(0.0)
    assert offsets(first) == [0, 1]
    assert offsets(batcher.take(0.0)) == [3]
    batcher.release(first, 1.0)
    assert batcher.due_in(1.0) == 0
    assert offsets(batcher.take(1.0)) == [2, 4]


def test_records_without_a_key_have_no_order_to_keep() -> None:
    """They are never parked."""
    batcher = Batcher(max_records=1, linger_s=0, ordering=Ordering.KEY)
    batcher.add([delivery(0), delivery(1)], 0.0)
    assert offsets(batcher.take(0.0)) == [0]
    assert offsets(batcher.take(0.0)) == [1]


def test_a_dropped_partition_leaves_nothing_behind() -> None:
    """Waiting, released and parked records of a revoked partition are gone; others stay."""
    batcher = Batcher(max_records=10, linger_s=0, ordering=Ordering.KEY)
    batcher.add([delivery(0, b"k"), delivery(0, b"k", partition=1)], 0.0)
    in_flight = batcher.take(0.0)
    batcher.add([delivery(1, b"k"), delivery(1, b"k", partition=1)], 0.0)
    assert batcher.take(0.0) == []
    batcher.drop([TopicPartition("t", 0)])
    batcher.release(in_flight, 0.0)
    assert batcher.held_bytes == 2
    assert [(each.record.partition, each.record.offset) for each in batcher.take(0.0)] == [(1, 1)]
    assert (len(batcher), batcher.held_bytes) == (0, 0)


@given(
    keys=st.lists(st.sampled_from([None, b"a", b"b", b"c"]), max_size=60),
    steps=st.lists(st.sampled_from(["add", "take", "release"]), max_size=200),
    max_records=st.integers(1, 5),
    ordering=st.sampled_from(Ordering),
)
@settings(deadline=None)
def test_every_record_is_taken_once_and_keys_keep_their_order(
    keys: list[bytes | None], steps: list[str], max_records: int, ordering: Ordering
) -> None:
    """Any interleaving: bounded batches, nothing lost or doubled, no key twice in flight, order kept."""
    batcher = Batcher(max_records=max_records, linger_s=0, ordering=ordering)
    coming = [delivery(offset, key) for offset, key in enumerate(keys)]
    in_flight: list[list[Delivery]] = []
    taken: list[Delivery] = []
    for step in [*steps, *["add"] * len(keys), *["release", "take"] * (2 * len(keys) + 2)]:
        if step == "add" and coming:
            batcher.add([coming.pop(0)], 0.0)
        elif step == "release" and in_flight:
            batcher.release(in_flight.pop(0), 0.0)
        elif step == "take":
            batch = batcher.take(0.0)
            assert len(batch) <= max_records
            if ordering is Ordering.KEY:
                busy = {each.record.key for flying in in_flight for each in flying} - {None}
                assert busy.isdisjoint({each.record.key for each in batch})
            taken.extend(batch)
            if batch:
                in_flight.append(batch)
        held = set(range(len(keys) - len(coming))) - set(offsets(taken))
        assert (len(batcher), batcher.held_bytes) == (len(held), sum(offset + 1 for offset in held))
    assert sorted(offsets(taken)) == list(range(len(keys)))
    if ordering is Ordering.ARRIVAL:
        assert offsets(taken) == list(range(len(keys)))
    for key in (b"a", b"b", b"c"):
        assert offsets([each for each in taken if each.record.key == key]) == [
            offset for offset, each in enumerate(keys) if each == key
        ]
