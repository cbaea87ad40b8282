"""What a simulated ClaimX is told: everything else follows from it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kafka_pipeline.simulator.vocabulary import EVENT_TYPES

MAX_MEDIA_PER_PROJECT = 40
"""Ids are dealt out per project in blocks of 100: more than twice this would run into the next project's block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One simulated ClaimX. Equal settings give byte-identical feed, files and truth.

    Shares are fractions of `events`, which counts every item of the feed, duplicates and malformed ones too. Raises
    ValueError with one readable line where the numbers cannot be met.
    """

    seed: int = 1
    projects: int = 100
    media_per_project: int = 6
    """The mean; a project has none to twice as many."""
    events: int = 1000
    duplicate_share: float = 0.03
    malformed_share: float = 0.01
    event_types: tuple[str, ...] = EVENT_TYPES
    epoch: datetime = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
    """The newest moment anything in the world happened at. Keep it in the past: an event's master file name counts
    as older than any answer of the API."""
    latency_ms: float = 0.0
    """Mean time before an answer begins; each answer draws from half to one and a half of it."""
    link_lifetime_s: int = 86_400
    host: str = "127.0.0.1"
    api_port: int = 0
    storage_port: int = 0
    control_port: int = 0
    """0 lets the system choose. Faults are put in force over the last one."""
    api_reached_at: str = ""
    storage_reached_at: str = ""
    """`host:port` by which clients come, where something stands between; empty: the port itself."""
    token: str = base64.b64encode(b"simulator:invented-key").decode()
    """The pre-encoded Basic token that the API asks for [API-2]."""

    def __post_init__(self) -> None:
        """Refuse what cannot be met."""
        if unknown := sorted(set(self.event_types) - set(EVENT_TYPES)):
            raise ValueError(f"event_types: not known on the feed: {', '.join(unknown)}")
        if not 0 <= self.projects <= 900_000:
            raise ValueError("projects must be between 0 and 900000")
        if not 1 <= self.media_per_project <= MAX_MEDIA_PER_PROJECT:
            raise ValueError(f"media_per_project must be between 1 and {MAX_MEDIA_PER_PROJECT}")
        if not (self.duplicate_share >= 0 and self.malformed_share >= 0):
            raise ValueError("duplicate_share and malformed_share must not be negative")
        if self.proper_events < 0:
            raise ValueError("duplicate_share and malformed_share leave no proper events")
        if self.duplicates and not self.proper_events:
            raise ValueError("duplicates need a proper event to repeat")
        if self.epoch.utcoffset() != timedelta(0):
            raise ValueError("epoch must be aware, in UTC")
        if self.link_lifetime_s <= 0:
            raise ValueError("link_lifetime_s must be positive")

    @property
    def duplicates(self) -> int:
        """Items of the feed that repeat an earlier one byte for byte."""
        return round(self.events * self.duplicate_share)

    @property
    def malformed(self) -> int:
        """Items of the feed that are no event at all."""
        return round(self.events * self.malformed_share)

    @property
    def proper_events(self) -> int:
        """Items of the feed that are events of their own."""
        return self.events - self.duplicates - self.malformed
