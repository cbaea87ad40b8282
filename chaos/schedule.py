"""What breaks when: decided by a seed alone, before anything runs, so that the same seed breaks the same things."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random

from chaos.proxy import Manner
from kafka_pipeline.claimx.pipeline import WorkerKind

MEMBERS = 2
"""Processes of each worker."""

SESSION_S = 6.0
"""Silence after which a worker counts as dead: the least that Kafka's defaults allow."""

_ZOMBIE_S = (SESSION_S + 2.0, SESSION_S + 4.0)
"""How long a zombie sleeps: its session has ended, others have its partitions, and it does not know."""

_RECOVERY_S = 4.0
"""How long a worker is left alone after a blow: killing what is only starting shows little."""


class Blow(str, Enum):
    """Kinds of blows."""

    KILL = "kill -9"
    """A worker ends at once; it is started again after `for_s`."""
    TERM = "SIGTERM"
    """A worker is asked to stop, must exit with 0, and is started again after `for_s`."""
    FREEZE = "zombie"
    """A worker is stopped by SIGSTOP for longer than its session, then goes on."""
    GUEST = "third member"
    """One more worker of a kind comes and goes after `for_s`: two rebalances."""
    BROKER_KILL = "broker kill -9"
    """The broker is killed, and started again after `for_s`."""
    BROKER_TERM = "broker restart"
    """The broker stops in an orderly way, and is started again after `for_s`."""
    API = "API cut off"
    """The proxy before the API misbehaves for `for_s`."""
    STORAGE = "storage cut off"
    """The proxy before the file storage misbehaves for `for_s`."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Member:
    """One worker process: kind and number."""

    kind: WorkerKind
    number: int

    def __str__(self) -> str:
        return f"{self.kind.value}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """One blow: when, at whom, how long."""

    at_s: float
    blow: Blow
    for_s: float
    member: Member | None = None
    manner: Manner | None = None

    def __str__(self) -> str:
        who = f" {self.member}" if self.member else ""
        how = f" ({self.manner.value})" if self.manner else ""
        return f"{self.at_s:5.1f} s  {self.blow.value}{who}{how} for {self.for_s:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All blows of a run, and whose death is timed before them."""

    seed: int
    timed: Member
    strokes: tuple[Stroke, ...]


def make_schedule(seed: int, *, duration_s: float) -> Schedule:
    """Return the blows of a seed, none beginning later than `duration_s`; one blow at a time for each victim."""
    draft = _Draft(rng=Random(f"{seed}:schedule"), duration_s=duration_s)
    kinds = list(WorkerKind)
    members = [Member(kind=kind, number=number) for kind in kinds for number in range(MEMBERS)]
    dose = max(1, round(duration_s / 20.0))
    draft.add(draft.rng.choice((Blow.BROKER_KILL, Blow.BROKER_TERM)), (0.5, 4.0))
    for _ in range(dose):
        draft.add(Blow.FREEZE, _ZOMBIE_S, member=draft.rng.choice(members))
        draft.add(Blow.TERM, (0.1, 2.0), member=draft.rng.choice(members))
        draft.add(Blow.API, (1.0, 5.0), manner=draft.rng.choice(list(Manner)[1:]))
        draft.add(Blow.STORAGE, (1.0, 5.0), manner=draft.rng.choice(list(Manner)[1:]))
    for _ in range(3 * dose):
        draft.add(Blow.KILL, (0.1, 2.0), member=draft.rng.choice(members))
    draft.add(Blow.GUEST, (4.0, 8.0), member=Member(kind=draft.rng.choice(kinds), number=MEMBERS))
    timed = Member(kind=kinds[seed % len(kinds)], number=seed % MEMBERS)
    return Schedule(seed=seed, timed=timed, strokes=tuple(sorted(draft.strokes, key=lambda each: each.at_s)))


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A schedule that is being made."""

    rng: Random
    duration_s: float
    strokes: list[Stroke] = field(default_factory=list)

    def add(
        self, blow: Blow, for_s: tuple[float, float], *, member: Member | None = None, manner: Manner | None = None
    ) -> None:
        """Add a blow where its victim is free; a schedule that is full goes without it."""
        length_s = round(self.rng.uniform(*for_s), 1)
        for _ in range(20):
            at_s = round(self.rng.uniform(0.0, self.duration_s), 1)
            stroke = Stroke(at_s=at_s, blow=blow, for_s=length_s, member=member, manner=manner)
            if not any(_meet(stroke, other) for other in self.strokes):
                self.strokes.append(stroke)
                return


def _meet(one: Stroke, other: Stroke) -> bool:
    """Say whether two blows have one victim at one time."""
    if one.member != other.member or (one.member is None and one.blow is not other.blow):
        return False
    first, second = sorted((one, other), key=lambda each: each.at_s)
    return second.at_s < first.at_s + first.for_s + _RECOVERY_S
