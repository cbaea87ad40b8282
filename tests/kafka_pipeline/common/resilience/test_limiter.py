"""Promises of the limiter to the tasks that share it: no slot too many, none lost, nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kafka_pipeline.common.resilience.limiter import (
    AdaptiveLimiter,
    Answered,
    Cause,
    LimitSettings,
    Overloaded,
    Unrelated,
    Use,
)

ENDS: dict[str, Callable[[], Use]] = {
    "answered": lambda: Use(Answered("a", 0.1)),
    "refused": lambda: Use(Overloaded(Cause.REFUSED)),
    "other": lambda: Use(Unrelated()),
}
STEPS = st.one_of(
    st.tuples(st.just("start"), st.integers(1, 4)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 1_000)),
    *(st.tuples(st.just(end), st.integers(0, 1_000)) for end in ENDS),
)


class Callers:
    """Tasks that hold a slot until they are told how their call ends."""

    def __init__(self, limiter: AdaptiveLimiter) -> None:
        """Start with none."""
        self.limiter = limiter
        self.tasks: list[asyncio.Task[None]] = []
        self.holding: list[asyncio.Future[Use]] = []
        self.most = 0

    async def call(self) -> None:
        """Wait for a slot, hold it, end as told."""
        async with self.limiter.slot() as use:
            end: asyncio.Future[Use] = asyncio.get_running_loop().create_future()
            self.holding.append(end)
            self.most = max(self.most, len(self.holding))
            try:
                use.feedback = (await end).feedback
            finally:
                self.holding.remove(end)

    async def do(self, what: str, number: int) -> None:
        """Take one step of a schedule."""
        if what == "start":
            self.tasks += [asyncio.create_task(self.call()) for _ in range(number)]
        elif what == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        elif what == "cancel" and self.tasks:
            self.tasks[number % len(self.tasks)].cancel()
        elif what in ENDS and self.holding:
            end = self.holding[number % len(self.holding)]
            if not end.done():
                end.set_result(ENDS[what]())

    async def finish(self) -> None:
        """End every call, those in line too."""
        async with asyncio.timeout(10):
            while not all(task.done() for task in self.tasks):
                for end in self.holding:
                    if not end.done():
                        end.set_result(ENDS["other"]())
                await asyncio.sleep(0)


@given(most=st.integers(1, 5), steps=st.lists(STEPS, max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_interleaving_of_calls_and_cancellations_loses_a_slot_or_lends_one_too_many(
    most: int, steps: list[tuple[str, int]]
) -> None:
    """Never above the maximum; when all is over every slot is free, and everybody who was not cancelled had one."""

    async def schedule() -> None:
        limiter = AdaptiveLimiter("property", LimitSettings(max_limit=most))
        callers = Callers(limiter)
        for what, number in steps:
            await callers.do(what, number)
            assert 1 <= limiter.limit <= most
            assert len(callers.holding) <= limiter.in_use <= most
        await callers.finish()
        assert limiter.in_use == 0
        assert [error for task in callers.tasks if not task.cancelled() and (error := task.exception())] == []
        async with asyncio.timeout(10), limiter.slot():
            assert limiter.in_use == 1

    asyncio.run(schedule())


async def test_who_waits_longest_is_next() -> None:
    """First come, first served, also against somebody who comes when a slot becomes free."""
    limiter = AdaptiveLimiter("order", LimitSettings(max_limit=1))
    served: list[int] = []

    async def call(number: int) -> None:
        async with limiter.slot():
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(number) for number in range(10)))
    assert served == list(range(10))


async def test_decreases_and_the_limit_are_told() -> None:
    """By limiter and cause; gauges follow."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"limiter": "told", **labels}) or 0.0

    before = value("concurrency_decreases_total", cause="refused")
    limiter = AdaptiveLimiter("told", LimitSettings(max_limit=10))
    async with limiter.slot() as use:
        assert value("concurrency_in_use") == 1
        use.feedback = Overloaded(Cause.REFUSED)
    assert (value("concurrency_limit"), value("concurrency_in_use")) == (8, 0)
    assert value("concurrency_decreases_total", cause="refused") == before + 1
