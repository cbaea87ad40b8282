"""What goes wrong in a demo with faults: a storm, a few poisoned parts of the world, and the repair."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.faults import FaultScript, Outage
from kafka_pipeline.simulator.poison import Poison, choose_poison
from kafka_pipeline.simulator.simulator import Simulator

STORM = b"""
faults:
  - {at: 2s, for: 20s, outage: refuse}
  - {throttle: 0.7, at: 24s, for: 2s, retry_after: 1s, times: 2}
  - {throttle: 0.7, at: 1s, for: 1s, retry_after: 1s, form: date, times: 2}
  - {fail: 0.3, times: 3}
  - {fail: 0.3, endpoint: files, times: 1}
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
    """Two scripts: the second is the first without what somebody has repaired, and without the outage."""

    poison: Poison
    raging: FaultScript
    repaired: FaultScript

    @property
    def outage_s(self) -> float:
        """How long connections are refused."""
        return sum(fault.duration_s for fault in self.raging.faults if isinstance(fault.effect, Outage))


def storm_over(simulator: Simulator) -> Storm:
    """Return the storm for a simulator that has begun. The same seed gives the same."""
    seed = simulator.settings.seed
    poison = choose_poison(seed, simulator.feed(), simulator.truth())
    weather = replace(parse_fault_script(STORM), seed=seed)
    return Storm(
        poison=poison,
        raging=replace(weather, faults=(*poison.faults(), *weather.faults)),
        repaired=replace(weather, faults=tuple(each for each in weather.faults if not isinstance(each.effect, Outage))),
    )
