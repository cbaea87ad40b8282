"""Keeps a storm of equal log lines from hiding everything else: the first few are shown, the rest are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class RepeatKey(NamedTuple):
    """What makes two log lines equal: who says it, and which event it is. The facts beside it do not count."""

    logger: str
    event: str


class Suppressed(NamedTuple):
    """Lines that were counted instead of shown, in one window that has ended."""

    key: RepeatKey
    lines: int


@dataclass(slots=True)
class _Window:
    began_at: float
    seen: int = 0


class RepeatLimiter:
    """Decides which lines are shown: of equal ones `limit` per window of `window_s` seconds.

    A key's window begins with its first line. Memory is bounded: at most `capacity` windows are open, the oldest is
    closed early to make room (its count is told). Not thread-safe: its handler's lock guards it.
    """

    def __init__(self, *, limit: int, window_s: float, capacity: int = 1_000) -> None:
        self._limit = limit
        self._window_s = window_s
        self._capacity = capacity
        self._windows: dict[RepeatKey, _Window] = {}  # in the order in which they began

    def __len__(self) -> int:
        return len(self._windows)

    def admit(self, key: RepeatKey, now: float) -> tuple[bool, list[Suppressed]]:
        """Count a line at monotonic time `now`. Return whether to show it, and what earlier windows suppressed."""
        ended = self._close(now, room_for=0 if key in self._windows else 1)
        window = self._windows.setdefault(key, _Window(now))
        window.seen += 1
        return window.seen <= self._limit, ended

    def drain(self) -> list[Suppressed]:
        """Return whatever was suppressed so far, and close every window."""
        return self._close(float("inf"), room_for=0)

    def _close(self, now: float, *, room_for: int) -> list[Suppressed]:
        ended: list[Suppressed] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if now - window.began_at < self._window_s and len(self._windows) + room_for <= self._capacity:
                break
            del self._windows[key]
            if window.seen > self._limit:
                ended.append(Suppressed(key, window.seen - self._limit))
        return ended
