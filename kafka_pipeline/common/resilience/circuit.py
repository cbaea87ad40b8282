"""When a failing service may be asked: the state machine of a circuit breaker. Pure; the time is handed in.

```text
             N counted failures in a row
  CLOSED ───────────────────────────────────▶ OPEN ◀──────────────┐
     ▲                                          │ reset_s passed,  │ counted failure
     │ success                                  ▼ somebody asks    │ of the probe
     └────────────────────────────────────── HALF_OPEN ────────────┘
                                       one probe at a time; an uncounted result, a cancelled
                                       probe or an expired lease frees the place of the probe
```

Every try gets a permit with a generation, and the generation moves on with every change of state and every probe. A
result that comes late, from an earlier generation, changes nothing: a call begun before the breaker opened can neither
close it nor decide for a younger probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CircuitState(str, Enum):
    """Whether the service may be asked."""

    CLOSED = "closed"
    """All calls pass."""
    OPEN = "open"
    """No call passes until the reset time is over."""
    HALF_OPEN = "half_open"
    """One call at a time passes, to see whether the service is back."""


class Verdict(Enum):
    """What the result of one try says about the service."""

    SUCCESS = "success"
    """It works: the circuit closes."""
    FAILURE = "failure"
    """It does not: counted."""
    UNCOUNTED = "uncounted"
    """Nothing: the try was cancelled, or failed through the caller's own fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSettings:
    """When to give up on the service, and when to ask it again. Raises ValueError where a value cannot work."""

    failure_threshold: int = 5
    """Counted failures in a row that open the circuit."""
    reset_s: float = 60.0
    """Seconds from opening to the first probe."""
    probe_lease_s: float = 60.0
    """Seconds after which a probe that reported nothing is given up: longer than any try can last."""

    def __post_init__(self) -> None:
        if self.failure_threshold < 1 or self.reset_s <= 0 or self.probe_lease_s <= 0:
            raise ValueError("the limits of a circuit must be positive")


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to one try; its result is reported with it, once."""

    generation: int


class Circuit:
    """The state machine. `now_s` is monotonic time in seconds, never less than in an earlier call."""

    def __init__(self, settings: CircuitSettings) -> None:
        self._settings = settings
        self._state = CircuitState.CLOSED
        self._generation = 0
        self._failures = 0
        self._reset_at_s = 0.0
        """End of the reset time of the last opening."""
        self._refuses_until_s = 0.0
        """OPEN: the end of the reset time. HALF_OPEN: also the end of the probe's lease, while there is a probe."""
        self._has_second_opinion = False

    @property
    def state(self) -> CircuitState:
        """Where the circuit stands; open turns into half-open only when somebody asks after the reset time."""
        return self._state

    @property
    def failures(self) -> int:
        """Counted failures in a row since the last success."""
        return self._failures

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until a try may be admitted, 0 if one may be now. A report can end the wait sooner."""
        if self._state is CircuitState.CLOSED:
            return 0.0
        return max(0.0, self._refuses_until_s - now_s)

    def admit(self, now_s: float) -> Permit | None:
        """Return the permit for one try, None if it is refused."""
        if self._state is CircuitState.CLOSED:
            return Permit(self._generation)
        return None if self.wait_s(now_s) > 0 else self._probe(now_s)

    def second_opinion(self, now_s: float) -> Permit | None:
        """Return a permit as `admit` does, and once after each opening also without waiting for the reset time.

        For whoever can tell a service that is down from requests that would fail anyway, before all others wait.
        """
        if self._state is CircuitState.OPEN and self._has_second_opinion:
            return self._probe(now_s)
        return self.admit(now_s)

    def report(self, permit: Permit, verdict: Verdict, now_s: float) -> None:
        """Take the result of a try. That of an earlier generation changes nothing."""
        if permit.generation != self._generation:
            return
        match verdict:
            case Verdict.SUCCESS:
                self._failures = 0
                if self._state is not CircuitState.CLOSED:
                    self._turn(CircuitState.CLOSED)
            case Verdict.FAILURE:
                self._failures += 1
                if self._state is CircuitState.HALF_OPEN or self._failures >= self._settings.failure_threshold:
                    self._has_second_opinion = self._state is CircuitState.CLOSED
                    self._turn(CircuitState.OPEN)
                    self._reset_at_s = self._refuses_until_s = now_s + self._settings.reset_s
            case Verdict.UNCOUNTED:
                self._refuses_until_s = self._reset_at_s  # the place of the probe is free

    def _probe(self, now_s: float) -> Permit:
        self._has_second_opinion = False
        self._turn(CircuitState.HALF_OPEN)
        self._refuses_until_s = max(self._reset_at_s, now_s + self._settings.probe_lease_s)
        return Permit(self._generation)

    def _turn(self, state: CircuitState) -> None:
        self._state = state
        self._generation += 1
