"""Promises of the bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.common.recent import Recent


class Watch:
    """A clock that shows what it was set to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """Return a fixed time."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Return the seconds it was set to."""
        return self.seconds


def test_an_item_is_forgotten_after_its_time() -> None:
    """Adding it again starts its time anew."""
    watch = Watch()
    memory = Recent[str](max_items=10, max_age_s=5, clock=watch)
    memory.add(["a", "b"])
    watch.seconds = 4
    memory.add(["b"])
    watch.seconds = 5
    assert "a" not in memory
    assert "b" in memory


@given(items=st.lists(st.integers(0, 20)), bound=st.integers(1, 5))
def test_the_last_items_are_remembered_and_no_more(items: list[int], bound: int) -> None:
    """I9: never more than the bound, and always the latest."""
    memory = Recent[int](max_items=bound, max_age_s=1, clock=Watch())
    for item in items:
        memory.add([item])
        assert len(memory) <= bound
    latest = list(dict.fromkeys(reversed(items)))[:bound]
    assert {item for item in range(21) if item in memory} == set(latest)
