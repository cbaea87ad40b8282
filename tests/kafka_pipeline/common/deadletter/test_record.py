"""A dead letter keeps the record whole and says what, where, when and why [DLQ-1]."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.deadletter.record import DeadLetter, DeadLetterRouter, dead_letter, origin_of
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import NO_TIMESTAMP, Headers, Record
from kafka_pipeline.common.runtime.outcomes import Dead, Retry

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEAD = Dead(reason="not_found", error_class="ApiError", error_text="GET /export/project/{id} answered 404")
RETRY = Retry(category=Category.TRANSIENT, error_class="TimeoutError", error_text="no answer in time")

moments = st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
counts = st.integers(min_value=0, max_value=2**63 - 1)
names = st.text(min_size=1, max_size=40)
keys = st.none() | st.binary(max_size=20)


def record(*, key: bytes | None = b"4711", value: bytes | None = b"{}", headers: Headers = ()) -> Record:
    """Return a record as a worker read it."""
    return Record(topic="claims.pending", partition=3, offset=42, key=key, value=value, headers=headers)


def as_read(message_headers: Headers, key: bytes | None, value: bytes | None) -> Record:
    """Return a dead letter as a later reader gets it."""
    return Record(
        topic="dlq", partition=0, offset=0, key=key, value=value, headers=message_headers, timestamp_ms=NO_TIMESTAMP
    )


class FixedClock:
    """It is always NOW."""

    def now(self) -> datetime:
        """Return NOW."""
        return NOW

    def monotonic(self) -> float:
        """Return a fixed second."""
        return 0.0


@settings(deadline=None, max_examples=80)
@given(
    value=st.none() | st.binary(max_size=200),
    key=keys,
    trace=st.none() | st.binary(max_size=60),
    attempts=st.integers(min_value=1, max_value=99),
    now=moments,
    kind=names,
)
def test_everything_written_can_be_read_back(
    *, value: bytes | None, key: bytes | None, trace: bytes | None, attempts: int, now: datetime, kind: str
) -> None:
    """Value and key stay the same bytes, and each header comes back as it went in."""
    headers: Headers = () if trace is None else (("traceparent", trace),)
    kind = kind.encode("utf-8", "replace").decode()

    letter = dead_letter(
        record(key=key, value=value, headers=headers), DEAD, kind=kind, topic="dlq", attempts=attempts, now=now
    )
    read = DeadLetter.parse(as_read(letter.headers, letter.key, letter.value))

    assert (letter.topic, letter.key, letter.value) == ("dlq", key, value)
    assert (read.kind, read.reason, read.error_class, read.error_text) == (
        kind,
        "not_found",
        "ApiError",
        "GET /export/project/{id} answered 404",
    )
    assert (read.attempts, read.first_failed_at, read.last_failed_at) == (attempts, now, now)
    assert (read.original_topic, read.original_partition, read.original_offset) == ("claims.pending", 3, 42)
    assert (read.original_key, read.traceparent) == (key, trace)


@settings(deadline=None, max_examples=60)
@given(partition=counts, offset=counts, key=keys, first=moments)
def test_a_retried_record_keeps_its_first_coordinates_and_its_first_failure(
    partition: int, offset: int, key: bytes | None, first: datetime
) -> None:
    """Retry headers [RTY-3] win over where the last copy stood."""
    headers: Headers = (
        ("retry-first-failed-at", first.isoformat().encode()),
        ("retry-original-topic", b"claims.main"),
        ("retry-original-partition", str(partition).encode()),
        ("retry-original-offset", str(offset).encode()),
        *(() if key is None else (("retry-original-key", key),)),
    )

    letter = dead_letter(
        record(key=key, headers=headers), RETRY, kind="downloads", topic="dlq", attempts=5, now=NOW + timedelta(36500)
    )
    read = DeadLetter.parse(as_read(letter.headers, letter.key, letter.value))

    assert (read.original_topic, read.original_partition, read.original_offset) == ("claims.main", partition, offset)
    assert (read.original_key, letter.key) == (key, key)
    assert read.first_failed_at == first


@settings(deadline=None, max_examples=100)
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *("dlq-kind", "dlq-reason", "dlq-error-text", "dlq-attempts", "dlq-first-failed-at"),
                    *("dlq-original-partition", "dlq-original-offset", "retry-original-topic"),
                    *("retry-original-partition", "retry-original-offset", "retry-first-failed-at"),
                ]
            ),
            st.binary(max_size=30) | st.text("0123456789", max_size=40).map(str.encode),
        ),
        max_size=12,
    ).map(tuple)
)
def test_any_headers_are_readable(headers: Headers) -> None:
    """Whoever wrote them: parsing and routing never fail, and what is written next can be read."""
    strange = record(headers=headers)

    DeadLetter.parse(strange)
    letter = dead_letter(strange, DEAD, kind="events", topic="dlq", attempts=1, now=NOW)
    read = DeadLetter.parse(as_read(letter.headers, letter.key, letter.value))

    assert read.original_offset is not None
    assert read.first_failed_at is not None
    assert read.first_failed_at <= NOW


def test_half_readable_coordinates_are_not_mixed_with_others() -> None:
    """A topic of one record and an offset of another would name a record that never was."""
    headers: Headers = (("retry-original-topic", b"claims.main"), ("retry-original-offset", b"7"))

    origin = origin_of(record(headers=headers))

    assert (origin.topic, origin.partition, origin.offset) == ("claims.pending", 3, 42)


def test_a_null_key_leaves_no_key_header() -> None:
    """An absent header is the only way to tell null from empty."""
    without = dead_letter(record(key=None), DEAD, kind="events", topic="dlq", attempts=1, now=NOW)
    empty = dead_letter(record(key=b""), DEAD, kind="events", topic="dlq", attempts=1, now=NOW)

    assert "dlq-original-key" not in dict(without.headers)
    assert dict(empty.headers)["dlq-original-key"] == b""


def test_error_text_is_redacted_and_bounded() -> None:
    """Also where the worker forgot: a dead letter is read by many."""
    leaky = Dead(
        reason="permanent", error_class="X" * 999, error_text="https://h.example.com/p?sig=CANARY " + "x" * 999
    )

    letter = dead_letter(record(), leaky, kind="events", topic="dlq", attempts=1, now=NOW)
    headers = {name: value.decode() for name, value in letter.headers}

    assert "CANARY" not in "".join(headers.values())
    assert len(headers["dlq-error-text"]) <= 500
    assert len(headers["dlq-error-class"]) <= 200


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (DEAD, "not_found"),
        (RETRY, "transient"),
        (
            Retry(category=Category.TRANSIENT, error_class="E", error_text="t", reason="cache_unwritable"),
            "cache_unwritable",
        ),
    ],
)
def test_reason_is_the_finest_word_known(outcome: Retry | Dead, reason: str) -> None:
    """A retry that ends here is named by its category, or by its reason where it has one."""
    letter = DeadLetterRouter("downloads", "dlq.downloads", FixedClock()).route(record(), outcome, attempts=2)

    assert letter.topic == "dlq.downloads"
    assert dict(letter.headers)["dlq-reason"] == reason.encode()
    assert dict(letter.headers)["dlq-last-failed-at"] == b"2026-03-01T12:00:00+00:00"


def test_times_are_written_in_utc() -> None:
    """Whatever zone the clock speaks."""
    letter = dead_letter(
        record(), DEAD, kind="k", topic="t", attempts=1, now=NOW.astimezone(timezone(timedelta(hours=-7)))
    )

    assert dict(letter.headers)["dlq-last-failed-at"] == b"2026-03-01T12:00:00+00:00"


@pytest.mark.parametrize(("now", "attempts"), [(NOW.replace(tzinfo=None), 1), (NOW, 0)])
def test_a_dead_letter_without_a_time_or_an_attempt_is_refused(now: datetime, attempts: int) -> None:
    """Both would be a bug of the caller."""
    with pytest.raises(ValueError, match=r"must be aware|at least once"):
        dead_letter(record(), DEAD, kind="k", topic="t", attempts=attempts, now=now)
