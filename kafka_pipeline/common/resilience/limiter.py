"""Slots for calls, as many as the service bears; who finds none waits in line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from kafka_pipeline.common.observability.metrics import counter, gauge
from kafka_pipeline.common.resilience.aimd import (
    Answered,
    Cause,
    ConcurrencyLimit,
    Feedback,
    LimitSettings,
    Overloaded,
    Slot,
    Unrelated,
)

__all__ = ["AdaptiveLimiter", "Answered", "Cause", "LimitSettings", "Overloaded", "Unrelated", "Use"]

LIMIT: Final = gauge(
    "concurrency_limit",
    labels=("limiter",),
    meaning="Calls allowed at the same time, found out from how the service takes them.",
    remedy="Low for long: the service refuses or slows down under our load; concurrency_decreases_total says which.",
)
IN_USE: Final = gauge(
    "concurrency_in_use",
    labels=("limiter",),
    meaning="Calls under way.",
    remedy="At concurrency_limit while there is lag: the service decides the pace; raise the maximum if it bears more.",
)
DECREASES: Final = counter(
    "concurrency_decreases_total",
    labels=("limiter", "cause"),
    meaning="Times the limit was lowered: refused (429, 503), timeout, or latency well above its usual level.",
    remedy="A few per hour are how the limit is found. Many: lower the maximum, or ask who else loads the service.",
)

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Use:
    """A slot while it is held. Whoever holds it sets `feedback`; without it the use says nothing about load."""

    feedback: Feedback = field(default_factory=Unrelated)


class AdaptiveLimiter:
    """Bounds calls under way, first come, first served, by a limit that follows the service.

    One limiter per service, shared by all tasks of the process. `name` is a constant: it is a metric label. A task
    that is cancelled while it waits or holds a slot leaves nothing behind.
    """

    def __init__(self, name: str, settings: LimitSettings) -> None:
        self.name = name
        self._limit = ConcurrencyLimit(settings)
        self._line: deque[asyncio.Future[Slot]] = deque()
        self._told_limit, self._told_use = LIMIT.labels(name), IN_USE.labels(name)
        self._show()

    @property
    def limit(self) -> int:
        """Calls allowed at the same time, now."""
        return self._limit.limit

    @property
    def in_use(self) -> int:
        """Calls under way."""
        return self._limit.in_use

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Use]:
        """Wait for a slot and hold it."""
        slot = await self._acquire()
        use = Use()
        try:
            yield use
        finally:
            self._release(slot, use.feedback)

    async def _acquire(self) -> Slot:
        if not self._line and (slot := self._limit.acquire()) is not None:
            self._show()
            return slot
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came together with the cancellation
                self._release(turn.result(), Unrelated())
            raise

    def _release(self, slot: Slot, feedback: Feedback) -> None:
        cause = self._limit.release(slot, feedback)
        if cause is not None:
            DECREASES.labels(self.name, cause.value).inc()
            _log.info("concurrency_lowered", limiter=self.name, limit=self.limit, cause=cause.value)
        self._hand_out()
        self._show()

    def _hand_out(self) -> None:
        """Give free slots to those first in line; who was cancelled leaves it here."""
        while self._line:
            if not self._line[0].done():
                slot = self._limit.acquire()
                if slot is None:
                    return
                self._line[0].set_result(slot)
            self._line.popleft()

    def _show(self) -> None:
        self._told_limit.set(self.limit)
        self._told_use.set(self.in_use)
