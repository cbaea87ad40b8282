"""Signs of life of a piece of work, by which somebody outside tells work that takes long from work that hangs.

A piece of work, a batch say, has a pulse. Whatever works on it, however deep below, says what it is about to do:

| | means | is no silence |
|---|---|---|
| `with within(30)` | a step that ends by itself in that time: it has a time-out of its own | until then |
| `with awaiting("lake")` | waiting for something that others watch: a dependency, a turn, room | while it lasts |
| `beat()` | something has gone on | at this moment |

Whoever says nothing for longer than the grace time, and waits for nothing, is stuck: an event that nobody sets, a lock
that nobody frees. Outside of any piece of work these calls do nothing. A pulse belongs to one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

GRACE_S: Final = 45.0
"""Silence up to so long is work. Below the minute within which a stuck worker must be known."""


class Pulse:
    """The signs of life of one piece of work."""

    def __init__(self, monotonic: Callable[[], float], *, grace_s: float = GRACE_S) -> None:
        """`monotonic` tells seconds since some fixed point."""
        self._monotonic = monotonic
        self._grace_s = grace_s
        self._awaited: list[str] = []
        self._ends_s: list[float] = []
        self._last_s = monotonic()

    def beat(self) -> None:
        """Something has gone on."""
        self._last_s = self._monotonic()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Take a step that ends by itself in that time."""
        end_s = self._monotonic() + seconds
        self._ends_s.append(end_s)
        try:
            yield
        finally:
            self._ends_s.remove(end_s)
            self.beat()

    @contextmanager
    def awaiting(self, what: str) -> Iterator[None]:
        """Wait for something that others watch."""
        self._awaited.append(what)
        try:
            yield
        finally:
            self._awaited.remove(what)
            self.beat()

    @property
    def awaited(self) -> frozenset[str]:
        """What is waited for just now."""
        return frozenset(self._awaited)

    @property
    def overdue_s(self) -> float:
        """Return how long a sign of life has been due, in seconds; 0 while none is.

        Of several steps at once the last one to end counts, and a wait excuses them all: one that is stuck beside them
        is seen when they are over.
        """
        if self._awaited:
            return 0.0
        return max(0.0, self._monotonic() - max([self._last_s, *self._ends_s]) - self._grace_s)


_current: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


@contextmanager
def felt(pulse: Pulse) -> Iterator[None]:
    """Let what is said in this task, and in tasks it begins, count for this pulse."""
    token = _current.set(pulse)
    try:
        yield
    finally:
        _current.reset(token)


def beat() -> None:
    """Something has gone on."""
    pulse = _current.get()
    if pulse is not None:
        pulse.beat()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Take a step that ends by itself in that time."""
    pulse = _current.get()
    if pulse is None:
        yield
        return
    with pulse.within(seconds):
        yield


@contextmanager
def awaiting(what: str) -> Iterator[None]:
    """Wait for something that others watch."""
    pulse = _current.get()
    if pulse is None:
        yield
        return
    with pulse.awaiting(what):
        yield
