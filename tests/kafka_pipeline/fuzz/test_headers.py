"""Headers are written by anybody: each is read or passed over, and what is written again is sound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kafka_pipeline.common.deadletter import record as letters
from kafka_pipeline.common.deadletter import retries
from kafka_pipeline.common.deadletter.marks import DONE, Ledger, read_mark
from kafka_pipeline.common.deadletter.record import DeadLetter, dead_letter, replayed
from kafka_pipeline.common.deadletter.retries import retry_message
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record, TopicPartition
from kafka_pipeline.common.messaging.carried import HANDED_ON, handed_on, origin_ms
from kafka_pipeline.common.observability.tracing import trace_id_of
from kafka_pipeline.common.runtime.delays import RETRY_AT, Delays, due_at_ms
from kafka_pipeline.common.runtime.outcomes import Retry
from tests.kafka_pipeline.fuzz.hostile import WORDS, headers, often

NOW = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)
INT64 = 2**63
PARTITION = TopicPartition("t", 1)
NAMES = sorted(
    {
        *(text for text in vars(letters).values() if isinstance(text, str) and text.startswith(("dlq-", "retry-"))),
        *(text for text in vars(retries).values() if isinstance(text, str) and text.startswith(("dlq-", "retry-"))),
        *(*HANDED_ON, RETRY_AT, DONE),
    }
)
FAILED = Retry(category=Category.TRANSIENT, error_class="E" * 500, error_text="e" * 5_000)


def record(more: Any, *, timestamp_ms: int = -1, value: bytes | None = b"{}") -> Record:
    """Return a record with these headers."""
    return Record(topic="t", partition=1, offset=7, key=None, value=value, headers=more, timestamp_ms=timestamp_ms)


def delivered(message: Message) -> Record:
    """Return a message as its reader gets it."""
    return Record(
        topic=message.topic, partition=0, offset=9, key=message.key, value=message.value, headers=message.headers
    )


@often(400)
@example(more=(("retry-at", "\u0661".encode()),), timestamp_ms=0)
@example(more=(("retry-first-failed-at", b"0001-01-01T00:00:00+14:00"),), timestamp_ms=0)
@example(
    more=(("dlq-last-failed-at", b"9999-12-31T23:59:59-14:00"), ("dlq-replays", "\u00b2".encode())), timestamp_ms=2**62
)
@given(more=headers(NAMES), timestamp_ms=st.sampled_from([-1, 0, 1_772_460_310_500, 2**62]))
def test_any_headers_are_read_or_passed_over(more: Any, timestamp_ms: int) -> None:
    """Retries, dead letters, replays and what follows: counts fit into 64 bits, times are aware, texts are short."""
    found = record(more, timestamp_ms=timestamp_ms)
    assert 0 <= due_at_ms(found) < 10**15
    assert trace_id_of(found) is None or len(trace_id_of(found) or "") == 32
    assert (origin_ms(found) or 0) < INT64
    for letter in (
        DeadLetter.parse(found),
        DeadLetter.parse(delivered(replayed(DeadLetter.parse(found), topic="b", value=b""))),
    ):
        counts = (letter.attempts, letter.original_partition, letter.original_offset, letter.replays)
        assert all(count is None or 0 <= count < 10 * INT64 for count in counts)
        assert all(time is None or time.tzinfo is UTC for time in (letter.first_failed_at, letter.failed_at))
        assert max(map(len, (letter.error_text, letter.edited_from or ""))) <= 500
    again = retry_message(found, FAILED, topic="r", value=b"v", attempts=1, due_at=NOW + timedelta(seconds=1), now=NOW)
    dead = dead_letter(delivered(again), FAILED, kind="events", topic="d", attempts=2, now=NOW)
    last = DeadLetter.parse(delivered(dead))
    assert due_at_ms(delivered(again)) == int(NOW.timestamp() * 1_000) + 1_000
    assert (last.kind, last.reason, last.attempts, last.last_failed_at) == ("events", "transient", 2, NOW)
    assert last.original_topic is not None
    assert last.original_offset is not None
    assert last.first_failed_at is not None
    assert last.first_failed_at <= NOW
    [follows] = handed_on([Message(topic="n", value=b"")], found)
    assert {name for name, _ in follows.headers} <= HANDED_ON


@often(200)
@given(more=st.lists(headers([RETRY_AT]), max_size=8), now_ms=st.integers(0, 10**15))
def test_no_due_time_makes_a_record_vanish(more: list[Any], now_ms: int) -> None:
    """Each is ready, held, or read again; what is held comes out in the end."""
    delays = Delays({"t"}, max_held=3)
    given_records = [record(each) for each in more]
    admitted = delays.admit(given_records, now_ms)
    came = len(admitted.ready) + len(delays.release(10**15))
    assert came == len(given_records) or admitted.rewind
    assert len(delays) == 0


@often(200)
@example(text=b"0:5-3 1:7", value=None)
@given(text=WORDS | st.text("0123456789:-, ", max_size=30).map(str.encode), value=st.none() | st.just(b""))
def test_no_mark_breaks_the_account_of_what_is_done(text: bytes, value: bytes | None) -> None:
    """Whoever wrote it: it names runs that are some, or it is no mark. Nothing is committed beyond the first gap."""
    found = record(((DONE, text),), value=value)
    told = read_mark(found)
    ledger = Ledger({PARTITION: 0})
    assert ledger.heed(found) is (told is not None)
    runs = sorted([*told.get(PARTITION, []), (7, 8)]) if told is not None else []
    end = 0
    for first, after in runs:
        end = max(end, after) if first <= end else end
    assert ledger.committable() == ({PARTITION: end} if end else {})
