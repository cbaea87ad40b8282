"""What a running loop tells of itself: how late it is, how long things took, which record a line is about."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, NewTopic, Record
from kafka_pipeline.common.messaging.carried import ORIGIN_AT
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.common.runtime.delays import RETRY_AT
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry
from tests.kafka_pipeline.common.runtime.bench import FAST, Bench, until

TRACE = "0af7651916cd43dd8448eb211c80319c"


def told(name: str, **labels: str) -> float | None:
    """Return what a metric says now."""
    return REGISTRY.get_sample_value(name, labels)


def ms_ago(seconds: float) -> int:
    """Return a time in the past, Unix milliseconds."""
    return int((datetime.now(UTC).timestamp() - seconds) * 1000)


async def write(bench: Bench, topic: str, *messages: Message) -> None:
    """Write messages with times of their own."""
    feeder = bench.broker.producer()
    await feeder.send([message._replace(topic=topic) for message in messages])
    await feeder.close()


@pytest.fixture
def lines(logging_as_before: None) -> io.StringIO:
    """Give what is logged, as JSON lines."""
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    return stream


async def test_lag_is_the_age_of_the_oldest_unfinished_record(bench: Bench) -> None:
    """While it hangs, its age; while only younger ones are left, theirs; with nothing to do, none; at the end, gone."""
    finish = {b"old": asyncio.Event(), b"young": asyncio.Event()}

    async def behave(record: Record) -> Outcome:
        await finish[record.value or b""].wait()
        return Done()

    def lag() -> float:
        return told("lag_seconds", worker="late", topic=bench.work) or 0.0

    old, young = (
        Message(topic=bench.work, value=value, timestamp_ms=ms_ago(age_s))
        for value, age_s in ((b"old", 5_000), (b"young", 1_000))
    )
    await write(bench, bench.work, old, young)
    async with bench.running(bench.processor(behave, name="late")) as loop:
        await until(lambda: lag() > 0)
        assert lag() == pytest.approx(5_000, abs=100)
        assert told("partitions_assigned", worker="late") == 1
        assert loop.since_turn_s < 60
        finish[b"old"].set()
        await until(lambda: lag() < 4_000)
        assert lag() == pytest.approx(1_000, abs=100)
        finish[b"young"].set()
        await until(lambda: lag() == 0)
    assert told("lag_seconds", worker="late", topic=bench.work) is None
    assert told("loop_turn_age_seconds", worker="late") is None


async def test_a_retry_is_late_from_when_it_was_due(bench: Bench) -> None:
    """However long ago it was written: it had to wait."""
    retries = f"{bench.work}.retry.5m"
    await bench.admin.create_topics([NewTopic(name=retries, partitions=1)])
    release = asyncio.Event()

    async def behave(record: Record) -> Outcome:
        await release.wait()
        return Done()

    due = (RETRY_AT, str(ms_ago(100)).encode())
    await write(bench, retries, Message(topic=retries, value=b"x", headers=(due,), timestamp_ms=ms_ago(5_000)))
    async with bench.running(bench.processor(behave, name="again"), delayed_topics=[retries]):
        await until(lambda: bool(told("lag_seconds", worker="again", topic=retries)))
        assert told("lag_seconds", worker="again", topic=retries) == pytest.approx(100, abs=50)
        assert told("lag_seconds", worker="again", topic=bench.work) == 0
        release.set()


async def test_latency_counts_from_where_all_began(bench: Bench) -> None:
    """From the origin that a record names, else from its own time; what failed is no latency."""

    async def behave(record: Record) -> Outcome:
        if record.value == b"dead":
            return Dead(reason="r", error_class="E", error_text="t")
        return Done(messages=(Message(topic=bench.next, value=record.value),))

    origin = (ORIGIN_AT, str(ms_ago(2_000)).encode())
    chained = Message(topic=bench.work, value=b"chained", headers=(origin,))
    first = Message(topic=bench.work, value=b"first", timestamp_ms=ms_ago(50))
    names = ("event_latency_seconds_count", "event_latency_seconds_sum")
    before = [told(name, worker="timed") or 0.0 for name in names]
    await write(bench, bench.work, chained, first, Message(topic=bench.work, value=b"dead"))
    async with bench.running(bench.processor(behave, name="timed")):
        await bench.commits(3)
    count, total = ((told(name, worker="timed") or 0.0) - was for name, was in zip(names, before, strict=True))
    assert count == 2
    assert total == pytest.approx(2_050, abs=100)
    followed = {record.value: record.header(ORIGIN_AT) for record in await bench.read(bench.next)}
    assert followed == {b"chained": origin[1], b"first": str(first.timestamp_ms).encode()}


async def test_a_line_about_a_failed_record_says_which(bench: Bench, lines: io.StringIO) -> None:
    """By its place and its trace, for what is tried again, what is set aside and what nobody foresaw."""

    async def behave(record: Record) -> Outcome:
        if record.value == b"defect":
            raise RuntimeError("unforeseen")
        if record.value == b"later":
            return Retry(category=Category.TRANSIENT, error_class="E", error_text="t")
        return Dead(reason="broken", error_class="E", error_text="t")

    await bench.fill(b"later", b"dead", b"defect", headers=(("traceparent", f"00-{TRACE}-{'1' * 16}-01".encode()),))
    async with bench.running(bench.processor(behave), FAST):
        await bench.commits(3)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    about = [line for line in found if line["event"].startswith("record_")]
    assert {(line["event"], line["offset"]) for line in about} == {
        ("record_retried_later", 0),
        ("record_set_aside", 1),
        ("record_failed_unforeseen", 2),
        ("record_retried_later", 2),
    }
    assert {line["trace_id"] for line in about} == {TRACE}
    assert {line["topic"] for line in about} == {bench.work}
