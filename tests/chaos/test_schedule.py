"""A seed decides what breaks when, and nothing else does."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from chaos.schedule import SESSION_S, Blow, make_schedule
from kafka_pipeline.claimx.pipeline import WorkerKind

_SEEDS = st.integers(0, 2**32)
_DURATIONS = st.floats(10, 120)


@given(seed=_SEEDS, duration_s=_DURATIONS)
def test_a_seed_plays_the_same_blows_again(seed: int, duration_s: float) -> None:
    """Two schedules of one seed are equal, in order, and within their time."""
    schedule = make_schedule(seed, duration_s=duration_s)
    assert make_schedule(seed, duration_s=duration_s) == schedule
    times = [stroke.at_s for stroke in schedule.strokes]
    assert times == sorted(times)
    assert all(0 <= at_s <= duration_s + 0.1 for at_s in times)


@given(seed=_SEEDS, duration_s=_DURATIONS)
def test_nobody_is_struck_while_another_blow_lasts(seed: int, duration_s: float) -> None:
    """Blows of one victim do not overlap: a frozen worker is not stopped, a dead broker not killed."""
    for first, second in combinations(make_schedule(seed, duration_s=duration_s).strokes, 2):
        victims = [stroke.member or _place(stroke.blow) for stroke in (first, second)]
        if victims[0] == victims[1]:
            assert second.at_s >= first.at_s + first.for_s


@given(seed=_SEEDS)
def test_every_storm_has_each_kind_of_blow(seed: int) -> None:
    """In a storm of full length a broker ends and both cut-offs come; a zombie outlives its session."""
    strokes = make_schedule(seed, duration_s=40).strokes
    blows = {stroke.blow for stroke in strokes}
    assert blows & {Blow.BROKER_KILL, Blow.BROKER_TERM}
    assert blows >= {Blow.KILL, Blow.API, Blow.STORAGE}
    assert all(stroke.for_s > SESSION_S for stroke in strokes if stroke.blow is Blow.FREEZE)


def test_twenty_seeds_time_the_death_of_every_kind_of_worker() -> None:
    """Whichever worker dies, somewhere in the runs it is timed how soon the other goes on."""
    assert {make_schedule(seed, duration_s=40).timed.kind for seed in range(1, 21)} == set(WorkerKind)


def _place(blow: Blow) -> str:
    return "broker" if blow in {Blow.BROKER_KILL, Blow.BROKER_TERM} else blow.value
