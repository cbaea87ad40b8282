"""When a failed record is tried again [RTY-1]. Pure: a decision on data, nothing is done here.

    retry_count      0       1       2       3       4
    next attempt   +5 m    +10 m   +20 m   +40 m   none: dead letter          (with the default delays)

A server's own wish (Retry-After) may ask for more: then the record takes the first delay, from its own on, that is long
enough. One that no delay covers is due later than its topic's delay, and holds the later ones of that topic up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_LONGEST_WISH: Final = timedelta(days=1)
"""A server that asks for more is not believed: the record would block its topic until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """Try again: after the delay of that number, not before that time."""

    delay: int
    """Index into the delays, and so into the topics."""
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late: one further attempt for each delay. Raises ValueError for delays that are none."""

    delays_s: Sequence[float]

    def __post_init__(self) -> None:
        if any(delay_s <= 0 for delay_s in self.delays_s):
            raise ValueError("every delay must be positive")

    def decide(self, retry_count: int, now: datetime, not_before: datetime | None = None) -> RetryLater | None:
        """Return when to try again a record that failed after `retry_count` retries; None if it was the last time."""
        if retry_count >= len(self.delays_s):
            return None
        wish = not_before if not_before is not None and not_before > now else now
        wish = min(wish, now + _LONGEST_WISH)
        last = len(self.delays_s) - 1
        long_enough = (at for at in range(retry_count, last) if now + timedelta(seconds=self.delays_s[at]) >= wish)
        delay = next(long_enough, last)
        return RetryLater(delay=delay, due_at=max(wish, now + timedelta(seconds=self.delays_s[delay])))
