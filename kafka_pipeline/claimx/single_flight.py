"""One call for many who ask the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Flight:
    """A call under way. Whoever makes it keeps `sent_at` true."""

    sent_at: datetime | None = None
    """When the request left; None before that and between two tries."""
    waiters: int = 0


@dataclass(slots=True, eq=False)
class _Running(Generic[T]):
    flight: Flight
    task: asyncio.Task[T]


class SingleFlight(Generic[T]):
    """Shares one call among concurrent equal requests, its answer and its error alike.

    A waiter that is cancelled leaves the call to the others; the call ends when nobody waits for it any more.
    A request that must see a state as young as `as_of` does not join a call that was sent before that time: the
    service may have answered from an older state.
    """

    def __init__(self) -> None:
        self._running: dict[str, _Running[T]] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def get(
        self,
        key: str,
        call: Callable[[Flight], Awaitable[T]],
        *,
        as_of: datetime | None = None,
        on_shared: Callable[[], None] = lambda: None,
    ) -> T:
        """Return what `call` returns, or what an equal call under way returns. Raises what the call raises."""
        running = self._running.get(key)
        if running is not None and _may_join(running.flight, as_of):
            on_shared()
        else:
            running = self._start(key, call)
        running.flight.waiters += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.flight.waiters -= 1
            if running.flight.waiters == 0 and not running.task.done():
                self._forget(key, running)  # nobody may join a call that is being cancelled
                running.task.cancel()

    def _start(self, key: str, call: Callable[[Flight], Awaitable[T]]) -> _Running[T]:
        flight = Flight()

        async def fly() -> T:
            return await call(flight)

        running = _Running(flight, asyncio.create_task(fly()))
        self._running[key] = running
        running.task.add_done_callback(lambda task: self._landed(key, running, task))
        return running

    def _landed(self, key: str, running: _Running[T], task: asyncio.Task[T]) -> None:
        self._forget(key, running)
        if not task.cancelled():
            task.exception()  # looked at, so that an error nobody waited for is not reported as forgotten

    def _forget(self, key: str, running: _Running[T]) -> None:
        if self._running.get(key) is running:
            del self._running[key]

    async def close(self) -> None:
        """End the calls under way and wait until they have ended."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _may_join(flight: Flight, as_of: datetime | None) -> bool:
    return as_of is None or flight.sent_at is None or flight.sent_at >= as_of
