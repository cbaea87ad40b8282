"""Promises of the limit: its bounds, what raises and lowers it, and how it finds what a service bears."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.resilience.aimd import (
    Answered,
    Cause,
    ConcurrencyLimit,
    Feedback,
    LimitSettings,
    Overloaded,
    Slot,
    Unrelated,
)

REFUSED = Overloaded(Cause.REFUSED)
FEEDBACK: st.SearchStrategy[Feedback] = st.one_of(
    st.builds(Answered, st.sampled_from("ab"), st.floats(0, 1e6)),
    st.builds(Overloaded, st.sampled_from(Cause)),
    st.just(Unrelated()),
)


def limit_of(max_limit: int, min_limit: int = 1) -> ConcurrencyLimit:
    """Make a limit."""
    return ConcurrencyLimit(LimitSettings(max_limit=max_limit, min_limit=min_limit))


def taken(limit: ConcurrencyLimit) -> list[Slot]:
    """Take every slot there is."""
    slots = []
    while (slot := limit.acquire()) is not None:
        slots.append(slot)
    return slots


def one_round(limit: ConcurrencyLimit, feedback: Feedback) -> None:
    """Use every slot once, at the same time, with the same end."""
    for slot in taken(limit):
        limit.release(slot, feedback)


def noisy(rng: random.Random, median_s: float) -> float:
    """Return a latency as services have them: one in a hundred takes ten times the median."""
    return median_s * rng.lognormvariate(0.0, 1.0)


@given(
    max_limit=st.integers(1, 50),
    share=st.floats(0, 1),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 1000), FEEDBACK), max_size=300),
)
@settings(max_examples=200, deadline=None)
def test_the_limit_stays_within_its_bounds_and_every_slot_comes_back(
    max_limit: int, share: float, steps: list[tuple[bool, int, Feedback]]
) -> None:
    """Whatever is taken and given back in whatever order with whatever latency, one call may always go in the end."""
    least = max(1, int(max_limit * share))
    limit = limit_of(max_limit, least)
    held: list[Slot] = []
    for take, which, feedback in steps:
        if take and (slot := limit.acquire()) is not None:
            held.append(slot)
        elif not take and held:
            limit.release(held.pop(which % len(held)), feedback)
        assert least <= limit.limit <= max_limit
        assert limit.in_use == len(held) <= max_limit
    for slot in held:
        limit.release(slot, Unrelated())
    assert limit.in_use == 0
    assert len(taken(limit)) == limit.limit


@pytest.mark.parametrize("cause", [Cause.REFUSED, Cause.TIMEOUT])
def test_one_round_of_refusals_lowers_the_limit_once(cause: Cause) -> None:
    """A hundred calls that met the same load are one sign of it, not a hundred."""
    limit = limit_of(100)
    told = [limit.release(slot, Overloaded(cause)) for slot in taken(limit)]
    assert limit.limit == 80
    assert told == [cause] + [None] * 99


def test_a_round_of_successes_raises_the_limit_by_one_and_carefully_where_it_was_too_high() -> None:
    """Additive increase up to the step that failed before; ten rounds for that one; never above the maximum."""
    limit = limit_of(12)
    one_round(limit, REFUSED)
    limits = [limit.limit]
    for _ in range(50):
        one_round(limit, Answered("a", 0.1))
        limits.append(limit.limit)
    assert limits[:3] == [9, 10, 11]
    assert limits[10] == 11
    assert limits[-1] == 12


def test_a_limit_that_nobody_needs_does_not_grow() -> None:
    """Successes of a few calls say nothing about many."""
    limit = limit_of(10)
    for _ in range(5):
        one_round(limit, REFUSED)
    for _ in range(1_000):
        slot = limit.acquire()
        assert slot is not None
        limit.release(slot, Answered("a", 0.1))
    assert limit.limit == 3


def test_latency_that_grows_with_the_load_lowers_the_limit() -> None:
    """A queue at the service: ten times the usual latency, though every call succeeds."""
    limit, rng = limit_of(20), random.Random(7)
    for _ in range(10):
        one_round(limit, Answered("a", rng.uniform(0.09, 0.11)))
    assert limit.limit == 20
    causes = {limit.release(slot, Answered("a", 1.0)) for _ in range(5) for slot in taken(limit)}
    assert Cause.LATENCY in causes
    assert limit.limit < 20


def test_noise_does_not_lower_the_limit() -> None:
    """Ten thousand answers with the heavy tail that services have, of two kinds a hundred times apart."""
    limit, rng = limit_of(20), random.Random(7)
    lowered = 0
    for _ in range(500):
        for slot in taken(limit):
            kind, median_s = rng.choice([("list", 2.0), ("item", 0.02)])
            lowered += limit.release(slot, Answered(kind, noisy(rng, median_s))) is not None
    assert lowered <= 2


def test_a_service_that_stays_slower_is_used_in_full_again() -> None:
    """Five times slower at any load: the new level becomes the usual one, and the limit recovers."""
    limit, rng = limit_of(20), random.Random(7)
    for _ in range(50):
        one_round(limit, Answered("a", noisy(rng, 0.1)))
    lowest = 20
    for _ in range(2_000):
        one_round(limit, Answered("a", noisy(rng, 0.5)))
        lowest = min(lowest, limit.limit)
    assert lowest < 20
    assert limit.limit == 20


@pytest.mark.parametrize("bears", [3, 10, 30])
def test_the_limit_settles_near_what_the_service_bears(bears: int) -> None:
    """A service that refuses what is above: most rounds are just below it, and few calls are refused."""
    limit = limit_of(100)
    limits, refused, sent = [], 0, 0
    for number in range(1_000):
        slots = taken(limit)
        for place, slot in enumerate(slots):
            is_refused = place >= bears
            refused += is_refused and number >= 100
            sent += number >= 100
            limit.release(slot, REFUSED if is_refused else Answered("a", 0.1))
        limits.append(limit.limit)
    settled = limits[100:]
    assert max(settled) <= bears + 1
    assert sum(settled) / len(settled) >= 0.9 * bears
    assert refused / sent < 0.05


@pytest.mark.parametrize(("least", "most"), [(0, 5), (6, 5), (1, 0)])
def test_bounds_that_cannot_work_are_refused(least: int, most: int) -> None:
    """A limit of nothing would stop everything."""
    with pytest.raises(ValueError, match="min_limit"):
        LimitSettings(max_limit=most, min_limit=least)
