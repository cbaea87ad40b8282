"""How fast the ClaimX API may be asked: the service's own wish (Retry-After) and our optional rate limit [API-6]."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.clock import Clock, Sleep

MAX_HONOURED_S: Final = 60.0
"""Longest pause a Retry-After can impose on the client; a longer one is left to the retry topics."""


class Pace:
    """One gate for all requests to the service: `await turn()` before each, `slow_down` when it asks for a pause.

    A rate of zero sets no limit. With a limit, requests are spaced evenly: no burst, so the service sees the
    configured rate at most.
    """

    def __init__(self, *, rate_per_second: float, clock: Clock, sleep: Sleep) -> None:
        self.interval_s = 1.0 / rate_per_second if rate_per_second > 0 else 0.0
        """Least time between two requests."""
        self._clock = clock
        self._sleep = sleep
        self._next_slot = clock.monotonic()
        self._closed_until = clock.monotonic()

    def slow_down(self, seconds: float) -> None:
        """Let nobody through for so long, 60 s at most; never shortens an earlier pause."""
        self._closed_until = max(self._closed_until, self._clock.monotonic() + min(seconds, MAX_HONOURED_S))

    async def turn(self) -> None:
        """Return when the next request may go."""
        while (wait_s := self._closed_until - self._clock.monotonic()) > 0:
            await self._sleep(wait_s)
        if self.interval_s:
            now = self._clock.monotonic()
            slot = max(now, self._next_slot)
            self._next_slot = slot + self.interval_s
            if slot > now:
                await self._sleep(slot - now)
