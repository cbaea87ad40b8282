"""What a record hands on to whatever follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.messaging.carried import ORIGIN_AT, TRACEPARENT, TRACESTATE, carried, handed_on, origin_ms

CONTEXT = ((TRACEPARENT, b"00-trace-span-01"), (TRACESTATE, b"vendor=1"))


def record(*headers: tuple[str, bytes], timestamp_ms: int = 1_000) -> Record:
    """Make a record."""
    return Record(topic="in", partition=0, offset=7, key=b"k", value=b"v", headers=headers, timestamp_ms=timestamp_ms)


def test_the_first_record_of_a_chain_is_its_origin() -> None:
    """Its Kafka timestamp goes along with the trace that it came with; other headers stay behind."""
    (message,) = handed_on([Message(topic="out", value=b"x")], record(*CONTEXT, ("retry-at", b"5")))
    assert message.headers == (*CONTEXT, (ORIGIN_AT, b"1000"))


def test_an_origin_stays_what_it_was_through_every_stage() -> None:
    """Whatever is written later, however late, tells of the beginning."""
    at = record(timestamp_ms=1_000)
    for later_ms in (2_000, 3_000):
        (message,) = handed_on([Message(topic="out", value=b"x")], at)
        at = record(*message.headers, timestamp_ms=later_ms)
    assert origin_ms(at) == 1_000


def test_what_a_message_says_itself_counts() -> None:
    """A trace of its own keeps away the other one's state too; nothing of the message is lost."""
    own = Message(topic="out", value=b"x", key=b"k", headers=((TRACEPARENT, b"own"), ("a", b"1")), timestamp_ms=9)
    (message,) = handed_on([own], record(*CONTEXT))
    assert message == Message(
        topic="out", value=b"x", key=b"k", headers=(*own.headers, (ORIGIN_AT, b"1000")), timestamp_ms=9
    )


def test_a_record_without_a_time_names_no_origin() -> None:
    """Nothing is invented."""
    assert carried(record(timestamp_ms=-1)) == ()
    assert origin_ms(record(timestamp_ms=-1)) is None


@pytest.mark.parametrize("text", [b"", b"soon", b"-5", b"1" * 40, b"\xff"])
def test_an_unreadable_origin_counts_for_nothing(text: bytes) -> None:
    """Anybody may have written it; the record's own time stands in."""
    assert origin_ms(record((ORIGIN_AT, text))) == 1_000


@given(headers=st.lists(st.tuples(st.sampled_from([TRACEPARENT, TRACESTATE, ORIGIN_AT, "x"]), st.binary(max_size=20))))
def test_handing_on_twice_hands_on_the_same(headers: list[Any]) -> None:
    """What was carried once is carried unchanged: a chain of any length ends with what it began with."""
    once = carried(record(*headers))
    assert carried(record(*once, timestamp_ms=5_000)) == once
