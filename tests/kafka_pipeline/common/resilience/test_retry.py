"""Promises of when a failed record is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.resilience.retry import RetryLater, RetryPolicy

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)
POLICY = RetryPolicy(delays_s=(300, 600, 1200, 2400))


def later(delay: int, seconds: float) -> RetryLater:
    """Return a decision, its time relative to now."""
    return RetryLater(delay=delay, due_at=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("retry_count", "wish_s", "decision"),
    [
        (0, None, later(0, 300)),
        (1, None, later(1, 600)),
        (2, None, later(2, 1200)),
        (3, None, later(3, 2400)),
        (4, None, None),
        (99, None, None),
        (0, -50, later(0, 300)),  # a wish of the past is none
        (0, 300, later(0, 300)),
        (0, 301, later(1, 600)),  # the first delay that is long enough
        (1, 100, later(1, 600)),
        (0, 2400, later(3, 2400)),
        (2, 3600, later(3, 3600)),  # no delay is: as late as the server asked for
        (4, 10, None),  # a wish adds no attempt
        (0, 10 * 86_400, later(3, 86_400)),  # nobody waits for more than a day
    ],
)
def test_each_attempt_has_its_delay(retry_count: int, wish_s: float | None, decision: RetryLater | None) -> None:
    """[RTY-1] The delay of the attempt, or more where the server asked for it (settled point 17)."""
    wish = None if wish_s is None else NOW + timedelta(seconds=wish_s)
    assert POLICY.decide(retry_count, NOW, wish) == decision


@given(
    delays_s=st.lists(st.floats(0.1, 10_000), min_size=1, max_size=6),
    retry_count=st.integers(0, 10),
    wish_s=st.none() | st.floats(-1_000, 100_000),
)
def test_never_earlier_than_the_delay_or_the_wish(
    delays_s: list[float], retry_count: int, wish_s: float | None
) -> None:
    """Whatever the delays are; and there are as many attempts as delays."""
    wish = None if wish_s is None else NOW + timedelta(seconds=wish_s)
    decision = RetryPolicy(delays_s=delays_s).decide(retry_count, NOW, wish)
    assert (decision is None) == (retry_count >= len(delays_s))
    if decision is not None:
        assert retry_count <= decision.delay < len(delays_s)
        assert decision.due_at >= NOW + timedelta(seconds=delays_s[decision.delay])
        assert wish is None or decision.due_at >= min(wish, NOW + timedelta(days=1))


def test_a_delay_that_is_none_is_refused() -> None:
    """It would turn a failing record into a busy loop."""
    with pytest.raises(ValueError, match="positive"):
        RetryPolicy(delays_s=(5, 0))
