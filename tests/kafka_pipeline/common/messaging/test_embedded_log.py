"""The embedded log against a plain model: a dictionary of lists."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kafka_pipeline.common.messaging import Message, Record, TopicPartition, Watermarks
from kafka_pipeline.common.messaging._embedded_log import EmbeddedLog, Slice, pack, unpack

NOW_MS = 1_700_000_000_000
PARTITIONS = [TopicPartition("a", 0), TopicPartition("b", 0), TopicPartition("b", 1), TopicPartition("b", 2)]

headers = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3).map(tuple)
messages = st.builds(
    Message,
    topic=st.sampled_from(["a", "b"]),
    key=st.none() | st.binary(max_size=3),
    value=st.none() | st.binary(max_size=20),
    headers=headers,
    timestamp_ms=st.none() | st.integers(0, 2**41),
)


@given(headers)
def test_headers_survive_packing(given_headers: tuple[tuple[str, bytes], ...]) -> None:
    """Any names and values come back in order; no headers take no room."""
    packed = pack(given_headers)
    assert (packed is None) == (not given_headers)
    assert given_headers == unpack(packed or b"")


class LogMachine(RuleBasedStateMachine):
    """Appends, deletes, commits and reopens in any order; reads must agree with the model."""

    @initialize()
    def begin(self) -> None:
        """Open a new log."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "log.db")
        self.log = EmbeddedLog(self.path, now_ms=lambda: NOW_MS)
        self.written: dict[TopicPartition, list[Message]] = {partition: [] for partition in PARTITIONS}
        self.lows = dict.fromkeys(PARTITIONS, 0)
        self.committed: dict[tuple[str, TopicPartition], int] = {}
        self.homes: dict[tuple[str, bytes], int] = {}
        assert self.log.create({"a": 1, "b": 3}) == {"a", "b"}

    @rule(batch=st.lists(messages, max_size=8))
    def append(self, batch: list[Message]) -> None:
        """Write a batch: it lands behind what is there, each key at home in one partition."""
        before = {partition: len(written) for partition, written in self.written.items()}
        highs = self.log.append(batch)
        grown = {partition: high - before[partition] for partition, high in highs.items()}
        assert sum(grown.values()) == len(batch)
        slices = [Slice(partition, before[partition]) for partition in grown]
        landed = self.log.read(slices, len(batch)) if batch else []
        rest = list(batch)
        for record in landed:
            # Within a partition the order of the batch is kept: the first message that looks like it, is it.
            message = next(message for message in rest if same(message, record))
            rest.remove(message)
            self.written[record.topic_partition].append(message)
            if message.key is not None:
                assert self.homes.setdefault((message.topic, message.key), record.partition) == record.partition
        assert rest == []

    @rule(partition=st.sampled_from(PARTITIONS), share=st.floats(0, 1))
    def delete(self, partition: TopicPartition, share: float) -> None:
        """Delete some of the beginning; what is gone already stays gone."""
        before = int(len(self.written[partition]) * share)
        self.lows[partition] = max(self.lows[partition], before)
        assert self.log.delete({partition: before}) == {partition: self.lows[partition]}

    @rule(group=st.sampled_from(["g", "h"]), partition=st.sampled_from(PARTITIONS), offset=st.integers(0, 50))
    def commit(self, group: str, partition: TopicPartition, offset: int) -> None:
        """Store an offset, also a lower one than before."""
        self.log.commit(group, {partition: offset})
        self.committed[group, partition] = offset

    @rule()
    def reopen(self) -> None:
        """Close and open the file; topics are there already."""
        self.log.close()
        self.log = EmbeddedLog(self.path, now_ms=lambda: NOW_MS)
        assert self.log.create({"a": 5, "b": 3}) == frozenset()

    @rule(start=st.integers(0, 30), limit=st.integers(1, 10), partition=st.sampled_from(PARTITIONS))
    def read(self, start: int, limit: int, partition: TopicPartition) -> None:
        """Read from anywhere."""
        records = self.log.read([Slice(partition, start)], limit)
        first = max(start, self.lows[partition])
        expected = self.written[partition][first : first + limit]
        assert [first + place for place in range(len(expected))] == [record.offset for record in records]
        assert all(same(message, record) for message, record in zip(expected, records, strict=True))

    @invariant()
    def marks_and_offsets_agree(self) -> None:
        """Watermarks and committed offsets are those of the model."""
        for partition in PARTITIONS:
            assert self.log.watermarks(partition) == Watermarks(self.lows[partition], len(self.written[partition]))
        for group in ("g", "h"):
            expected = {part: offset for (name, part), offset in self.committed.items() if name == group}
            assert self.log.committed(group, PARTITIONS) == expected

    def teardown(self) -> None:
        """Close and remove the file."""
        close: Callable[[], None] | None = getattr(getattr(self, "log", None), "close", None)
        if close is not None:
            close()
            self.folder.cleanup()


def same(message: Message, record: Record) -> bool:
    """Tell whether a record is what a message became."""
    stamp = NOW_MS if message.timestamp_ms is None else message.timestamp_ms
    return (message.topic, message.key, message.value, message.headers, stamp) == (
        record.topic,
        record.key,
        record.value,
        record.headers,
        record.timestamp_ms,
    )


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
