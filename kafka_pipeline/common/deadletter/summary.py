"""How many dead letters wait, for which reason, and for how long. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from kafka_pipeline.common.deadletter.record import DeadLetter


class Age(str, Enum):
    """How long ago a letter failed last."""

    HOUR = "hour"
    """Less than an hour."""
    DAY = "day"
    """Less than a day, not less than an hour."""
    WEEK = "week"
    """Less than a week, not less than a day."""
    OLDER = "older"
    """A week or more; also letters that do not say."""

    @classmethod
    def of(cls, letter: DeadLetter, now: datetime) -> Age:
        """Return the age of a letter."""
        if letter.failed_at is None:
            return cls.OLDER
        age = now - letter.failed_at
        return next((each for each, limit in _LIMITS if age < limit), cls.OLDER)


_LIMITS = ((Age.HOUR, timedelta(hours=1)), (Age.DAY, timedelta(days=1)), (Age.WEEK, timedelta(days=7)))


@dataclass(slots=True)
class Reason:
    """The letters of one reason."""

    count: int = 0
    quarantined: int = 0
    """Of these, how many came back too often to be sent again unasked."""
    ages: Counter[Age] = field(default_factory=Counter)
    oldest: datetime | None = None


@dataclass(slots=True)
class Summary:
    """All letters of a topic."""

    reasons: dict[str, Reason] = field(default_factory=dict)
    """Of the letters that wait."""
    replayed: int = 0
    """Letters that were sent again, and are still kept."""

    @property
    def waiting(self) -> int:
        """How many letters wait."""
        return sum(each.count for each in self.reasons.values())

    def add(self, letter: DeadLetter, *, done: bool, quarantined: bool, now: datetime) -> None:
        """Count a letter."""
        if done:
            self.replayed += 1
            return
        reason = self.reasons.setdefault(letter.reason, Reason())
        reason.count += 1
        reason.quarantined += quarantined
        reason.ages[Age.of(letter, now)] += 1
        if letter.failed_at is not None and (reason.oldest is None or letter.failed_at < reason.oldest):
            reason.oldest = letter.failed_at
