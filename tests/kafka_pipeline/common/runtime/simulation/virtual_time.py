"""An event loop whose time is a number: a wait costs nothing, and the same seed gives the same run."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(2026, 3, 2, tzinfo=UTC)


class StandstillError(AssertionError):
    """Everything waits and nothing will ever happen."""


class _Impatient(selectors.SelectSelector):
    """Instead of waiting, it moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Take what is there at once; a wait is over when it begins."""
        if timeout is None:
            raise StandstillError("every task waits for something that nobody will do")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. It opens no sockets but its own."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._impatient.now_s


class VirtualClock:
    """The same time for the code under test."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the time of day."""
        return EPOCH + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """Return the seconds since the loop was made."""
        return self._loop.time()
