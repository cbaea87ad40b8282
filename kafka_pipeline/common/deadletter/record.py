"""The dead-letter record: the bytes that failed, unchanged, with headers that say what, where, when and why [DLQ-1].

| header | written | content |
|---|---|---|
| dlq-kind | always | the stage it belongs to; also names the topic |
| dlq-reason | always | the category of the failure, or the finer word for it |
| dlq-error-class, dlq-error-text | always | exception class; text redacted, at most 500 characters |
| dlq-attempts | always | attempts made, the first one included |
| dlq-first-failed-at, dlq-last-failed-at | always | ISO-8601, UTC |
| dlq-original-topic, -partition, -offset | always | coordinates of the first record in the main topic |
| dlq-original-key | unless the key was null | raw bytes |
| dlq-value-omitted | if no broker takes the value | its size in bytes; the record still stands at its original place |
| dlq-replays | if it was replayed | how often; a replay counts one up |
| dlq-edited-from | if it was edited | topic, partition and offset of the dead letter with the value before the change |
| traceparent, tracestate | if received | as received; with tracing on, of the attempt that failed |
| origin-at | if known | when the record that all began with came into Kafka |

A record that went through retry topics brings its first failure and its first coordinates along as `retry-*` headers
[RTY-3]; they win over those of the copy that failed last. A replayed record brings what `CARRIED` names. All functions
are pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Headers, Message, Record
from kafka_pipeline.common.messaging.carried import ORIGIN_AT, REPLAYS, TRACEPARENT, TRACESTATE
from kafka_pipeline.common.observability.redaction import ERROR_TEXT_LIMIT, redact, shortened
from kafka_pipeline.common.runtime.outcomes import Dead, Retry

KIND: Final = "dlq-kind"
REASON: Final = "dlq-reason"
ERROR_CLASS: Final = "dlq-error-class"
ERROR_TEXT: Final = "dlq-error-text"
ATTEMPTS: Final = "dlq-attempts"
FIRST_FAILED_AT: Final = "dlq-first-failed-at"
LAST_FAILED_AT: Final = "dlq-last-failed-at"
ORIGINAL_TOPIC: Final = "dlq-original-topic"
ORIGINAL_PARTITION: Final = "dlq-original-partition"
ORIGINAL_OFFSET: Final = "dlq-original-offset"
ORIGINAL_KEY: Final = "dlq-original-key"
VALUE_OMITTED: Final = "dlq-value-omitted"
EDITED_FROM: Final = "dlq-edited-from"

CARRIED: Final = (REPLAYS, EDITED_FROM, TRACEPARENT, TRACESTATE, ORIGIN_AT)
"""Headers that a record keeps on every way it takes through its stage: retry topics, dead letters, replays."""

RETRY_FIRST_FAILED_AT: Final = "retry-first-failed-at"
RETRY_ORIGINAL_TOPIC: Final = "retry-original-topic"
RETRY_ORIGINAL_PARTITION: Final = "retry-original-partition"
RETRY_ORIGINAL_OFFSET: Final = "retry-original-offset"
RETRY_ORIGINAL_KEY: Final = "retry-original-key"

Failed: TypeAlias = Retry | Dead
"""Outcomes that can end in the dead letters."""

_WORD_LIMIT: Final = 200
"""Characters of a header that holds a word: reason, class, kind."""
_REFERENCE_LIMIT: Final = 300
"""Characters of a reference: a topic's name has 249 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a record stood first, in the main topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter as it is read back. Whatever a header does not say, or not readably, is None or empty."""

    record: Record
    """The dead letter itself: its own coordinates, and the value that failed."""
    kind: str
    reason: str
    error_class: str
    error_text: str
    attempts: int | None
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    original_topic: str | None
    original_partition: int | None
    original_offset: int | None
    original_key: bytes | None
    traceparent: bytes | None
    replays: int = 0
    """How often it was sent again before it failed this time."""
    edited_from: str | None = None
    """The dead letter whose changed value this is, `topic-partition-offset`."""
    value_omitted: bool = False
    """Whether the value was too large to be kept."""

    @classmethod
    def parse(cls, record: Record) -> DeadLetter:
        """Read a record of a dead-letter topic; never fails, whoever wrote it."""
        return cls(
            record=record,
            kind=_text(record, KIND),
            reason=_text(record, REASON),
            error_class=_text(record, ERROR_CLASS),
            # Redacted again: others may have written it.
            error_text=shortened(redact(_text(record, ERROR_TEXT)[: 2 * ERROR_TEXT_LIMIT]), ERROR_TEXT_LIMIT),
            attempts=_count(record, ATTEMPTS),
            first_failed_at=_time(record, FIRST_FAILED_AT),
            last_failed_at=_time(record, LAST_FAILED_AT),
            original_topic=_text(record, ORIGINAL_TOPIC) or None,
            original_partition=_count(record, ORIGINAL_PARTITION),
            original_offset=_count(record, ORIGINAL_OFFSET),
            original_key=record.header(ORIGINAL_KEY),
            traceparent=record.header(TRACEPARENT),
            replays=_count(record, REPLAYS) or 0,
            edited_from=_text(record, EDITED_FROM)[:_REFERENCE_LIMIT] or None,
            value_omitted=record.header(VALUE_OMITTED) is not None,
        )

    @property
    def failed_at(self) -> datetime | None:
        """When it failed last; where no header says so, when the broker took it."""
        if self.last_failed_at is not None or self.record.timestamp_ms < 0:
            return self.last_failed_at
        return _moment(self.record.timestamp_ms)


def dead_letter(record: Record, outcome: Failed, *, kind: str, topic: str, attempts: int, now: datetime) -> Message:
    """Return the dead letter of a record that failed at `now` (aware) after `attempts` attempts.

    Raises ValueError for a naive `now` or fewer than one attempt.
    """
    if now.tzinfo is None:
        raise ValueError("the time of a failure must be aware")
    if attempts < 1:
        raise ValueError("a failed record was attempted at least once")
    origin = origin_of(record)
    first_failed_at = _time(record, RETRY_FIRST_FAILED_AT) or now
    words = {
        KIND: kind,
        REASON: reason_of(outcome),
        ERROR_CLASS: shortened(outcome.error_class, _WORD_LIMIT),
        ERROR_TEXT: shortened(redact(outcome.error_text), ERROR_TEXT_LIMIT),
        ATTEMPTS: str(attempts),
        FIRST_FAILED_AT: _iso(min(first_failed_at, now)),
        LAST_FAILED_AT: _iso(now),
        ORIGINAL_TOPIC: origin.topic,
        ORIGINAL_PARTITION: str(origin.partition),
        ORIGINAL_OFFSET: str(origin.offset),
    }
    headers: Headers = tuple((name, word.encode("utf-8", "replace")) for name, word in words.items())
    if origin.key is not None:
        headers = (*headers, (ORIGINAL_KEY, origin.key))
    headers = (*headers, *((name, kept) for name in CARRIED if (kept := record.header(name)) is not None))
    return Message(topic=topic, key=origin.key, value=record.value, headers=headers)


def reason_of(outcome: Failed) -> str:
    """Return the word for a failure: the finer one where there is one, else the category."""
    match outcome:
        case Dead():
            return shortened(outcome.reason, _WORD_LIMIT)
        case Retry():
            return shortened(outcome.reason or outcome.category.value, _WORD_LIMIT)


def origin_of(record: Record) -> Origin:
    """Return where the record stood first: as its retry headers say if all are readable, else where it stands now."""
    topic = _text(record, RETRY_ORIGINAL_TOPIC)
    partition = _count(record, RETRY_ORIGINAL_PARTITION)
    offset = _count(record, RETRY_ORIGINAL_OFFSET)
    if not topic or partition is None or offset is None:
        return Origin(topic=record.topic, partition=record.partition, offset=record.offset, key=record.key)
    key = record.header(RETRY_ORIGINAL_KEY)
    return Origin(topic=topic, partition=partition, offset=offset, key=record.key if key is None else key)


def without_value(letter: Message) -> Message:
    """Return the dead letter without its value: the last resort where no broker takes it whole.

    The value still stands at the original place for as long as that topic keeps it.
    """
    size = str(len(letter.value or b"")).encode()
    return letter._replace(value=None, headers=(*letter.headers, (VALUE_OMITTED, size)))


def replayed(letter: DeadLetter, *, topic: str, value: bytes | None) -> Message:
    """Return the record that goes back to work: its original key and trace, one replay more."""
    kept = {name: found for name in CARRIED if (found := letter.record.header(name)) is not None}
    kept[REPLAYS] = str(letter.replays + 1).encode()
    key = letter.record.key if letter.original_key is None else letter.original_key
    return Message(topic=topic, key=key, value=value, headers=tuple(kept.items()))


def edited(letter: DeadLetter, *, topic: str, value: bytes) -> Message:
    """Return the record that goes back to work with a changed value; it names the letter that holds the original."""
    message = replayed(letter, topic=topic, value=value)
    record = letter.record
    reference = f"{record.topic}-{record.partition}-{record.offset}".encode()
    headers = {**dict(message.headers), EDITED_FROM: reference}
    return Message(topic=topic, key=message.key, value=value, headers=tuple(headers.items()))


class DeadLetterRouter:
    """Makes dead letters of one kind, for one topic."""

    def __init__(self, kind: str, topic: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kind = kind
        self._topic = topic
        self._clock = clock

    def route(self, record: Record, outcome: Failed, attempts: int) -> Message:
        """Return the dead letter of a record. A Retry that comes here ends here, under its category."""
        return dead_letter(
            record, outcome, kind=self._kind, topic=self._topic, attempts=attempts, now=self._clock.now()
        )


def _text(record: Record, name: str) -> str:
    return (record.header(name) or b"").decode("utf-8", "replace")


def _count(record: Record, name: str) -> int | None:
    text = _text(record, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None  # int64 has 19 digits


def _time(record: Record, name: str) -> datetime | None:
    """Read ISO-8601 (naive is UTC, [CNV-2]) or epoch milliseconds, as `retry-at` has them."""
    text = _text(record, name)
    try:
        if text.isascii() and text.isdigit():
            return _moment(int(text[:20]))
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(time_ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
