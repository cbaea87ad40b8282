"""Traces by OpenTelemetry. Imported only where tracing is on; needs the extra `tracing`.

Where spans go and which are kept is set by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS,
_TIMEOUT and _CERTIFICATE, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*,
OTEL_SPAN_LINK_COUNT_LIMIT.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kafka_pipeline.common.messaging import Headers, Record
from kafka_pipeline.common.messaging.carried import TRACEPARENT, TRACESTATE
from kafka_pipeline.common.observability.tracing import Attribute, BatchTrace, Span, SpanIds, current

Describe = Callable[[Record], Mapping[str, Attribute]]
"""Returns what a record is found by: ids, never personal data."""

SCOPE: Final = "kafka_pipeline"

_LAST_WORDS_S: Final = 3.0
"""A stop waits so long for a collector that does not answer."""

_FAILED: Final = frozenset({"retry", "dead_letter"})
"""Outcomes that make a span an error."""

_CONTEXT: Final = frozenset({TRACEPARENT, TRACESTATE})

_W3C: Final = TraceContextTextMapPropagator()


def otlp_provider() -> TracerProvider:
    """Return a provider that sends spans where the environment says. `send_rest` ends it."""
    resource = Resource.create({SERVICE_NAME: "kafka-pipeline"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


async def send_rest(provider: TracerProvider) -> None:
    """Send what is left, as far as the collector takes it within a few seconds; never raises."""
    # A thread that nobody waits for: where the collector is away, the exporter tries again for longer than a stop may
    # last.
    thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, _LAST_WORDS_S)


class OtelTracer:
    """Makes the spans that `tracing.py` describes."""

    def __init__(self, provider: trace.TracerProvider, *, describe: Describe = lambda _: {}) -> None:
        self._tracer = provider.get_tracer(SCOPE)
        self._describe = describe

    @contextmanager
    def batch(self, worker: str, group: str, records: Sequence[Record]) -> Iterator[BatchTrace]:
        """Return the spans of a batch; see `Tracer`."""
        shared: trace.Span | None = None
        if len(records) > 1:
            attributes: dict[str, Attribute] = {
                "messaging.batch.message_count": len(records),
                "kafka_pipeline.worker": worker,
            }
            shared = self._tracer.start_span(f"batch {worker}", context=Context(), attributes=attributes)
        links = [] if shared is None else [trace.Link(shared.get_span_context())]
        spans = [self._of_record(worker, group, record, links) for record in records]
        if shared is not None:
            for span in spans:
                shared.add_link(span.get_span_context())
        everything = spans if shared is None else [*spans, shared]
        try:
            with current(_OtelSpan(self._tracer, everything[-1])):
                yield _Spans(records, spans)
        except BaseException as error:
            for span in everything:
                _mark(span, type(error).__name__)
            raise
        finally:
            for span in everything:
                span.end()

    def _of_record(self, worker: str, group: str, record: Record, links: Sequence[trace.Link]) -> trace.Span:
        span = self._tracer.start_span(
            f"process {record.topic}",
            context=_W3C.extract(_carrier(record), context=Context()),
            kind=trace.SpanKind.CONSUMER,
            links=links,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": record.topic,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "messaging.consumer.group.name": group,
                "kafka_pipeline.worker": worker,
            },
        )
        if span.is_recording():
            for name, value in self._describe(record).items():
                span.set_attribute(f"kafka_pipeline.{name}", value)
        return span


class _OtelSpan:
    """One span as `tracing.py` sees it."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def ids(self) -> SpanIds:
        """What it is found by."""
        context = self._span.get_span_context()
        return SpanIds(trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))

    @contextmanager
    def child(self, name: str, attributes: dict[str, Attribute]) -> Iterator[Span]:
        """Return a span below this one; see `Span`."""
        parent = trace.set_span_in_context(self._span, Context())
        with ExitStack() as stack:
            span = self._tracer.start_span(name, context=parent, attributes=attributes)
            stack.callback(span.end)
            try:
                yield _OtelSpan(self._tracer, span)
            except BaseException as error:
                _mark(span, type(error).__name__)
                raise


class _Spans:
    """The records of a batch with their spans."""

    def __init__(self, records: Sequence[Record], spans: Sequence[trace.Span]) -> None:
        self.records = [_naming(record, span) for record, span in zip(records, spans, strict=True)]
        self._spans = spans

    def ended(self, outcomes: Iterable[str]) -> None:
        """Tell each span how its record ended."""
        for span, outcome in zip(self._spans, outcomes, strict=True):
            span.set_attribute("kafka_pipeline.outcome", outcome)
            if outcome in _FAILED:
                _mark(span, outcome)


def _mark(span: trace.Span, word: str) -> None:
    """Mark a span as failed, by a word: an exception's own text and frames stay out of traces."""
    span.set_attribute("error.type", word)
    span.set_status(trace.StatusCode.ERROR, word)


def _carrier(record: Record) -> dict[str, str]:
    return {name: value.decode("ascii", "replace") for name, value in record.headers if name in _CONTEXT}


def _naming(record: Record, span: trace.Span) -> Record:
    """Return the record with headers that name this span; unchanged if there is none, as the sampler may decide."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context=trace.set_span_in_context(span, Context()))
    if not carrier:
        return record
    named: Headers = tuple((name, value.encode()) for name, value in carrier.items())
    return record._replace(headers=(*(each for each in record.headers if each[0] not in _CONTEXT), *named))
