"""What every handler of events promises: groups in, one result per event out, no event failing its neighbours.

A handler asks the API and turns answers into rows; it writes nothing and produces nothing. The pure part, answer in
and rows out, stands beside each handler in a `*_rows` module.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final, Protocol

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api import ClaimXApi
from kafka_pipeline.claimx.handlers.results import (
    NO_ROWS,
    Failed,
    HandlerResult,
    MediaNotReadyError,
    MissingIdError,
    NotFoundError,
    Origin,
    Rows,
    WrongAnswerError,
)
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError

__all__ = [
    "DEFAULT_CONTEXT",
    "NO_ROWS",
    "EventHandler",
    "Failed",
    "HandlerContext",
    "HandlerResult",
    "MediaNotReadyError",
    "MissingIdError",
    "NotFoundError",
    "Origin",
    "RowWriter",
    "Rows",
    "WrongAnswerError",
    "youngest",
]

log = structlog.get_logger(__name__)


class RowWriter(Protocol):
    """Makes rows of any tables durable: `EntityTableWriter`."""

    async def write(self, rows: Iterable[Row]) -> None:
        """Return when every row is in the lake; raise PipelineError if not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerContext:
    """What handlers share."""

    clock: Clock = SYSTEM_CLOCK
    store_signed_links: bool = False
    """Keep query and fragment of links in rows [SEC-8]; messages always carry the full link."""


DEFAULT_CONTEXT: Final = HandlerContext()


class EventHandler(ABC):
    """Enriches the events of some types. Stateless: one instance serves all batches at once."""

    supports_batching: ClassVar[bool] = False
    """Whether events with an equal `batch_key` are enriched together."""
    batch_key: ClassVar[str | None] = None
    """The task's field by which events are grouped: one group costs one API call."""

    def __init__(self, context: HandlerContext = DEFAULT_CONTEXT) -> None:
        self.context = context

    @abstractmethod
    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Enrich one group (one event, where batching is not supported); return a result per event, in order.

        May raise: a PipelineError fails the whole group with its category; anything else is tried again event by
        event, so that only those fail that cause it.
        """

    async def handle_batch(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Enrich events, groups side by side; return one result per event, in order. Raises nothing [HND-10]."""
        groups: dict[Hashable, list[int]] = {}
        for index, task in enumerate(tasks):
            grouped = self.supports_batching and self.batch_key is not None
            groups.setdefault(getattr(task, self.batch_key or "") if grouped else index, []).append(index)
        answers = await asyncio.gather(
            *(self._contained([tasks[index] for index in indices], api) for indices in groups.values())
        )
        monitoring.CALLS_SAVED.labels(how="grouped").inc(
            sum(len(indices) - 1 for key, indices in groups.items() if key is not None)
        )
        results: dict[int, HandlerResult] = {}
        for indices, answer in zip(groups.values(), answers, strict=True):
            results.update(zip(indices, answer, strict=True))
        ordered = [results[index] for index in range(len(tasks))]
        log.info(
            "events_enriched",
            handler=type(self).__name__,
            events=len(tasks),
            groups=len(groups),
            failed=sum(result.failed is not None for result in ordered),
            rows=sum(len(result.rows) for result in ordered),
            downloads=sum(len(result.downloads) for result in ordered),
        )
        return ordered

    async def handle(self, event: ClaimXEnrichmentTask, api_client: ClaimXApi, writer: RowWriter) -> HandlerResult:
        """Enrich one event and write its rows. Its downloads are the caller's to produce. Raises nothing."""
        [result] = await self.handle_batch([event], api_client)
        try:
            await writer.write(result.rows)
        except Exception as error:  # noqa: BLE001 - raised and reported failures are treated alike [HND-10]
            return _failed([event], error)[0]
        return result

    async def _contained(self, tasks: list[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        try:
            return _one_each(tasks, await self.enrich(tasks, api))
        except PipelineError as error:
            return _failed(tasks, error)
        except Exception as error:  # noqa: BLE001 - one event never fails its neighbours [HND-10]
            if len(tasks) == 1:
                return _failed(tasks, error)
            return [result for task in tasks for result in await self._contained([task], api)]


def youngest(tasks: Sequence[ClaimXEnrichmentTask]) -> datetime:
    """Return when the last of these tasks was made: what the API says must not be older than that."""
    return max(task.created_at for task in tasks)


def _one_each(tasks: Sequence[ClaimXEnrichmentTask], results: list[HandlerResult]) -> list[HandlerResult]:
    if [result.task for result in results] != list(tasks):
        raise AssertionError("a handler must return one result per event, in order")
    return results


def _failed(tasks: Sequence[ClaimXEnrichmentTask], error: Exception) -> list[HandlerResult]:
    failure = Failed.of(error)
    if failure.unavailable is not None:  # nothing failed, and in an outage this is said again and again
        log.info("events_wait", reason=failure.reason, events=len(tasks))
        return [HandlerResult(task=task, failed=failure) for task in tasks]
    level = "error" if failure.category is Category.UNKNOWN else "warning"
    for task in tasks:
        getattr(log, level)(
            "event_not_enriched",
            event_id=task.event_id,
            event_type=task.event_type,
            category=failure.category.value,
            reason=failure.reason,
            error=failure.error_text,
        )
    return [HandlerResult(task=task, failed=failure) for task in tasks]
