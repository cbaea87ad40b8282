"""The retry record: a failed record on its way back, with headers that say when, why and where it came from [RTY-3].

| header | content |
|---|---|
| retry-at | when it is due, Unix milliseconds |
| retry-attempts | attempts made so far |
| retry-category, retry-error-class, retry-error-text | the last failure |
| retry-first-error-class, retry-first-error-text | the first failure |
| retry-first-failed-at, retry-last-failed-at | ISO-8601, UTC |
| retry-original-topic, -partition, -offset, -key | where it stood first, in the main topic |
| dlq-replays, dlq-edited-from, traceparent, tracestate, origin-at | as received, if any |

Its value is what the record became: one attempt more, perhaps a fresher link. All functions are pure.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
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
    kept = ((name, record.header(name)) for name in letters.CARRIED)
    headers = (*headers, *((name, value_) for name, value_ in kept if value_ is not None))
    return Message(topic=topic, key=origin.key, value=value, headers=headers)
