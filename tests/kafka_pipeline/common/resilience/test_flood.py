"""Promises of the flood guard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.resilience.flood import FloodGuard, FloodLimits

LIMITS = FloodLimits(window_s=60, max_share=0.5, min_dead=10)


def test_a_few_bad_records_are_no_flood() -> None:
    """A quiet topic may hold nothing but poison for a while."""
    guard = FloodGuard(LIMITS)
    assert all(guard.admits(second, records=1, dead=1) for second in range(9))
    assert not guard.tripped


def test_a_share_above_the_limit_stops_before_it_is_produced() -> None:
    """The batch that would pass the limit is refused as a whole; so is every dead letter after it."""
    guard = FloodGuard(LIMITS)
    assert guard.admits(0, records=100, dead=50)
    assert not guard.admits(1, records=1, dead=1)
    assert guard.tripped
    assert not guard.admits(10_000, records=1_000, dead=1), "no time mends the cause"
    assert guard.admits(10_000, records=1, dead=0), "what is well goes on"


def test_old_dead_letters_are_forgotten() -> None:
    """What happened before the window does not count."""
    guard = FloodGuard(LIMITS)
    assert guard.admits(0, records=18, dead=9)
    assert guard.admits(120, records=9, dead=9)


def test_a_share_of_one_switches_it_off() -> None:
    """Somebody may want just that."""
    guard = FloodGuard(FloodLimits(window_s=60, max_share=1, min_dead=1))
    assert all(guard.admits(0, records=1_000, dead=1_000) for _ in range(100))


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 50), st.floats(0, 1)).map(
            lambda drawn: (drawn[0], drawn[1], int(drawn[1] * drawn[2]))
        ),
        max_size=40,
    )
)
def test_what_was_let_through_never_passes_the_limit(batches: list[tuple[float, int, int]]) -> None:
    """In no window that the guard looks at; memory stays bounded whatever the rate."""
    guard = FloodGuard(LIMITS)
    now_s, through = 0.0, []
    for pause_s, records, dead in batches:
        now_s += pause_s
        if guard.admits(now_s, records=records, dead=dead) and records:
            through.append((now_s, records, dead))
        recent = [each for each in through if each[0] > now_s - LIMITS.window_s * 58 / 60]
        all_dead = sum(each[2] for each in recent)
        assert len(guard._slices) <= 61
        if recent == through and through and through[-1][2] and through[-1][0] == now_s:
            assert all_dead < LIMITS.min_dead or all_dead <= LIMITS.max_share * sum(each[1] for each in recent)
