"""Promises of the retry record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kafka_pipeline.common.deadletter import retries
from kafka_pipeline.common.deadletter.record import DeadLetter, dead_letter
from kafka_pipeline.common.deadletter.retries import retry_message
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.runtime.delays import due_at_ms
from kafka_pipeline.common.runtime.outcomes import Dead, Retry

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)
FIRST = Retry(category=Category.TRANSIENT, error_class="TimeoutError", error_text="no answer")
SECOND = Retry(category=Category.AUTH, error_class="ClaimXApiError", error_text="status 401 token=hunter2-hunter2")


def delivered(message: Message, offset: int) -> Record:
    """Return a message as the next attempt gets it."""
    return Record(
        topic=message.topic,
        partition=1,
        offset=offset,
        key=message.key,
        value=message.value,
        headers=message.headers,
    )


def test_the_first_failure_and_the_first_place_travel_through_all_attempts() -> None:
    """[RTY-3] What is new is told too: the last failure, the attempts, the time. So a dead letter tells it all."""
    main = Record(
        topic="main",
        partition=4,
        offset=11,
        key=b"\xffkey",
        value=b"v0",
        headers=(("traceparent", b"00-x"), ("dlq-replays", b"2"), ("other", b"x")),
    )
    once = retry_message(
        main, FIRST, topic="r.5m", value=b"v1", attempts=1, due_at=NOW + timedelta(seconds=300), now=NOW
    )
    assert (once.topic, once.key, once.value) == ("r.5m", b"\xffkey", b"v1")
    again = delivered(once, 77)
    assert due_at_ms(again) == (NOW.timestamp() + 300) * 1000
    later = NOW + timedelta(seconds=301)
    twice = delivered(retry_message(again, SECOND, topic="r.10m", value=b"v2", attempts=2, due_at=later, now=later), 5)
    said = {name: (twice.header(name) or b"").decode() for name, _ in twice.headers if name != "retry-original-key"}
    assert said == {
        "retry-at": str(int(later.timestamp() * 1000)),
        "retry-attempts": "2",
        "retry-category": "auth",
        "retry-error-class": "ClaimXApiError",
        "retry-error-text": said["retry-error-text"],
        "retry-first-error-class": "TimeoutError",
        "retry-first-error-text": "no answer",
        "retry-first-failed-at": NOW.isoformat(),
        "retry-last-failed-at": later.isoformat(),
        "retry-original-topic": "main",
        "retry-original-partition": "4",
        "retry-original-offset": "11",
        "traceparent": "00-x",
        "dlq-replays": "2",
    }
    assert twice.header("retry-original-key") == b"\xffkey"
    assert "hunter2" not in said["retry-error-text"]

    dead = Dead(reason="not_found", error_class="E", error_text="t")
    end = dead_letter(twice, dead, kind="enrichment", topic="dlq", attempts=3, now=later)
    letter = DeadLetter.parse(delivered(end, 0))
    assert (letter.original_topic, letter.original_partition, letter.original_offset) == ("main", 4, 11)
    assert (letter.first_failed_at, letter.last_failed_at) == (NOW, later)
    assert letter.original_key == b"\xffkey"


def test_a_retry_is_never_due_early() -> None:
    """A fraction of a millisecond is rounded up."""
    record = Record(topic="main", partition=0, offset=0, key=None, value=b"")
    due_at = NOW + timedelta(microseconds=1)
    message = retry_message(record, FIRST, topic="r", value=b"", attempts=1, due_at=due_at, now=NOW)
    assert due_at_ms(delivered(message, 0)) == NOW.timestamp() * 1000 + 1
    assert message.key is None
    assert retries.ATTEMPTS in dict(message.headers)
