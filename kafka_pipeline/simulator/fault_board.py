"""Decides what goes wrong with a request. Pure but for the clock: the same request meets the same fate.

Whether a fault strikes is drawn from the script's seed, the fault, the endpoint, the id, and how often that id was
asked for: never from the order in which different ids are. So a run can be repeated, however its requests interleave.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.simulator.faults import (
    NO_FAULTS,
    Cut,
    Drip,
    Effect,
    Endpoint,
    Expired,
    Fail,
    Fault,
    FaultKind,
    FaultScript,
    Latency,
    Outage,
    ShortLinks,
    Throttle,
)

_FULL = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer in place of the true one."""

    effect: Fail | Throttle | Outage | Expired
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What goes wrong with one request."""

    delay_s: float = 0.0
    refusal: Refusal | None = None
    cut: bool = False
    bytes_per_s: float | None = None

    @property
    def spoils_body(self) -> bool:
        """Whether the body does not go out as it should."""
        return self.cut or self.bytes_per_s is not None


@dataclass(frozen=True, slots=True)
class _Draw:
    """One fault that strikes; `dice` in [0, 1) decides what it leaves open."""

    effect: Effect
    dice: float


class FaultBoard:
    """The script in force, and what it has done so far."""

    def __init__(self, clock: Clock, script: FaultScript = NO_FAULTS) -> None:
        self._clock = clock
        self.injected: Counter[FaultKind] = Counter()
        """Requests and links that were struck, by kind, by all scripts so far.

        A refused connection never becomes a request, so such an outage counts none.
        """
        self.load(script)

    def load(self, script: FaultScript) -> None:
        """Put a script in force; its time starts now."""
        self.script = script
        self._began_s = self._clock.monotonic()
        self._asked: Counter[tuple[int, Endpoint, str]] = Counter()
        self._struck: Counter[tuple[int, Endpoint, str]] = Counter()

    @property
    def elapsed_s(self) -> float:
        """How long the script has been in force."""
        return self._clock.monotonic() - self._began_s

    def strike(self, endpoint: Endpoint, id_: str) -> Strike:
        """Decide about the next request for this. The first error that strikes is the answer; delays add up."""
        delay_s = sum(self._delay_s(draw) for draw in self._draws(endpoint, id_, (Latency,)))
        for draw in self._draws(endpoint, id_, (Fail, Throttle, Outage, Expired)):
            return Strike(delay_s=delay_s, refusal=_refusal(draw))
        spoilt = [draw.effect for draw in self._draws(endpoint, id_, (Cut, Drip))]
        rates = [effect.bytes_per_s for effect in spoilt if isinstance(effect, Drip)]
        return Strike(
            delay_s=delay_s,
            cut=any(isinstance(effect, Cut) for effect in spoilt),
            bytes_per_s=min(rates, default=None),
        )

    def lifetime_s(self, media_id: int, usual_s: int) -> int:
        """Decide how long the next link to an item is good that a media list gives out."""
        draws = self._draws(Endpoint.MEDIA, str(media_id), (ShortLinks,))
        lives = [draw.effect.lifetime_s for draw in draws if isinstance(draw.effect, ShortLinks)]
        return min([usual_s, *lives])

    def refuses_connections(self, endpoint: Endpoint, at_s: float) -> bool:
        """Say whether the port of this endpoint is to be closed when the script has been in force for so long."""
        return any(fault.covers(at_s) and endpoint in fault.endpoints for fault in self._closing())

    def next_change_s(self, after_s: float) -> float:
        """Return at which time of the script, after this one, a port next opens or closes; infinite where none will."""
        moments = [moment for fault in self._closing() for moment in (fault.start_s, fault.stop_s)]
        return min((moment for moment in moments if moment > after_s), default=math.inf)

    def _closing(self) -> Iterator[Fault]:
        for fault in self.script.faults:
            if isinstance(fault.effect, Outage) and fault.effect.status is None:
                yield fault

    def _draws(self, endpoint: Endpoint, id_: str, effects: tuple[type[Effect], ...]) -> Iterator[_Draw]:
        """Draw for each fault of these effects in turn, and yield those that strike."""
        now_s = self.elapsed_s
        for number, fault in enumerate(self.script.faults):
            if not isinstance(fault.effect, effects) or not fault.concerns(endpoint, id_) or not fault.covers(now_s):
                continue
            if isinstance(fault.effect, Outage) and fault.effect.status is None:
                continue
            key = number, endpoint, id_
            nth = self._asked[key] = self._asked[key] + 1
            if self._dice(key, nth, "whether") >= fault.share:
                continue
            if fault.times is not None and self._struck[key] >= fault.times:
                continue
            self._struck[key] += 1
            self.injected[fault.kind] += 1
            yield _Draw(fault.effect, self._dice(key, nth, "what"))

    def _dice(self, key: tuple[int, Endpoint, str], nth: int, question: str) -> float:
        number, endpoint, id_ = key
        text = f"{self.script.seed}:{number}:{endpoint.value}:{id_}:{nth}:{question}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / _FULL

    @staticmethod
    def _delay_s(draw: _Draw) -> float:
        return draw.effect.delay_s + draw.dice * draw.effect.jitter_s if isinstance(draw.effect, Latency) else 0.0


def _refusal(draw: _Draw) -> Refusal:
    match draw.effect:
        case Fail() as fail:
            return Refusal(effect=fail, status=fail.statuses[int(draw.dice * len(fail.statuses))])
        case Throttle() as throttle:
            return Refusal(effect=throttle, status=429)
        case Outage(status=int(status)) as outage:
            return Refusal(effect=outage, status=status)
        case Expired() as expired:
            return Refusal(effect=expired, status=403)
        case _:
            raise AssertionError(f"{draw.effect} is no answer")
