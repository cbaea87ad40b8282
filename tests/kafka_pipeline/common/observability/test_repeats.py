"""A storm of equal lines is counted, not shown, and no count is lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.observability.repeats import RepeatKey, RepeatLimiter, Suppressed

STORM = RepeatKey("kafka", "broker_gone")


def test_the_first_few_are_shown_and_the_rest_are_told_as_a_number() -> None:
    """Per window; the next window begins anew."""
    limiter = RepeatLimiter(limit=2, window_s=10)

    shown = [limiter.admit(STORM, now)[0] for now in (0.0, 1.0, 2.0, 3.0)]
    next_line = limiter.admit(STORM, 10.0)

    assert shown == [True, True, False, False]
    assert next_line == (True, [Suppressed(STORM, 2)])


def test_other_lines_are_not_touched() -> None:
    """Neither another event of the same logger nor the same event of another."""
    limiter = RepeatLimiter(limit=1, window_s=10)
    limiter.admit(STORM, 0.0)

    assert limiter.admit(RepeatKey("kafka", "other"), 0.0)[0]
    assert limiter.admit(RepeatKey("api", "broker_gone"), 0.0)[0]
    assert not limiter.admit(STORM, 0.0)[0]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 5)), max_size=120),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_every_line_is_shown_or_counted_in_bounded_memory(
    lines: list[tuple[int, float]], limit: int, capacity: int
) -> None:
    """However many keys there are, and in whatever order they come."""
    limiter = RepeatLimiter(limit=limit, window_s=7, capacity=capacity)
    shown: Counter[RepeatKey] = Counter()
    counted: Counter[RepeatKey] = Counter()
    now = 0.0
    for number, pause in lines:
        now += pause
        key = RepeatKey("x", str(number))
        show, ended = limiter.admit(key, now)
        shown[key] += show
        for suppressed in ended:
            counted[suppressed.key] += suppressed.lines
        assert len(limiter) <= capacity
    for suppressed in limiter.drain():
        counted[suppressed.key] += suppressed.lines

    assert shown + counted == Counter(RepeatKey("x", str(number)) for number, _ in lines)
