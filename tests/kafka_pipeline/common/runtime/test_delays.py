"""Promises of the records that are not due yet."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kafka_pipeline.common.messaging import Record, TopicPartition
from kafka_pipeline.common.runtime.delays import RETRY_AT, Delays, due_at_ms

RETRY, MAIN = "retry.5m", "main"
MAX_HELD = 3


def record(topic: str, partition: int, offset: int, due_ms: int | bytes | None = None) -> Record:
    """Return a record that is due then."""
    text = due_ms if isinstance(due_ms, bytes | None) else str(due_ms).encode()
    headers = () if text is None else ((RETRY_AT, text),)
    return Record(topic=topic, partition=partition, offset=offset, key=None, value=b"", headers=headers)


def test_a_main_topic_is_never_held() -> None:
    """Whatever its headers say: a replayed record may bring old ones along (I8)."""
    delays = Delays([RETRY])
    waits, passes = record(RETRY, 0, 0, 100), record(MAIN, 0, 0, 10**12)
    admitted = delays.admit([waits, passes], now_ms=50)
    assert admitted.ready == (passes,)
    assert delays.waiting() == {TopicPartition(RETRY, 0)}
    assert delays.due_in_s(50) == 0.05


def test_a_time_that_cannot_be_read_is_now() -> None:
    """Better early than never: the attempt itself decides then."""
    for text in (None, b"", b"soon", b"-5", b"1e3", b"9" * 40):
        assert due_at_ms(record(RETRY, 0, 0, text)) == 0
    assert due_at_ms(record(RETRY, 0, 0, b"1772460000000")) == 1_772_460_000_000


class HeldBack(RuleBasedStateMachine):
    """A broker's partitions behind `Delays`, paused and rewound as it says: every record comes once, in order, due."""

    def __init__(self) -> None:
        super().__init__()
        self.delays = Delays([RETRY], max_held=MAX_HELD)
        self.log: dict[int, list[Record]] = {0: [], 1: []}
        self.position = {0: 0, 1: 0}
        self.out: dict[int, list[int]] = {0: [], 1: []}
        self.now_ms = 0

    @rule(partition=st.integers(0, 1), delay_ms=st.integers(0, 50), many=st.integers(1, 6))
    def write(self, partition: int, delay_ms: int, many: int) -> None:
        """Put records into the retry topic; their times need not be in order."""
        for number in range(many):
            log = self.log[partition]
            log.append(record(RETRY, partition, len(log), self.now_ms + delay_ms + number % 2))

    @rule(many=st.integers(1, 10))
    def poll(self, many: int) -> None:
        """Deliver from what is not paused."""
        waiting = self.delays.waiting()
        polled = []
        for partition, log in self.log.items():
            if TopicPartition(RETRY, partition) not in waiting:
                some = log[self.position[partition] : self.position[partition] + many]
                polled += some
                self.position[partition] += len(some)
        admitted = self.delays.admit(polled, self.now_ms)
        self._take(admitted.ready)
        for rewound, offset in admitted.rewind.items():
            assert rewound in self.delays.waiting(), "or it would be delivered at once, again and again"
            self.position[rewound.partition] = offset

    @rule(ms=st.integers(1, 60))
    def time_passes(self, ms: int) -> None:
        """And what is due comes out."""
        self.now_ms += ms
        self._take(self.delays.release(self.now_ms))
        assert self.delays.due_in_s(self.now_ms) != 0.0

    @precondition(lambda self: len(self.delays) > 0)
    @rule(partition=st.integers(0, 1))
    def rebalance(self, partition: int) -> None:
        """Someone else takes the partition and begins after what came out."""
        self.delays.drop([TopicPartition(RETRY, partition)])
        self.position[partition] = len(self.out[partition])

    def _take(self, records: tuple[Record, ...] | list[Record]) -> None:
        for each in records:
            assert due_at_ms(each) <= self.now_ms
            self.out[each.partition].append(each.offset)

    @invariant()
    def in_order_and_once(self) -> None:
        """See that what came out is a prefix of the log."""
        for out in self.out.values():
            assert out == list(range(len(out)))

    @invariant()
    def bounded(self) -> None:
        """See that no more is held than may be (I9)."""
        assert len(self.delays) <= 2 * MAX_HELD

    def teardown(self) -> None:
        """Nothing is lost: given time, everything comes out."""
        self.now_ms += 1_000
        while any(len(self.out[partition]) < len(log) for partition, log in self.log.items()):
            before = sum(map(len, self.out.values()))
            self._take(self.delays.release(self.now_ms))
            self.poll(10)
            assert sum(map(len, self.out.values())) > before


TestHeldBack = HeldBack.TestCase
