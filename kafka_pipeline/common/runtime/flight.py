"""Batches in flight: what is left of each, and whether it is worked on or waits for a dependency."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from kafka_pipeline.common.messaging import TopicPartition
from kafka_pipeline.common.pulse import Pulse
from kafka_pipeline.common.runtime.batching import Delivery, size_of
from kafka_pipeline.common.runtime.outcomes import Wait


class Flight:
    """One batch. `left` is what is not finished; while it rests, `waits` says for what, one for each of `left`."""

    def __init__(self, deliveries: Sequence[Delivery], pulse: Pulse) -> None:
        self.left = list(deliveries)
        self.pulse = pulse
        self.busy_keys = self.left
        """Deliveries whose keys are not yet free for others."""
        self.waits: list[Wait] = []
        self.at_rest = asyncio.Event()
        """Set while nobody works on it: it waits, or it is over."""
        self._nothing_left = asyncio.Event()

    @property
    def overdue_s(self) -> float:
        """How long a sign of life has been due, in seconds; 0 for what waits for a dependency."""
        return 0.0 if self.waits else self.pulse.overdue_s

    def touches(self, partitions: Collection[TopicPartition]) -> bool:
        """Tell whether any record that is left came from one of these."""
        return any(delivery.record.topic_partition in partitions for delivery in self.left)

    def rest(self, waits: Sequence[Wait]) -> None:
        """Begin to wait: one cause for each record that is left."""
        self.waits = list(waits)
        self.at_rest.set()

    def rise(self) -> None:
        """End the wait, for whatever reason."""
        self.pulse.beat()
        self.waits = []
        self.at_rest.clear()

    async def until_worth_it(self, least_s: float) -> None:
        """Return when trying again is worth it for any of those that wait, after `least_s`, or nothing is left.

        Raises what a cause raises: it is a defect.
        """
        causes: list[asyncio.Future[Any]] = [asyncio.ensure_future(until()) for until in {w.until for w in self.waits}]
        causes.append(asyncio.ensure_future(self._nothing_left.wait()))
        try:
            over, _ = await asyncio.wait(causes, return_when=asyncio.FIRST_COMPLETED)
            for cause in over:
                cause.result()
            if self.left:
                await asyncio.sleep(least_s)
        finally:
            for cause in causes:
                cause.cancel()
            await asyncio.gather(*causes, return_exceptions=True)

    def keep(self, stays: Callable[[Delivery], bool]) -> list[Delivery]:
        """Drop from what is left all that does not stay; return it."""
        gone = [delivery for delivery in self.left if not stays(delivery)]
        if self.waits:
            self.waits = [wait for wait, each in zip(self.waits, self.left, strict=True) if stays(each)]
        self.left = [delivery for delivery in self.left if stays(delivery)]
        if not self.left:
            self._nothing_left.set()
        return gone


class InFlight:
    """Every batch in flight, counted (I9)."""

    def __init__(self) -> None:
        self._flights: dict[asyncio.Task[None], Flight] = {}
        self.records = 0
        """Records that are not finished."""
        self.held_bytes = 0
        """Bytes of their values."""

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights.values())

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks that work on them."""
        return list(self._flights)

    @property
    def unavailable(self) -> bool:
        """Whether something waits for a dependency without which nothing else can be done either."""
        return any(not wait.alone for flight in self for wait in flight.waits)

    @property
    def overdue_s(self) -> float:
        """How long a sign of life of any batch has been due, in seconds."""
        return max((flight.overdue_s for flight in self), default=0.0)

    def waiting(self) -> Counter[str]:
        """Return how many records wait, by what they wait for."""
        return Counter(wait.reason for flight in self for wait in flight.waits)

    def add(self, task: asyncio.Task[None], flight: Flight) -> None:
        """Count a batch that has begun."""
        self._flights[task] = flight
        self._count(flight.left, 1)

    def over(self, task: asyncio.Task[None]) -> Flight:
        """Take out a batch that has ended, whatever is left of it."""
        flight = self._flights.pop(task)
        self._count(flight.left, -1)
        flight.at_rest.set()
        return flight

    def keep(self, flight: Flight, stays: Callable[[Delivery], bool]) -> None:
        """Reduce a batch to what stays."""
        self._count(flight.keep(stays), -1)

    def _count(self, deliveries: Sequence[Delivery], sign: int) -> None:
        self.records += sign * len(deliveries)
        self.held_bytes += sign * sum(map(size_of, deliveries))
