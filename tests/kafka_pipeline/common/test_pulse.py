"""Promises of the pulse: silence is found, and work that says what it does is never called stuck."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common import pulse as pulses
from kafka_pipeline.common.pulse import Pulse, awaiting, beat, felt, within

GRACE_S = 45.0


class Time:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture
def time() -> Time:
    """Return the clock."""
    return Time()


@pytest.fixture
def pulse(time: Time) -> Pulse:
    """Return a pulse by that clock."""
    return Pulse(time, grace_s=GRACE_S)


def test_silence_beyond_the_grace_is_overdue(pulse: Pulse, time: Time) -> None:
    """From its beginning, and from each beat."""
    time.now_s += GRACE_S
    assert pulse.overdue_s == 0
    time.now_s += 7
    assert pulse.overdue_s == 7
    pulse.beat()
    assert pulse.overdue_s == 0
    time.now_s += GRACE_S + 1
    assert pulse.overdue_s == 1


def test_a_step_has_its_time_and_the_grace(pulse: Pulse, time: Time) -> None:
    """It has a time-out of its own; only if that does not work is it stuck."""
    with pulse.within(300):
        time.now_s += 300 + GRACE_S
        assert pulse.overdue_s == 0
        time.now_s += 1
        assert pulse.overdue_s == 1
    assert pulse.overdue_s == 0


def test_who_waits_for_what_others_watch_is_never_overdue(pulse: Pulse, time: Time) -> None:
    """An outage of any length; afterwards the grace begins anew."""
    with pulse.awaiting("lake"):
        time.now_s += 10**6
        assert pulse.overdue_s == 0
        assert pulse.awaited == {"lake"}
    assert pulse.awaited == frozenset()
    time.now_s += GRACE_S + 1
    assert pulse.overdue_s == 1


async def test_what_is_said_deep_below_counts_also_from_tasks(pulse: Pulse, time: Time) -> None:
    """Whatever a batch begins belongs to it, and ends with it."""
    done = asyncio.Event()

    async def below() -> None:
        with awaiting("broker"):
            await done.wait()

    with felt(pulse):
        task = asyncio.create_task(below())
        await asyncio.sleep(0)
        time.now_s += 10**6
        assert pulse.awaited == {"broker"}
        assert pulse.overdue_s == 0
        done.set()
        await task
        time.now_s += GRACE_S + 1
        assert pulse.overdue_s == 1
        beat()
        assert pulse.overdue_s == 0
    time.now_s += GRACE_S + 1
    beat()
    assert pulse.overdue_s == 1, "outside nobody listens"


def test_outside_of_any_work_nothing_happens() -> None:
    """Commands and tests use the same parts."""
    with within(1), awaiting("lake"):
        beat()
    assert pulses._current.get() is None


@given(steps=st.lists(st.tuples(st.sampled_from(["within", "awaiting", "beat", "leave"]), st.integers(0, 200))))
def test_nothing_is_overdue_before_the_last_promise_is_broken(steps: list[tuple[str, int]]) -> None:
    """Any nesting of steps and waits: never while one is promised, always once all are past."""
    time = Time()
    pulse = Pulse(time, grace_s=GRACE_S)
    entered: list[tuple[ExitStack, float | None]] = []
    last_s = time.now_s
    for what, seconds in steps:
        time.now_s += seconds
        waits = any(end is None for _, end in entered)
        due_s = max([last_s, *[end for _, end in entered if end is not None]]) + GRACE_S
        assert pulse.overdue_s == (0 if waits else max(0.0, time.now_s - due_s))
        match what:
            case "beat":
                pulse.beat()
                last_s = time.now_s
            case "leave" if entered:
                entered.pop()[0].close()
                last_s = time.now_s
            case "within":
                stack = ExitStack()
                stack.enter_context(pulse.within(seconds))
                entered.append((stack, time.now_s + seconds))
            case "awaiting":
                stack = ExitStack()
                stack.enter_context(pulse.awaiting("lake"))
                entered.append((stack, None))
            case _:
                pass
