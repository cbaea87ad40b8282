"""What a worker gives the loop: where its records come from, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from kafka_pipeline.common.failures import Category, PipelineError, UnavailableError
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.observability.redaction import safe_error_text
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Dead, Outcome, Retry, Wait


class Processor(Protocol):
    """The part of a worker that is its own. Everything else is the loop's."""

    @property
    def name(self) -> str:
        """The worker's name in logs and metrics."""

    @property
    def group(self) -> str:
        """Its consumer group."""

    @property
    def topics(self) -> Sequence[str]:
        """What it reads, beside topics of delayed retries."""

    @property
    def ordering(self) -> Ordering:
        """What it needs to know about the order of its records."""

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return one outcome per record, in order; return `Done` only when what follows from it is durable.

        Several calls run at once. The first step of a call, up to its first await, runs in the order of the batches.
        A failure of one record is its outcome, not an exception. If the call does raise, the loop calls it again for
        each record alone, so that one bad record never fails its neighbours; what raises then is classified by
        `failure_outcome`. Records whose outcome was `Wait` come again, by themselves, in a later call.
        """


class RetriesOf:
    """A worker once more, as a member of a group of its own: what it reads there are its delayed retries alone.

    A group that reads both balances partitions by their number, whatever their topic: one member could have all of the
    main topic and the others nothing but retries. Apart, each topic is shared evenly, and neither waits for the other.
    """

    topics: Sequence[str] = ()

    def __init__(self, worker: Processor, group: str) -> None:
        self._worker = worker
        self.group = group
        self.name = f"{worker.name}-retries"
        self.ordering = worker.ordering

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Let the worker do it."""
        return await self._worker.process(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """Where a failed record goes: to a topic, from which it comes back when its time has come."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Where a failed record goes: to the dead letters."""

    messages: tuple[Message, ...]


Route: TypeAlias = TryAgain | SetAside | Wait
"""What becomes of a failed record. `Wait` keeps it where it is: a worker without retry topics tries again in place."""


class FailureRouter(Protocol):
    """Decides where a failed record goes."""

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return what to produce for it; its offset is committed once that is acknowledged.

        `tries` is how often this loop has given the record to its worker, 1 the first time.
        """

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter of a record that no broker takes whole: small, and still telling its place."""


def failure_outcome(error: BaseException) -> Retry | Dead | Wait:
    """Turn an exception into the outcome of its record; what nobody foresaw counts as transient (section 7.1)."""
    name = type(error).__name__
    if isinstance(error, UnavailableError):
        return Wait(reason=error.reason, until=error.until, alone=error.alone)
    if not isinstance(error, PipelineError):
        return Retry(category=Category.UNKNOWN, error_class=name, error_text=safe_error_text(error))
    if error.category is Category.PERMANENT:
        return Dead(reason=error.reason, error_class=name, error_text=safe_error_text(error))
    return Retry(
        category=error.category,
        error_class=name,
        error_text=safe_error_text(error),
        reason=error.reason,
        not_before=error.not_before,
    )
