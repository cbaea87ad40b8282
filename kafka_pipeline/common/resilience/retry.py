"""When a failed record is tried again, and what travels with it until then [RTY-1, RTY-3]. Pure.

    retry_count      0       1       2       3       4
    next attempt   +5 m    +10 m   +20 m   +40 m   none: dead letter          (with the default delays)

A server's own wish (Retry-After) may ask for more: then the record takes the first delay, from its own on, that is long
enough. One that no delay covers is due later than its topic's delay, and holds the later ones of that topic up.

| header | content |
|---|---|
| retry-at | when it is due, Unix milliseconds |
| retry-attempts | attempts made so far |
| retry-category, retry-error-class, retry-error-text | the last failure |
| retry-first-error-class, retry-first-error-text | the first failure |
| retry-first-failed-at, retry-last-failed-at | ISO-8601, UTC |
| retry-original-topic, -partition, -offset, -key | where it stood first, in the main topic |
| dlq-replays, traceparent | as received, if any |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from kafka_pipeline.common.deadletter import record as letters
from kafka_pipeline.common.messaging import Headers, Message, Record
from kafka_pipeline.common.observability.redaction import ERROR_TEXT_LIMIT, redact, shortened
from kafka_pipeline.common.runtime.delays import RETRY_AT
from kafka_pipeline.common.runtime.outcomes import Retry

ATTEMPTS: Final = "retry-attempts"
CATEGORY: Final = "retry-category"
ERROR_CLASS: Final = "retry-error-class"
ERROR_TEXT: Final = "retry-error-text"
FIRST_ERROR_CLASS: Final = "retry-first-error-class"
FIRST_ERROR_TEXT: Final = "retry-first-error-text"
LAST_FAILED_AT: Final = "retry-last-failed-at"

_KEPT: Final = ("traceparent", "dlq-replays")
_LONGEST_WISH: Final = timedelta(days=1)
"""A server that asks for more is not believed: the record would block its topic until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """Try again: after the delay of that number, not before that time."""

    delay: int
    """Index into the delays, and so into the topics."""
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late: one further attempt for each delay. Raises ValueError for delays that are none."""

    delays_s: Sequence[float]

    def __post_init__(self) -> None:
        if any(delay_s <= 0 for delay_s in self.delays_s):
            raise ValueError("every delay must be positive")

    def decide(self, retry_count: int, now: datetime, not_before: datetime | None = None) -> RetryLater | None:
        """Return when to try again a record that failed after `retry_count` retries; None if it was the last time."""
        if retry_count >= len(self.delays_s):
            return None
        wish = not_before if not_before is not None and not_before > now else now
        wish = min(wish, now + _LONGEST_WISH)
        last = len(self.delays_s) - 1
        long_enough = (at for at in range(retry_count, last) if now + timedelta(seconds=self.delays_s[at]) >= wish)
        delay = next(long_enough, last)
        return RetryLater(delay=delay, due_at=max(wish, now + timedelta(seconds=self.delays_s[delay])))


def retry_message(
    record: Record, failure: Retry, *, topic: str, value: bytes, attempts: int, due_at: datetime, now: datetime
) -> Message:
    """Return the copy of a failed record that waits in a retry topic; its key stays, so does its first failure."""
    origin = letters.origin_of(record)
    error_class = shortened(failure.error_class, 200)
    error_text = shortened(redact(failure.error_text), ERROR_TEXT_LIMIT)
    words = {
        RETRY_AT: str(math.ceil(due_at.timestamp() * 1000)),
        ATTEMPTS: str(attempts),
        CATEGORY: failure.category.value,
        ERROR_CLASS: error_class,
        ERROR_TEXT: error_text,
        LAST_FAILED_AT: now.astimezone(UTC).isoformat(),
        letters.RETRY_ORIGINAL_TOPIC: origin.topic,
        letters.RETRY_ORIGINAL_PARTITION: str(origin.partition),
        letters.RETRY_ORIGINAL_OFFSET: str(origin.offset),
    }
    first = {
        letters.RETRY_FIRST_FAILED_AT: words[LAST_FAILED_AT],
        FIRST_ERROR_CLASS: error_class,
        FIRST_ERROR_TEXT: error_text,
    }
    headers: Headers = tuple((name, word.encode("utf-8", "replace")) for name, word in words.items())
    for name, word in first.items():
        before = record.header(name)
        headers = (*headers, (name, word.encode("utf-8", "replace") if before is None else before))
    if origin.key is not None:
        headers = (*headers, (letters.RETRY_ORIGINAL_KEY, origin.key))
    kept = ((name, record.header(name)) for name in _KEPT)
    headers = (*headers, *((name, value_) for name, value_ in kept if value_ is not None))
    return Message(topic=topic, key=origin.key, value=value, headers=headers)
