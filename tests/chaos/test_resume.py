"""How soon work goes on after a death is told by what was waiting, not by what had yet to come."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from chaos import resume
from kafka_pipeline.common.messaging import TopicPartition, Watermarks

SESSION_S = 6.0
LIMIT_S = 30.0
NEVER = math.inf


@dataclass
class Group:
    """A clock that goes on by a second with each look; each partition has work at one time, a commit at another."""

    work: dict[TopicPartition, tuple[float, float]]
    now_s: float = 0.0
    born: datetime = field(default=datetime(2026, 4, 1, tzinfo=UTC))

    def monotonic(self) -> float:
        """Return the seconds of the story."""
        return self.now_s

    def now(self) -> datetime:
        """Return a time of day; nobody looks."""
        return self.born

    async def topics(self) -> dict[str, int]:
        """Return the one topic."""
        return {"topic": len(self.work)}

    async def watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
        """Let a second pass; a partition holds ten finished records, and one more once it has work."""
        self.now_s += 1.0
        return {each: Watermarks(0, 11 if self.now_s >= self.work[each][0] else 10) for each in partitions}

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what is committed."""
        return {each: 11 if self.now_s >= self.work[each][1] else 10 for each in partitions}


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        ([(0, 7), (0, 5)], 7),
        ([(3, 9)], 9),
        ([(0, 7), (17, 18)], 7),
        ([(0, 7), (17, 28)], 12),  # from the look before
        ([(0, 7), (NEVER, NEVER)], 7),
        ([(0, 7), (0, NEVER)], LIMIT_S),
        ([(NEVER, NEVER)], 0),
    ],
    ids=["the slowest", "early work", "late work", "late and slow", "no work", "not served", "nothing at all"],
)
async def test_a_partition_is_timed_from_when_it_had_work(
    work: list[tuple[float, float]], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the death on, or from its first record if that came only after the session of the dead had ended."""
    monkeypatch.setattr(resume, "_LOOK_EVERY_S", 0)
    group: Any = Group({TopicPartition("topic", number): each for number, each in enumerate(work)})
    told = await resume.resumed_after(group, "group", "topic", session_s=SESSION_S, limit_s=LIMIT_S, clock=group)
    assert told == seconds
