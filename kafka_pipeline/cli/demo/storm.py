"""What goes wrong in a demo with faults: a storm, a few poisoned parts of the world, and the repair."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.faults import Fault, FaultScript, Outage
from kafka_pipeline.simulator.poison import Poison, choose_poison
from kafka_pipeline.simulator.simulator import Simulator

STORM = b"""
faults:
  - {at: 2s, for: 20s, outage: refuse}
  - {throttle: 0.5, for: 2s, retry_after: 1s, form: date, times: 1}
  - {throttle: 0.5, at: 24s, for: 6s, retry_after: 1s, times: 1}
  - {fail: 0.3, times: 3}
  - {fail: 0.3, endpoint: file, times: 1}
  - {short_links: 0.3, lifetime: 1s, times: 1}
  - {expired: 0.1, times: 1}
  - {cut: 0.1, endpoint: media, times: 1}
  - {cut: 0.1, endpoint: file, times: 1}
  - {drip: 0.05, bytes_per_second: 50000, times: 1}
  - {latency: 0s, jitter: 50ms, endpoint: all}
"""
"""`docs/faults.md` has the words. `times` leaves every record more attempts than faults, so that all come through."""

RETRY_DELAYS_S = (1, 2, 4, 8)
BREAKER_RESET_S = 2
"""In production minutes: a demo is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What is poisoned, and the weather beside it."""

    poison: Poison
    weather: FaultScript

    @property
    def raging(self) -> FaultScript:
        """Everything at once."""
        return replace(self.weather, faults=(*self.poison.faults(), *self.weather.faults))

    @property
    def past(self) -> FaultScript:
        """What is left when the weather is good again: the poison."""
        return replace(self.weather, faults=self.poison.faults())

    @property
    def repaired(self) -> FaultScript:
        """The weather without the outage, once somebody has repaired what was poisoned."""
        return replace(self.weather, faults=tuple(each for each in self.weather.faults if not _is_outage(each)))


def storm_over(simulator: Simulator) -> Storm:
    """Return the storm for a simulator that has begun. The same seed gives the same."""
    seed = simulator.settings.seed
    poison = choose_poison(seed, simulator.feed(), simulator.truth())
    return Storm(poison=poison, weather=replace(parse_fault_script(STORM), seed=seed))


def outage_s(script: FaultScript) -> float:
    """Return how long connections are refused in all."""
    return sum(fault.duration_s for fault in script.faults if _is_outage(fault))


def _is_outage(fault: Fault) -> bool:
    return isinstance(fault.effect, Outage)
