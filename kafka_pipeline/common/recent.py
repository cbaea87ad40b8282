"""A memory of what was seen a short while ago, bounded in size and age (I9)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")


class Recent(Generic[T]):
    """Holds the last `max_items` items that were added within the last `max_age_s` seconds.

    Whoever uses it must stay right when it forgets; what it remembers is only ever work spared.
    """

    def __init__(self, *, max_items: int, max_age_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._max_items = max_items
        self._max_age_s = max_age_s
        self._clock = clock
        self._added_at: OrderedDict[T, float] = OrderedDict()

    def __contains__(self, item: T) -> bool:
        added_at = self._added_at.get(item)
        return added_at is not None and self._clock.monotonic() - added_at < self._max_age_s

    def __len__(self) -> int:
        return len(self._added_at)

    def add(self, items: Iterable[T]) -> None:
        """Remember these from now on; the oldest make room."""
        now_s = self._clock.monotonic()
        for item in items:
            self._added_at[item] = now_s
            self._added_at.move_to_end(item)
        while len(self._added_at) > self._max_items:
            self._added_at.popitem(last=False)
