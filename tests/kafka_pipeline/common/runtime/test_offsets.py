"""Promises of the offset tracker (I1)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from kafka_pipeline.common.messaging import TopicPartition
from kafka_pipeline.common.runtime.offsets import OffsetTracker

A = TopicPartition("a", 0)
B = TopicPartition("b", 1)


def begun(tracker: OffsetTracker, partition: TopicPartition, offset: int) -> int:
    """Begin a record that is expected to be new."""
    generation = tracker.begin(partition, offset)
    assert generation is not None
    return generation


def test_an_offset_behind_an_unfinished_record_is_not_committable() -> None:
    """The prefix ends before the first record that is not finished."""
    tracker = OffsetTracker()
    generations = {offset: begun(tracker, A, offset) for offset in (10, 11, 12)}
    tracker.finish(A, 11, generations[11])
    tracker.finish(A, 12, generations[12])
    assert tracker.committable() == {}
    tracker.finish(A, 10, generations[10])
    assert tracker.committable() == {A: 13}


def test_offset_zero_counts() -> None:
    """The first record of a partition is a record like any other."""
    tracker = OffsetTracker()
    tracker.finish(A, 0, begun(tracker, A, 0))
    assert tracker.committable() == {A: 1}


def test_gaps_between_offsets_do_not_hold_the_prefix_back() -> None:
    """Compacted or transactional logs skip offsets."""
    tracker = OffsetTracker()
    for offset in (3, 7, 20):
        tracker.finish(A, offset, begun(tracker, A, offset))
    assert tracker.committable() == {A: 21}


RUNS = st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=6)


@given(RUNS, st.data())
def test_a_run_counts_as_its_records_one_by_one(runs: list[list[int]], data: st.DataObject) -> None:
    """Whatever comes: in order, twice, or rewound; and so does a run that finishes."""
    together, singly = OffsetTracker(), OffsetTracker()
    for run in runs:
        generation = together.begin_run(A, run, [-1] * len(run))
        some = [generation] * len(run) if generation is not None else [together.begin(A, offset) for offset in run]
        assert some == [singly.begin(A, offset) for offset in run]
        done = data.draw(st.lists(st.sampled_from(run))) if run else []
        for number in {each for each in some if each is not None}:
            together.finish_run(A, done, number)
            for offset in done:
                singly.finish(A, offset, number)
        assert together.committable() == singly.committable()
        assert (together.unfinished(), together.longest()) == (singly.unfinished(), singly.longest())


def test_a_record_in_flight_is_not_begun_twice() -> None:
    """A second delivery during a rebalance is recognised, finished or not."""
    tracker = OffsetTracker()
    begun(tracker, A, 5)
    tracker.finish(A, 6, begun(tracker, A, 6))
    assert tracker.begin(A, 5) is None
    assert tracker.begin(A, 6) is None


def test_a_rewound_log_starts_over() -> None:
    """Lower offsets than before are new records: they are tracked, and old batches no longer count."""
    tracker = OffsetTracker()
    old = begun(tracker, A, 100)
    tracker.finish(A, 100, old)
    late = begun(tracker, A, 101)
    fresh = begun(tracker, A, 0)
    tracker.finish(A, 101, late)
    assert tracker.committable() == {}
    tracker.finish(A, 0, fresh)
    assert tracker.committable() == {A: 1}


def test_a_batch_that_outlives_its_assignment_changes_nothing() -> None:
    """After a drop and a new assignment the old generation is ignored."""
    tracker = OffsetTracker()
    old = begun(tracker, A, 1)
    tracker.drop([A])
    tracker.finish(A, 1, old)
    assert tracker.committable() == {}
    new = begun(tracker, A, 1)
    tracker.finish(A, 1, old)
    assert tracker.committable() == {}
    tracker.finish(A, 1, new)
    assert tracker.committable() == {A: 2}


def test_what_is_committed_is_not_offered_again() -> None:
    """Only news is committed."""
    tracker = OffsetTracker()
    tracker.finish(A, 1, begun(tracker, A, 1))
    tracker.committed(A, 2)
    assert tracker.committable() == {}
    tracker.finish(A, 2, begun(tracker, A, 2))
    assert tracker.committable() == {A: 3}


@given(
    gaps=st.lists(st.integers(1, 5), min_size=1, max_size=60),
    order=st.randoms(use_true_random=False),
    upto=st.floats(0, 1),
)
@settings(deadline=None)
def test_the_committable_offset_is_the_longest_finished_prefix(gaps: list[int], order: object, upto: float) -> None:
    """Whatever finishes in whatever order, the answer equals that of a plain model."""
    tracker = OffsetTracker()
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    generations = {offset: begun(tracker, A, offset) for offset in offsets}
    shuffled = list(offsets)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    finished: set[int] = set()
    for offset in shuffled[: int(len(shuffled) * upto)]:
        tracker.finish(A, offset, generations[offset])
        finished.add(offset)
    expected = None
    for offset in offsets:
        if offset not in finished:
            break
        expected = offset + 1
    assert tracker.committable() == ({} if expected is None else {A: expected})
    assert tracker.unfinished() == len(offsets) - len(finished)


@given(
    since_ms=st.lists(st.integers(0, 10**12), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
    upto=st.floats(0, 1),
)
@settings(deadline=None)
def test_the_oldest_unfinished_record_is_the_head_of_some_partition(
    since_ms: list[int], order: object, upto: float
) -> None:
    """Lag is the age of the first record that is not finished, whatever finished behind it; topics differ."""
    tracker = OffsetTracker()
    times = sorted(since_ms)
    generations = [tracker.begin(A, offset, at_ms) for offset, at_ms in enumerate(times)]
    tracker.begin(B, 0, -1)
    shuffled = list(range(len(times)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    finished = set(shuffled[: int(len(times) * upto)])
    for offset in finished:
        generation = generations[offset]
        assert generation is not None
        tracker.finish(A, offset, generation)
    assert tracker.oldest_ms("a") == min((times[each] for each in shuffled if each not in finished), default=None)
    assert tracker.oldest_ms("b") is None  # it has no time
    tracker.drop([A])
    assert tracker.oldest_ms("a") is None


class TrackerMachine(RuleBasedStateMachine):
    """Deliveries, finishes, commits, drops and re-deliveries in any order against a model that keeps everything."""

    records = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.next = {A: 0, B: 0}
        self.committed = {A: 0, B: 0}
        self.durable: dict[TopicPartition, set[int]] = {A: set(), B: set()}
        self.epoch = {A: 0, B: 0}

    @rule(target=records, partition=st.sampled_from([A, B]), gap=st.integers(0, 3))
    def deliver(self, partition: TopicPartition, gap: int) -> tuple[TopicPartition, int, int]:
        """Deliver the next record; skipped offsets count as durable, since there is nothing in them."""
        for missing in range(self.next[partition], self.next[partition] + gap):
            self.durable[partition].add(missing)
        offset = self.next[partition] + gap
        self.next[partition] = offset + 1
        return partition, offset, begun(self.tracker, partition, offset)

    @rule(record=consumes(records))
    def finish(self, record: tuple[TopicPartition, int, int]) -> None:
        """Finish one; its effects are durable whatever the generation."""
        partition, offset, generation = record
        self.durable[partition].add(offset)
        self.tracker.finish(partition, offset, generation)

    @rule()
    def commit(self) -> None:
        """Commit what is offered."""
        for partition, offset in self.tracker.committable().items():
            self.committed[partition] = offset
            self.tracker.committed(partition, offset)

    @rule(partition=st.sampled_from([A, B]))
    def reassign(self, partition: TopicPartition) -> None:
        """Lose the partition and get it back at its committed offset."""
        self.tracker.drop([partition])
        self.next[partition] = self.committed[partition]

    @invariant()
    def nothing_unfinished_is_ever_committed(self) -> None:
        """I1: everything below a committed offset is durable."""
        for partition, offset in self.tracker.committable().items():
            assert set(range(offset)) <= self.durable[partition]


TestTrackerMachine = TrackerMachine.TestCase
TestTrackerMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
