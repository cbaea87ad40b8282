"""The last line of defence of the dead letters: a worker that would set most of its records aside stops instead.

Dead letters are for the few records that cannot be worked off. When most of what a worker reads would go there, the
cause is not the records: a release with a fault, a feed that changed its form, a credential that lost a right. Draining
the topic into the dead letters would turn one fault into a day of replaying.

    tripped:  dead >= min_dead   and   dead / records > max_share      within the last window_s seconds

The decision is made before anything is produced, so what trips the guard is still at its place in the topic. It stays
tripped until the worker is started anew: somebody must have looked. Pure: the time is passed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodLimits:
    """How much of a worker's records may end in the dead letters."""

    window_s: float = 300.0
    max_share: float = 0.5
    """Of the records of the window; 1 switches the guard off."""
    min_dead: int = 100
    """Dead letters below which no share means anything."""


class FloodGuard:
    """Watches the share of dead letters of one worker over a sliding window.

    The window is kept in `_SLICES` slices, so memory does not grow with the rate (I9).
    """

    _SLICES = 60

    def __init__(self, limits: FloodLimits) -> None:
        self._limits = limits
        self._slices: deque[tuple[int, int, int]] = deque()
        self.tripped = False

    def admits(self, now_s: float, *, records: int, dead: int) -> bool:
        """Tell whether a batch of so many records may set so many aside, and count it if so.

        Once it said no, it says no to every dead letter; batches without one always pass.
        """
        if self.tripped and dead:
            return False
        self._forget_before(now_s - self._limits.window_s)
        all_dead = dead + sum(each[2] for each in self._slices)
        all_records = records + sum(each[1] for each in self._slices)
        if dead and all_dead >= self._limits.min_dead and all_dead > self._limits.max_share * all_records:
            self.tripped = True
            return False
        self._count(now_s, records, dead)
        return True

    def _count(self, now_s: float, records: int, dead: int) -> None:
        slice_number = int(now_s / self._limits.window_s * self._SLICES)
        if self._slices and self._slices[-1][0] == slice_number:
            _, before, dead_before = self._slices.pop()
            records, dead = records + before, dead + dead_before
        self._slices.append((slice_number, records, dead))

    def _forget_before(self, then_s: float) -> None:
        oldest = int(then_s / self._limits.window_s * self._SLICES)
        while self._slices and self._slices[0][0] <= oldest:
            self._slices.popleft()
