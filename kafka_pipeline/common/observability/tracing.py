"""Traces: where the time of one event went, stage by stage, for whoever asked for them. Off, they cost nothing.

    record ──▶ span "process <topic>", child of the span that the record's headers name
       │          └─ what follows from the record names this span: the next stage, its retry, its dead letter
       └── a batch of several has a span of its own, linked with those of its records in both directions;
           API calls, downloads and writes to the lake are its children, or the record's where it is alone

Nothing here knows OpenTelemetry: `otel.py` does, and is imported only where tracing is on. Propagation is our own and
small, because instrumentations of Kafka clients see one current message where we have batches. Span names, attributes
and errors hold fixed words, ids, topics and hosts: no link, no name, no error text (I10).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, NamedTuple, Protocol, TypeAlias

from structlog.typing import EventDict, WrappedLogger

from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.messaging.carried import TRACEPARENT

Attribute: TypeAlias = str | int | float


class SpanIds(NamedTuple):
    """What a span is found by, as lower-case hex."""

    trace_id: str
    span_id: str


class Span(Protocol):
    """A span that is under way. Children may be begun in any task that was started while it was current."""

    @property
    def ids(self) -> SpanIds:
        """What it is found by."""

    def child(self, name: str, attributes: dict[str, Attribute]) -> AbstractContextManager[Span]:
        """Return a span below this one, which ends with the context; an exception marks it by its class alone."""


class BatchTrace(Protocol):
    """The spans of one batch's records, from being taken up until each has its outcome."""

    @property
    def records(self) -> Sequence[Record]:
        """The records, as they name their own spans to whatever follows from them."""

    def ended(self, outcomes: Iterable[str]) -> None:
        """Say how each record ended, in the words of the metrics."""


class Tracer(Protocol):
    """Begins the spans of batches."""

    def batch(self, worker: str, group: str, records: Sequence[Record]) -> AbstractContextManager[BatchTrace]:
        """Return the spans of a batch. They end with the context, and are what `span` finds within it."""


class _Untraced:
    """A batch that nobody asked about."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def ended(self, outcomes: Iterable[str]) -> None:
        """Do nothing."""


class _NoTracer:
    def batch(self, worker: str, group: str, records: Sequence[Record]) -> AbstractContextManager[BatchTrace]:
        """Return a context that changes nothing: the records keep the headers they came with."""
        return nullcontext(_Untraced(records))


NO_TRACER: Final[Tracer] = _NoTracer()
"""Tracing that is off."""

_current: ContextVar[Span | None] = ContextVar("current_span", default=None)


@contextmanager
def current(span: Span) -> Iterator[None]:
    """Make a span the one that `span` finds, in this task and in those begun meanwhile."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def span(name: str, **attributes: Attribute) -> AbstractContextManager[object]:
    """Return a context that is one step of the work under way.

    `name` is a constant. Attributes hold neither links nor names of people. With tracing off it does nothing.
    """
    parent = _current.get()
    return nullcontext() if parent is None else _step(parent, name, attributes)


@contextmanager
def _step(parent: Span, name: str, attributes: dict[str, Attribute]) -> Iterator[None]:
    with parent.child(name, attributes) as child, current(child):
        yield


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: a line that is written within a span names it."""
    parent = _current.get()
    if parent is not None:
        event.setdefault("trace_id", parent.ids.trace_id)
        event.setdefault("span_id", parent.ids.span_id)
    return event


def trace_id_of(record: Record) -> str | None:
    """Return the trace that a record belongs to, from its headers, with tracing on or off; None if it names none."""
    text = record.header(TRACEPARENT)
    if text is None or not text.isascii():
        return None
    parts = text.decode().split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() else None
