"""What a record hands on to everything that follows from it, whatever the worker and however often it is retried.

| header | content |
|---|---|
| traceparent, tracestate | W3C trace context: as received, or that of this worker's own span [TOP-3] |
| origin-at | when the record that all began with came into Kafka, Unix milliseconds |
| dlq-replays | how often it, or what it follows from, was sent back from the dead letters: ends what goes in circles |

The first record of a chain names no origin: its own Kafka timestamp is one. So how long an event took is known at
every stage, without a look at any value. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kafka_pipeline.common.messaging.record import Headers, Message, Record

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
ORIGIN_AT: Final = "origin-at"
REPLAYS: Final = "dlq-replays"

HANDED_ON: Final = frozenset({TRACEPARENT, TRACESTATE, ORIGIN_AT, REPLAYS})

_DIGITS: Final = 15
"""Milliseconds of the year 33658 have so many; more is no time."""


def carried(record: Record) -> Headers:
    """Return the headers that whatever follows from the record takes along."""
    found: list[tuple[str, bytes]] = []
    begun = record.timestamp_ms < 0
    for each in record.headers:
        if each[0] in HANDED_ON:
            found.append(each)
            begun = begun or each[0] == ORIGIN_AT
    if not begun:
        found.append((ORIGIN_AT, b"%d" % record.timestamp_ms))
    return tuple(found)


def handed_on(messages: Sequence[Message], record: Record) -> Sequence[Message]:
    """Return the messages with what the record hands on. What a message says itself counts."""
    if not messages:
        return messages
    headers = carried(record)
    return [
        Message(topic, value, key, _joined(own, headers) if own else headers, timestamp_ms)
        for topic, value, key, own, timestamp_ms in messages
    ]


def origin_ms(record: Record) -> int | None:
    """Return when all began, Unix milliseconds; None where neither a header nor a timestamp says so."""
    for name, text in reversed(record.headers):
        if name == ORIGIN_AT and text.isdigit() and len(text) <= _DIGITS:
            return int(text)
    return record.timestamp_ms if record.timestamp_ms >= 0 else None


def _joined(own: Headers, more: Headers) -> Headers:
    names = {name for name, _ in own}
    if TRACEPARENT in names:
        names.add(TRACESTATE)  # it belongs to a traceparent, and this one is not ours
    return (*own, *(each for each in more if each[0] not in names))
