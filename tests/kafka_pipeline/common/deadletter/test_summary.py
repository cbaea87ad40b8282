"""Counts by reason and age are those of the letters."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.deadletter.record import LAST_FAILED_AT, REASON, DeadLetter
from kafka_pipeline.common.deadletter.summary import Age, Summary
from kafka_pipeline.common.messaging import NO_TIMESTAMP, Record

NOW = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


def letter(*, failed_at: datetime | None, reason: str = "auth", timestamp_ms: int = NO_TIMESTAMP) -> DeadLetter:
    """Return a letter that failed then."""
    headers = ((REASON, reason.encode()),)
    if failed_at is not None:
        headers = (*headers, (LAST_FAILED_AT, failed_at.isoformat().encode()))  # type: ignore[assignment]
    return DeadLetter.parse(
        Record(topic="d", partition=0, offset=0, key=None, value=b"", headers=headers, timestamp_ms=timestamp_ms)
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(hours=-1), Age.HOUR),
        (timedelta(minutes=59), Age.HOUR),
        (timedelta(hours=1), Age.DAY),
        (timedelta(days=1), Age.WEEK),
        (timedelta(days=7), Age.OLDER),
    ],
)
def test_each_age_has_its_place(age: timedelta, expected: Age) -> None:
    """Bounds belong to the older one; a clock that is ahead makes nothing old."""
    assert Age.of(letter(failed_at=NOW - age), NOW) is expected


def test_a_letter_that_says_no_time_has_that_of_the_broker() -> None:
    """One without any counts as old: it is not what just began to fail."""
    taken = letter(failed_at=None, timestamp_ms=int((NOW - timedelta(minutes=1)).timestamp() * 1000))
    assert Age.of(taken, NOW) is Age.HOUR
    assert Age.of(letter(failed_at=None), NOW) is Age.OLDER


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 20), st.booleans(), st.booleans()), max_size=30
    )
)
def test_what_waits_and_what_was_replayed_are_all(rows: list[tuple[str, int | None, bool, bool]]) -> None:
    """Replayed ones are counted apart, and in no reason."""
    summary = Summary()
    for reason, days, done, quarantined in rows:
        failed_at = None if days is None else NOW - timedelta(days=days)
        summary.add(letter(failed_at=failed_at, reason=reason), done=done, quarantined=quarantined, now=NOW)
    waiting = [row for row in rows if not row[2]]
    assert (summary.waiting, summary.replayed) == (len(waiting), len(rows) - len(waiting))
    assert {name: each.count for name, each in summary.reasons.items()} == Counter(row[0] for row in waiting)
    for name, each in summary.reasons.items():
        mine = [row for row in waiting if row[0] == name]
        days_ago = [row[1] for row in mine if row[1] is not None]
        assert each.quarantined == sum(row[3] for row in mine)
        assert each.ages.total() == each.count
        assert each.oldest == (NOW - timedelta(days=max(days_ago)) if days_ago else None)
