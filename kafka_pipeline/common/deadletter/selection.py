"""Which dead letters are meant, and what is to happen to each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from kafka_pipeline.common.deadletter.record import DeadLetter

Facts: TypeAlias = Mapping[str, frozenset[str]]
"""What a value says of itself, by the name of the filter that asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters that all must hold; an empty one always does."""

    reasons: frozenset[str] = frozenset()
    since: datetime | None = None
    """Failed last at this time or later."""
    facts: Facts = field(default_factory=dict)
    """For each name, the values of which the letter must have one."""

    @property
    def everything(self) -> bool:
        """Whether nothing is filtered out."""
        return not self.reasons and self.since is None and not any(self.facts.values())

    def covers(self, letter: DeadLetter, facts: Callable[[], Facts]) -> bool:
        """Tell whether a letter is meant. `facts` is asked only where a filter wants to know."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.since is not None and (letter.failed_at is None or letter.failed_at < self.since):
            return False
        wanted = {name: values for name, values in self.facts.items() if values}
        if not wanted:
            return True
        found = facts()
        return all(values & found.get(name, frozenset()) for name, values in wanted.items())

    def described(self) -> dict[str, object]:
        """Return the filters that are set, for people and audit lines."""
        told: dict[str, object] = {name: sorted(values) for name, values in self.facts.items() if values}
        if self.reasons:
            told["reason"] = sorted(self.reasons)
        if self.since is not None:
            told["since"] = self.since.isoformat()
        return told


class Verdict(str, Enum):
    """What a replay does with a letter."""

    SEND = "send"
    """It goes back to its topic."""
    OTHER = "other"
    """The filters leave it out."""
    ALREADY_REPLAYED = "already_replayed"
    """It was sent before."""
    QUARANTINED = "quarantined"
    """It came back too often: sending it again would go round in circles."""
    NO_VALUE = "no_value"
    """It was too large to be kept, and only its place is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """What a replay may send."""

    selection: Selection
    max_replays: int
    """Replays after which a letter is quarantined."""
    again: bool = False
    """Send also what was sent before."""
    force: bool = False
    """Send also what is quarantined."""

    def judge(self, letter: DeadLetter, facts: Callable[[], Facts], *, done: bool) -> Verdict:
        """Decide on one letter."""
        if done and not self.again:
            return Verdict.ALREADY_REPLAYED
        if not self.selection.covers(letter, facts):
            return Verdict.OTHER
        if letter.value_omitted:
            return Verdict.NO_VALUE
        if self.is_quarantined(letter) and not self.force:
            return Verdict.QUARANTINED
        return Verdict.SEND

    def is_quarantined(self, letter: DeadLetter) -> bool:
        """Tell whether a letter came back too often."""
        return letter.replays >= self.max_replays
