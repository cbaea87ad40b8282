"""What can go wrong on purpose, and when: the faults of a simulated ClaimX, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Endpoint(str, Enum):
    """What a request asks for, by the word that scripts use."""

    PROJECT = "project"
    MEDIA = "media"
    """The list of a project's files."""
    TASK = "task"
    REPORT = "report"
    """Video calls. The id of such a request is the project's, as with `project` and `media`."""
    LINK = "link"
    """The file service, which sends on to the storage. The id is the media item's."""
    FILE = "file"
    """The storage. The id is the media item's."""


API = frozenset({Endpoint.PROJECT, Endpoint.MEDIA, Endpoint.TASK, Endpoint.REPORT})
FILES = frozenset({Endpoint.LINK, Endpoint.FILE})


class FaultKind(str, Enum):
    """The word that a fault goes by, in scripts and in counts."""

    LATENCY = "latency"
    FAIL = "fail"
    THROTTLE = "throttle"
    OUTAGE = "outage"
    SHORT_LINKS = "short_links"
    EXPIRED = "expired"
    CUT = "cut"
    DRIP = "drip"


class RetryAfterForm(str, Enum):
    """The two ways to write Retry-After."""

    SECONDS = "seconds"
    DATE = "date"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """The answer begins later."""

    delay_s: float
    jitter_s: float = 0.0
    """Up to so much is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The answer is an error; which one of several is drawn."""

    statuses: tuple[int, ...] = (500, 502, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The answer is 429, with Retry-After."""

    retry_after_s: float = 1.0
    form: RetryAfterForm = RetryAfterForm.SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Nothing is answered: whoever asks gets this status, or no connection where it is None."""

    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortLinks:
    """Links in media lists are good for so long only, and say so."""

    lifetime_s: int = 1


@dataclass(frozen=True, slots=True)
class Expired:
    """The answer is that the link has expired, whatever the link says."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends in the middle of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """The body comes slowly."""

    bytes_per_s: float = 20_000.0


Effect: TypeAlias = Latency | Fail | Throttle | Outage | ShortLinks | Expired | Cut | Drip

KIND_OF: dict[type[Effect], FaultKind] = {
    Latency: FaultKind.LATENCY,
    Fail: FaultKind.FAIL,
    Throttle: FaultKind.THROTTLE,
    Outage: FaultKind.OUTAGE,
    ShortLinks: FaultKind.SHORT_LINKS,
    Expired: FaultKind.EXPIRED,
    Cut: FaultKind.CUT,
    Drip: FaultKind.DRIP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong: what, where, when and how often."""

    effect: Effect
    endpoints: frozenset[Endpoint]
    ids: frozenset[str] = frozenset()
    """Empty is every id."""
    start_s: float = 0.0
    """Since the script was put in force."""
    duration_s: float = math.inf
    share: float = 1.0
    """Of the requests it concerns."""
    times: int | None = None
    """It strikes each endpoint and id so often at most."""

    @property
    def kind(self) -> FaultKind:
        """The word for it."""
        return KIND_OF[type(self.effect)]

    @property
    def stop_s(self) -> float:
        """When it is over, since the script was put in force."""
        return self.start_s + self.duration_s

    def covers(self, elapsed_s: float) -> bool:
        """Say whether it is in force at this time."""
        return self.start_s <= elapsed_s < self.stop_s

    def concerns(self, endpoint: Endpoint, id_: str) -> bool:
        """Say whether a request for this may be struck."""
        return endpoint in self.endpoints and (not self.ids or id_ in self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScript:
    """All that goes wrong. Equal scripts strike equal requests."""

    faults: tuple[Fault, ...] = ()
    seed: int = 1


NO_FAULTS = FaultScript()
