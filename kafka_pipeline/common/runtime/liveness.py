"""Is a worker stuck, or is it waiting? The decision behind `/livez`: a restart helps only against the first.

| sign | stuck when |
|---|---|
| the loop turns | it has not for LIMIT_S: every call of a turn has a time-out below that, also in an outage |
| batches give signs of life (`common/pulse.py`) | one is overdue: what waits for a dependency is excused |
| what was delivered is begun | for LIMIT_S records are held and none is in flight |
| what arrives is delivered | for LIMIT_S a partition that is not paused grows and nothing of it comes |

While it drains a worker is not judged: its time is limited anyway. Pure: no I/O; the time is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kafka_pipeline.common.messaging import TopicPartition

LIMIT_S: Final = 55.0
"""A stuck worker must be known within a minute; a rebalance while the broker goes away may hold the loop for 45 s."""

_RISES: Final = 2
"""So many times a partition must have grown before it counts: one look may fall between writing and delivery."""


class Stuck(str, Enum):
    """In which way a worker does not go on."""

    LOOP = "the loop hangs"
    """It does not turn."""
    BATCH = "a batch hangs"
    """Its worker neither goes on nor waits for a dependency."""
    STRANDED = "records are held that nobody works on"
    """They were delivered and never begun."""
    DEAF = "records arrive and are not delivered"
    """The client stands still although the broker answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a worker shows of itself, in seconds."""

    since_turn_s: float
    """Since the loop last turned."""
    overdue_s: float
    """Since when a sign of life of some batch has been due; 0 if none is."""
    stranded_s: float
    """Since records are held while none is in flight; 0 if it is not so."""
    deaf_s: float
    """Since records arrive that are not delivered; 0 if it is not so."""
    drains: bool
    """Whether it is stopping, or not yet begun."""


def stuck(signs: Signs, *, limit_s: float = LIMIT_S) -> tuple[Stuck, ...]:
    """Return in which ways the worker is stuck; none while it works, waits for a dependency, or stops."""
    if signs.drains:
        return ()
    ways = {
        Stuck.LOOP: signs.since_turn_s > limit_s,
        Stuck.BATCH: signs.overdue_s > 0,
        Stuck.STRANDED: signs.stranded_s > limit_s,
        Stuck.DEAF: signs.deaf_s > limit_s,
    }
    return tuple(way for way, holds in ways.items() if holds)


@dataclass(slots=True)
class _Partition:
    high: int
    rises: int = 0
    since_s: float = 0.0
    """When it was first seen to grow without a delivery."""


class Hearing:
    """Follows whether what arrives in the partitions is delivered: told of deliveries, and of the ends now and then."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def delivered(self, partitions: Iterable[TopicPartition]) -> None:
        """Note that something came from these."""
        if self._partitions:
            for partition in partitions:
                self._partitions.pop(partition, None)

    def looked(self, ends: Mapping[TopicPartition, int], now_s: float) -> None:
        """Note where each partition that is ours and not paused ends; those left out are forgotten."""
        for partition in self._partitions.keys() - ends.keys():
            del self._partitions[partition]
        for partition, end in ends.items():
            state = self._partitions.setdefault(partition, _Partition(end))
            if end > state.high:
                state.high = end
                state.rises += 1
                if state.rises == 1:
                    state.since_s = now_s

    def deaf_s(self, now_s: float) -> float:
        """Return for how long records have been arriving undelivered, in seconds; 0 if they are not."""
        return max((now_s - each.since_s for each in self._partitions.values() if each.rises >= _RISES), default=0.0)
