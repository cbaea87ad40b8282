"""Spans of batches and steps, by OpenTelemetry's own exporter in memory; and nothing at all while tracing is off."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.common.observability.otel import OtelTracer
from kafka_pipeline.common.observability.tracing import NO_TRACER, span, trace_id_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "https://files.example.com/a?X-Amz-Signature=deadbeef"


def record(offset: int, *headers: tuple[str, bytes]) -> Record:
    """Make a record."""
    return Record(topic="in", partition=3, offset=offset, key=None, value=b"{}", headers=headers, timestamp_ms=1)


def traced(offset: int = 0, flags: str = "01") -> Record:
    """Make a record that belongs to a trace."""
    parent = (("traceparent", f"00-{TRACE}-{PARENT}-{flags}".encode()), ("tracestate", b"vendor=1"))
    return record(offset, ("kept", b"x"), *parent)


class Kept:
    """A tracer, and the spans that it has ended."""

    def __init__(self, exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
        self._exporter = exporter
        self.tracer = OtelTracer(provider, describe=lambda record: {"event_id": f"e-{record.offset}"})

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the ended spans of a name."""
        return [each for each in self._exporter.get_finished_spans() if each.name == name]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Give a tracer that keeps its spans in memory."""
    provider = TracerProvider(sampler=None, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Kept(exporter, provider)
    provider.shutdown()


def _id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def _trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def test_a_record_goes_on_in_its_trace(kept: Kept) -> None:
    """Its span is a child of the one its headers name, and what follows from it is a child of that."""
    with kept.tracer.batch("w", "g", [traced(5)]) as trace:
        (named,) = trace.records
        trace.ended(["success"])
    (found,) = kept.spans("process in")
    assert (_trace(found), found.kind) == (TRACE, SpanKind.CONSUMER)
    assert found.parent is not None
    assert f"{found.parent.span_id:016x}" == PARENT
    assert named.headers == (
        ("kept", b"x"),
        ("traceparent", f"00-{TRACE}-{_id(found)}-01".encode()),
        ("tracestate", b"vendor=1"),
    )
    assert dict(found.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "in",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 5,
        "messaging.consumer.group.name": "g",
        "kafka_pipeline.worker": "w",
        "kafka_pipeline.event_id": "e-5",
        "kafka_pipeline.outcome": "success",
    }


@pytest.mark.parametrize("header", [b"", b"nonsense", b"\xff\xff", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"])
def test_a_record_without_a_readable_trace_begins_one(kept: Kept, header: bytes) -> None:
    """Whatever somebody wrote into the header."""
    with kept.tracer.batch("w", "g", [record(0, ("traceparent", header))]) as trace:
        (named,) = trace.records
    (found,) = kept.spans("process in")
    assert found.parent is None
    assert trace_id_of(named) == _trace(found)


def test_a_batch_and_its_records_are_linked_both_ways(kept: Kept) -> None:
    """From an event one finds the batch that took it along, from a batch its events; steps belong to the batch."""
    with kept.tracer.batch("w", "g", [traced(0), record(1)]) as trace, span("lake write", table="t"):
        trace.ended(["success", "waits"])
    (batch,) = kept.spans("batch w")
    (step,) = kept.spans("lake write")
    first, second = kept.spans("process in")
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [_id(first), _id(second)]
    assert [[f"{link.context.span_id:016x}" for link in each.links] for each in (first, second)] == [[_id(batch)]] * 2
    assert len({_trace(each) for each in (batch, first, second)}) == 3
    assert step.parent is not None
    assert f"{step.parent.span_id:016x}" == _id(batch)


async def test_steps_of_tasks_belong_to_the_work_that_began_them(kept: Kept) -> None:
    """Side by side, each under its own record."""

    async def work(offset: int) -> None:
        with kept.tracer.batch("w", "g", [record(offset)]), span("outer"):
            await asyncio.gather(*(step() for _ in range(2)))

    async def step() -> None:
        with span("inner"):
            await asyncio.sleep(0)

    await asyncio.gather(work(0), work(1))
    outer = {_id(each): _trace(each) for each in kept.spans("outer")}
    inner = kept.spans("inner")
    assert len(outer) == 2
    assert len(inner) == 4
    for each in inner:
        assert each.parent is not None
        assert outer[f"{each.parent.span_id:016x}"] == _trace(each)


def test_what_failed_is_marked_by_words_alone(kept: Kept) -> None:
    """I10: an error's text and frames stay out of traces."""
    with kept.tracer.batch("w", "g", [record(0), record(1)]) as trace:
        with pytest.raises(ValueError, match="Signature"), span("download"):
            raise ValueError(SECRET)
        trace.ended(["dead_letter", "retry"])
    with pytest.raises(RuntimeError), kept.tracer.batch("w", "g", [record(2)]):
        raise RuntimeError(SECRET)
    failed = [*kept.spans("download"), *kept.spans("process in")]
    words = [(each.status.status_code, each.status.description) for each in failed]
    assert words == [(StatusCode.ERROR, word) for word in ("ValueError", "dead_letter", "retry", "RuntimeError")]
    everything = "".join(each.to_json() for each in [*failed, *kept.spans("batch w")])
    assert "Signature" not in everything
    assert not any(each.events for each in failed)


def test_a_trace_that_nobody_keeps_goes_on_all_the_same() -> None:
    """The sampler decided against it, or the sender did: the stages behind must know."""
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    with OtelTracer(provider).batch("w", "g", [traced(flags="00"), record(1)]) as trace:
        ours, begun = [each.header("traceparent") for each in trace.records]
    assert ours is not None
    assert ours.startswith(f"00-{TRACE}-".encode())
    assert begun is not None
    assert [int(header[-2:], 16) & 1 for header in (ours, begun)] == [0, 0]  # the flag of what is kept


@pytest.mark.usefixtures("logging_as_before")
def test_lines_within_a_span_name_it(kept: Kept) -> None:
    """From a log line to its trace; outside of spans nothing is said."""
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log = structlog.get_logger("test")
    with kept.tracer.batch("w", "g", [traced()]):
        log.info("within")
    log.info("outside")
    within, outside = map(json.loads, stream.getvalue().splitlines())
    (found,) = kept.spans("process in")
    assert (within["trace_id"], within["span_id"]) == (TRACE, _id(found))
    assert "trace_id" not in outside


def test_off_it_changes_nothing() -> None:
    """The very same records, and steps that are none."""
    records = [traced(0), record(1)]
    with NO_TRACER.batch("w", "g", records) as trace, span("step", table="t"):
        assert trace.records is records
        trace.ended(["success", "success"])


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    """Whoever does not trace pays neither start time nor memory for it."""
    script = (
        "import sys, kafka_pipeline.cli.app, kafka_pipeline.claimx.pipeline;"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
