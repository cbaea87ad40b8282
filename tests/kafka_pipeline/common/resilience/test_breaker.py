"""Promises of the breaker to the tasks that share it: refusals, wake-ups, cancellation, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from prometheus_client import REGISTRY

from kafka_pipeline.common.failures import Category, UnavailableError
from kafka_pipeline.common.resilience.breaker import CircuitBreaker, CircuitSettings, CircuitState, Verdict

SETTINGS = CircuitSettings(failure_threshold=2, reset_s=60.0, probe_lease_s=35.0)


class Time:
    """A clock that stands still until the test moves it; sleepers wake when their time has come."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now_s = 0.0
        self.sleepers = 0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime(2026, 3, 2, 14, 0, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now_s

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved that far."""
        until_s = self.now_s + seconds
        self.sleepers += 1
        try:
            while self.now_s < until_s:
                await self._moved.wait()
        finally:
            self.sleepers -= 1


class ServiceError(Exception):
    """The service failed."""


class CallerError(Exception):
    """The caller's own fault."""


def judge(error: Exception | None) -> Verdict:
    """Count what is the service's."""
    if error is None:
        return Verdict.SUCCESS
    return Verdict.FAILURE if isinstance(error, ServiceError) else Verdict.UNCOUNTED


def breaker(time: Time, name: str = "example") -> CircuitBreaker:
    """Make a closed breaker."""
    return CircuitBreaker(name, SETTINGS, judge=judge, clock=time, sleep=time.sleep)


async def one_try(made: CircuitBreaker, error: type[Exception] | None = None) -> None:
    """Try once, with that end."""
    async with made.guard():
        if error is not None:
            raise error


async def opened(time: Time, name: str = "example") -> CircuitBreaker:
    """Make a breaker that has just opened."""
    made = breaker(time, name)
    for _ in range(2):
        with pytest.raises(ServiceError):
            await one_try(made, ServiceError)
    return made


async def settle(done: Callable[[], bool]) -> None:
    """Let the tasks run until it is so."""
    async with asyncio.timeout(5):
        while not done():
            await asyncio.sleep(0)


async def test_a_refused_call_is_not_tried_and_is_told_what_to_wait_for() -> None:
    """[CBR-2, CBR-5] The error says circuit_open and carries the wait."""
    time = Time()
    made = await opened(time)
    tried = False
    with pytest.raises(UnavailableError) as caught:
        async with made.guard():
            tried = True
    assert (
        tried,
        caught.value.category,
        caught.value.reason,
        caught.value.alone,
    ) == (False, Category.CIRCUIT_OPEN, "circuit_open", False)
    waiter = asyncio.create_task(asyncio.wait_for(caught.value.until(), 5))
    time.move(60)
    await waiter


async def test_who_waits_is_woken_at_the_reset_time_and_not_before() -> None:
    """A closed breaker admits at once; an open one when a probe may go."""
    time = Time()
    await asyncio.wait_for(breaker(time).admits(), 5)
    made = await opened(time)
    waiter = asyncio.create_task(made.admits())
    await settle(lambda: time.sleepers == 1)
    time.move(59.5)
    await asyncio.sleep(0)
    assert (waiter.done(), time.sleepers) == (False, 1)
    time.move(0.5)
    await asyncio.wait_for(waiter, 5)


async def test_who_waits_for_a_probe_is_woken_the_moment_it_succeeds() -> None:
    """The lease is not waited for."""
    time = Time()
    made = await opened(time)
    time.move(60)
    async with made.guard():
        waiters = [asyncio.create_task(made.admits()) for _ in range(3)]
        await settle(lambda: time.sleepers == 3)
        with pytest.raises(UnavailableError):
            await one_try(made)
        assert made.state is CircuitState.HALF_OPEN
    await asyncio.wait_for(asyncio.gather(*waiters), 5)
    assert made.closed


async def test_a_cancelled_probe_frees_the_place_and_wakes_who_waits() -> None:
    """The next caller is the probe; nothing was counted."""
    time = Time()
    made = await opened(time)
    time.move(60)
    entered = asyncio.Event()

    async def probes() -> None:
        async with made.guard():
            entered.set()
            await asyncio.Event().wait()

    probe = asyncio.create_task(probes())
    await entered.wait()
    waiter = asyncio.create_task(made.admits())
    await settle(lambda: time.sleepers == 1)
    probe.cancel()
    await asyncio.wait_for(waiter, 5)
    assert made.state is CircuitState.HALF_OPEN
    await one_try(made)
    assert made.closed


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """A record that is no longer ours stops waiting; no task stays."""
    time = Time()
    made = await opened(time)
    waiter = asyncio.create_task(made.admits())
    await settle(lambda: time.sleepers == 1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failure_that_is_the_caller_s_own_is_not_counted() -> None:
    """[CBR-4] A hundred of them leave the breaker closed, and the count as it was."""
    made = breaker(Time())
    with pytest.raises(ServiceError):
        await one_try(made, ServiceError)
    for _ in range(100):
        with pytest.raises(CallerError):
            await one_try(made, CallerError)
    assert made.closed
    with pytest.raises(ServiceError):
        await one_try(made, ServiceError)
    assert made.state is CircuitState.OPEN


async def test_a_call_that_fails_after_the_opening_does_not_lengthen_it() -> None:
    """Calls that were under way when it opened change nothing."""
    time = Time()
    made = breaker(time)
    late = made.guard()
    await late.__aenter__()
    for _ in range(2):
        with pytest.raises(ServiceError):
            await one_try(made, ServiceError)
    time.move(30)
    error = ServiceError()
    assert not await late.__aexit__(ServiceError, error, None)
    time.move(30)
    await asyncio.wait_for(made.admits(), 5)


async def test_a_second_opinion_goes_once_right_after_the_opening() -> None:
    """It fails: the breaker stays open, and the next one is refused."""
    made = await opened(Time())
    with pytest.raises(ServiceError):
        async with made.second_opinion():
            raise ServiceError
    with pytest.raises(UnavailableError):
        async with made.second_opinion():
            pass


async def test_every_change_is_told_as_metric_and_log() -> None:
    """[CBR-5] 0 closed, 1 open, 2 half-open; openings and refusals are counted; a quiet breaker is silent."""

    def value(metric: str) -> float:
        return REGISTRY.get_sample_value(metric, {"breaker": "told"}) or 0.0

    time = Time()
    with structlog.testing.capture_logs() as logged:
        await one_try(breaker(time, "told"))
        assert (value("breaker_state"), logged) == (0, [])
        before = value("breaker_openings_total"), value("breaker_refusals_total")
        made = await opened(time, "told")
        states = [value("breaker_state")]
        with pytest.raises(UnavailableError):
            await one_try(made)
        time.move(60)
        async with made.guard():
            states.append(value("breaker_state"))
        states.append(value("breaker_state"))
    assert states == [1, 2, 0]
    assert (value("breaker_openings_total"), value("breaker_refusals_total")) == (before[0] + 1, before[1] + 1)
    assert [(line["event"], line["state"], line["log_level"]) for line in logged] == [
        ("breaker_changed", "open", "warning"),
        ("breaker_changed", "half_open", "info"),
        ("breaker_changed", "closed", "info"),
    ]
