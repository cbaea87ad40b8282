"""What is done is known from committed offsets and marks, whatever was chosen and in whichever order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.deadletter.marks import DONE, Ledger, OffsetSet, read_mark, write_mark
from kafka_pipeline.common.messaging import Headers, Message, Record, TopicPartition

TOPIC = "dlq.claims"
PARTITIONS = 3

runs = st.tuples(st.integers(0, 60), st.integers(1, 8)).map(lambda run: (run[0], run[0] + run[1]))
places = st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 30))


def record(
    partition: int, offset: int, *, value: bytes | None = b"{}", headers: Headers = (), topic: str = TOPIC
) -> Record:
    """Return a record of the dead-letter topic."""
    return Record(topic=topic, partition=partition, offset=offset, key=None, value=value, headers=headers)


def at(partition: int, offset: int, mark: Message) -> Record:
    """Return a mark as it is read back."""
    return record(partition, offset, value=mark.value, headers=mark.headers)


@settings(deadline=None, max_examples=300)
@given(added=st.lists(runs, max_size=25), start=st.integers(0, 70))
def test_a_set_of_runs_is_a_set(added: list[tuple[int, int]], start: int) -> None:
    """Membership, the first gap and the runs are those of a plain set; runs never touch."""
    made, plain = OffsetSet(), set[int]()
    for first, after in added:
        made.add(first, after)
        plain |= set(range(first, after))
    assert {offset for offset in range(80) if offset in made} == plain
    assert made.first_missing(start) == next(offset for offset in range(start, 200) if offset not in plain)
    kept = made.runs()
    assert all(before[1] < later[0] for before, later in itertools.pairwise(kept))
    assert {offset for first, after in kept for offset in range(first, after)} == plain


@settings(deadline=None, max_examples=200)
@given(done=st.dictionaries(st.integers(0, 99), st.lists(runs, min_size=1, max_size=6), max_size=5))
def test_a_mark_reads_back_as_it_was_written(done: dict[int, list[tuple[int, int]]]) -> None:
    """Every partition with its runs."""
    if not done:
        return
    read = read_mark(at(0, 0, write_mark(TOPIC, done)))
    assert read == {TopicPartition(TOPIC, partition): runs for partition, runs in done.items()}


@settings(deadline=None, max_examples=200)
@given(
    text=st.binary(max_size=30) | st.text("0123456789:-, ", max_size=20).map(str.encode), value=st.none() | st.binary()
)
def test_what_is_no_mark_is_a_letter(text: bytes, value: bytes | None) -> None:
    """Nothing that somebody else wrote breaks the reading, and nothing with a value is ever hidden by it."""
    read = read_mark(record(0, 0, value=value, headers=((DONE, text),)))
    assert read is None or value is None


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "1:2-", "1:-2", "1:2;3", "x:1", "0:1 ", "0:" + "9" * 19, "0:²"])
def test_a_text_that_is_no_mark_says_nothing(text: str) -> None:
    """Half a mark is none."""
    assert read_mark(record(0, 0, value=None, headers=((DONE, text.encode()),))) is None


@settings(deadline=None, max_examples=300)
@given(
    committed=st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(0, 30), max_size=PARTITIONS),
    batches=st.lists(st.lists(places, min_size=1, max_size=6, unique=True), max_size=8),
    forgotten=st.integers(0, 8),
)
def test_a_later_reader_knows_exactly_what_was_noted(
    *, committed: dict[int, int], batches: list[list[tuple[int, int]]], forgotten: int
) -> None:
    """Marks and commits together say what is done; a commit that was lost in a crash changes nothing as to that.

    Whatever stands before the committed offset counts as done; nothing else does that was not finished.
    """
    stored = {TopicPartition(TOPIC, partition): committed.get(partition, 0) for partition in range(PARTITIONS)}
    done = {(part.partition, offset) for part, end in stored.items() for offset in range(end)}
    ledger, marks = Ledger(stored), list[Record]()
    for number, batch in enumerate(batches):
        finished = [record(*place) for place in batch]
        ledger.finish(finished)
        done |= set(batch)
        marks += [at(0, 100 + len(marks) + extra, mark) for extra, mark in enumerate(ledger.marks_for(finished))]
        if len(batches) - number > forgotten:
            offsets = ledger.committable()
            assert all(offset > stored[partition] for partition, offset in offsets.items())
            ledger.committed(offsets)
            stored |= offsets

    later = Ledger(stored)
    assert [later.heed(mark) for mark in marks] == [True] * len(marks)
    noted = {
        (partition, offset)
        for partition in range(PARTITIONS)
        for offset in range(40)
        if later.is_done(record(partition, offset))
    }
    lost = noted ^ done
    assert noted <= done
    assert not lost or forgotten, "only what a lost commit alone would have said may be unknown"


def test_letters_in_order_need_no_mark() -> None:
    """A replay of everything leaves nothing but a committed offset."""
    ledger = Ledger({TopicPartition(TOPIC, 0): 0})
    letters = [record(0, offset) for offset in range(5)]
    ledger.finish(letters)
    assert ledger.marks_for(letters) == []
    assert ledger.committable() == {TopicPartition(TOPIC, 0): 5}


def test_the_prefix_passes_marks() -> None:
    """A mark is no letter: what was read of it is done with."""
    ledger = Ledger({TopicPartition(TOPIC, 0): 0})
    [mark] = ledger.marks_for([record(0, 1)])
    ledger.finish([record(0, 1)])
    assert ledger.heed(at(0, 2, mark))
    assert not ledger.heed(record(0, 0))
    ledger.finish([record(0, 0)])
    assert ledger.committable() == {TopicPartition(TOPIC, 0): 3}
