"""How many calls a service bears at once: additive increase, multiplicative decrease. Pure; latencies are handed in.

```text
  a success, with every slot in use since   limit + 1 per round of calls, up to max_limit; + 0.1 where the next
                                            step leads to the limit that was last too high
  refused for load, or no answer in time    limit * 0.8, at most once per round trip, down to min_limit
  latency well above its usual level        the same
```

A round trip: after a decrease, results of calls that began before it say nothing more, since they met the old load.

Latency is compared with itself, per kind of call, never with a fixed number. In logarithms, so that one slow answer
in ten weighs no more than it should: the recent mean (about ten calls) is high when it exceeds the usual level by more
than a factor of two and the usual spread together. The usual level follows better times fast and worse ones slowly:
a queue that our own calls build up does not become the new normal at once, a service that stays slower does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_DECREASE: Final = 0.8
_CAUTIOUS: Final = 0.1
_WARM_UP_SAMPLES: Final = 20
_RECENT: Final = 0.1
_BETTER: Final = 0.01
_WORSE: Final = 0.002
_SPREAD: Final = 0.02
_TOLERANCE: Final = math.log(2.0)
_SHORTEST_S: Final = 1e-4
"""Below it, differences are the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Between which bounds the limit moves; equal bounds fix it. Raises ValueError where a value cannot work."""

    max_limit: int
    """Calls at once at most, and at the start."""
    min_limit: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.min_limit <= self.max_limit:
            raise ValueError("a concurrency limit needs 1 <= min_limit <= max_limit")


class Cause(str, Enum):
    """Why the limit was lowered."""

    REFUSED = "refused"
    """The service said that it is too much."""
    TIMEOUT = "timeout"
    """No answer came in time."""
    LATENCY = "latency"
    """Answers took clearly longer than usual."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The call was served."""

    kind: str
    """What was asked for: each kind has a usual latency of its own. One of a small fixed set."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Overloaded:
    """The call was not served, and too much load may be why."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Unrelated:
    """How the call ended says nothing about load."""


Feedback = Answered | Overloaded | Unrelated


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to one call, given back once."""

    number: int
    epoch: int


@dataclass(slots=True)
class _Latency:
    """The latency of one kind of call, as logarithms of seconds."""

    samples: int = 0
    usual: float = 0.0
    spread: float = 0.0
    recent: float = 0.0

    def add(self, seconds: float) -> None:
        sample = math.log(max(seconds, _SHORTEST_S))
        self.samples += 1
        away = abs(sample - self.usual)
        if self.samples <= _WARM_UP_SAMPLES:
            self.usual += (sample - self.usual) / self.samples
            self.spread += (away - self.spread) / self.samples if self.samples > 1 else 0.0
            self.recent = self.usual
            return
        self.recent += _RECENT * (sample - self.recent)
        self.spread += _SPREAD * (away - self.spread)
        self.usual += (_WORSE if sample > self.usual else _BETTER) * (sample - self.usual)

    @property
    def is_high(self) -> bool:
        return self.recent - self.usual > _TOLERANCE + self.spread


@dataclass(slots=True)
class ConcurrencyLimit:
    """The limit and the slots under it. Starts at the maximum: most services bear it, and those that do not say so."""

    settings: LimitSettings
    in_use: int = field(default=0, init=False)
    _limit: float = field(init=False)
    _too_high: float = field(default=math.inf, init=False)
    """The limit when it was last lowered; forgotten once the service bears more."""
    _epoch: int = field(default=0, init=False)
    _slots: int = field(default=0, init=False)
    _last_full: int = field(default=0, init=False)
    """Number of the last slot that left none free."""
    _latencies: dict[str, _Latency] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._limit = float(self.settings.max_limit)

    @property
    def limit(self) -> int:
        """Calls allowed at once. More may be under way right after a decrease."""
        return int(self._limit)

    def acquire(self) -> Slot | None:
        """Return a slot, None if all are in use."""
        if self.in_use >= self.limit:
            return None
        self.in_use += 1
        self._slots += 1
        if self.in_use == self.limit:
            self._last_full = self._slots
        return Slot(self._slots, self._epoch)

    def release(self, slot: Slot, feedback: Feedback) -> Cause | None:
        """Take a slot back, and adapt the limit. Returns the cause if that lowered it."""
        self.in_use -= 1
        if slot.epoch != self._epoch:
            return None
        match feedback:
            case Answered(kind, seconds):
                latency = self._latencies.setdefault(kind, _Latency())
                latency.add(seconds)
                if slot.number > self._last_full:
                    return None  # the limit was not reached while this call was under way: nothing is known about it
                if latency.is_high:
                    return self._lower(Cause.LATENCY)
                self._raise()
                return None
            case Overloaded(cause):
                return self._lower(cause)
            case Unrelated():
                return None

    def _raise(self) -> None:
        if self.limit > self._too_high:
            self._too_high = math.inf
        per_round = 1.0 if self.limit + 1 < self._too_high else _CAUTIOUS
        self._limit = min(self._limit + per_round / self._limit, float(self.settings.max_limit))

    def _lower(self, cause: Cause) -> Cause | None:
        self._epoch += 1
        for latency in self._latencies.values():
            latency.recent = latency.usual  # the lower limit is judged by what comes from now on
        before = self._too_high = self.limit
        self._limit = max(self._limit * _DECREASE, float(self.settings.min_limit))
        return cause if self.limit < before else None
