"""The world around the loop in a simulation: chance, members that die or freeze, a broker, a lake, a dependency.

Every await of the code under test that leaves the process passes `World.step`. There, by chance, time passes, the
member freezes, or it dies: a dead member never returns from a step, and whatever it would have done after it is not
done, as with kill -9.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

from kafka_pipeline.common.failures import UnavailableError
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.delays import due_at_ms
from tests.kafka_pipeline.common.runtime.simulation.virtual_time import EPOCH, VirtualClock, VirtualLoop

DELAYS_S = (1, 3)
WORK, DEAD, NEXT = "work", "dlq", "next"
RETRIES = tuple(f"retry.{delay_s}s" for delay_s in DELAYS_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """How likely each trouble is, at every step."""

    pause: float = 0.4
    freeze: float = 0.004
    die: float = 0.004
    commit_fails: float = 0.1
    produce_fails: float = 0.1


@dataclass(slots=True, eq=False)
class Member:
    """One process of the group."""

    name: str
    dead: bool = False
    frozen_until_s: float = 0.0


@dataclass(slots=True)
class World:
    """What all members share, and the truth that they are held to."""

    loop: VirtualLoop
    seed: int
    chances: Chances
    die_at_step: int | None = None
    """Kill whoever makes this step; then chance kills nobody."""
    rng: random.Random = field(init=False)
    clock: VirtualClock = field(init=False)
    steps: int = 0
    story: int = 0
    """A checksum of every step."""
    log: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    lake: dict[int, int] = field(default_factory=dict)
    """What is durable: the attempt that succeeded, by the id of the work."""
    written: defaultdict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """What stands in each topic: the last attempt, by the id of the work."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=25))
    over: bool = False
    """Set at the end: what is cancelled then is no part of the story."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = VirtualClock(self.loop)

    async def step(self, member: Member, doing: str) -> None:
        """Pass one point where the world may come between."""
        if self.over:
            return
        self.steps += 1
        self._note(f"{member.name} {doing}")
        draw = self.rng.random()
        doomed = draw < self.chances.die if self.die_at_step is None else self.steps == self.die_at_step
        if doomed:
            self.kill(member)
        elif draw < self.chances.die + self.chances.freeze:
            self._note(f"{member.name} freezes")
            member.frozen_until_s = self.loop.time() + self.rng.uniform(0.1, 15)
        if self.rng.random() < self.chances.pause:
            await asyncio.sleep(self.rng.choice((0, 0, 0.001, 0.01, 0.1, 1.0)))
        while member.frozen_until_s > self.loop.time():
            await asyncio.sleep(member.frozen_until_s - self.loop.time())
        if member.dead:
            await asyncio.Event().wait()

    def kill(self, member: Member) -> None:
        """Let nothing more come of it."""
        member.dead = True
        self._note(f"{member.name} dies")

    def chance(self, share: float) -> bool:
        """Draw."""
        return self.rng.random() < share

    def check(self, holds: bool, what: Callable[[], str]) -> None:  # noqa: FBT001  it reads as assert does
        """Fail with the seed and the step, unless it holds."""
        if not holds:
            story = "\n  ".join(self.recent)
            raise AssertionError(f"seed {self.seed}, step {self.steps}: {what()}\n  {story}")

    def _note(self, text: str) -> None:
        told = f"{self.steps} at {self.loop.time():.3f} s: {text}"
        self.recent.append(told)
        self.story = crc32(told.encode(), self.story)

    # -- the dependency ------------------------------------------------------------------------------------------

    def ask_dependency(self) -> None:
        """Return if it is up. Raises UnavailableError, as a breaker does, if not."""
        if self._outage_ends_s() is not None:
            raise UnavailableError("down", self._until_up, reason="circuit_open")

    def _outage_ends_s(self) -> float | None:
        now_s = self.loop.time()
        return next((until_s for since_s, until_s in self.outages if since_s <= now_s < until_s), None)

    async def _until_up(self) -> None:
        ends_s = self._outage_ends_s()
        if ends_s is not None:
            early_s = self.rng.choice((0.0, 0.0, 0.5))  # a breaker lets a probe try before it knows
            await asyncio.sleep(max(0.0, ends_s - self.loop.time() - early_s))

    # -- the truth -----------------------------------------------------------------------------------------------

    def check_due(self, record: Record) -> None:
        """See that no retry is begun before its time (I8)."""
        now_ms = (self.clock.now() - EPOCH).total_seconds() * 1000 + EPOCH.timestamp() * 1000
        self.check(due_at_ms(record) <= now_ms + 0.001, lambda: f"{_place(record)} is begun before it is due")

    def check_committable(self, topic: str, partition: int, since: int, until: int) -> None:
        """See that all that follows from every record between two offsets is durable (I1)."""
        for record in self.log[topic, partition][since:until]:
            self.check(
                self.is_settled(record),
                lambda record=record: f"{topic}-{partition} is committed at {until}, past {_place(record)}",  # type: ignore[misc]
            )

    def is_settled(self, record: Record) -> bool:
        """Tell whether its work is in the lake with what follows, or stands in a retry topic or dead letter."""
        work = Work.of(record)
        if work.id in self.lake and work.id in self.written[NEXT]:
            return True
        return work.id in self.written[DEAD] or any(
            self.written[topic].get(work.id, 0) > work.attempt for topic in RETRIES
        )

    def note_written(self, record: Record) -> None:
        """Remember what stands in a topic."""
        work = Work.of(record)
        written = self.written[record.topic]
        written[work.id] = max(work.attempt, written.get(work.id, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a record asks for. It fails `fails` times before it succeeds; -1: always, for good."""

    id: int
    kind: str
    """`easy`, `needy` (of the dependency), `flaky`, `bug` (raises), `bad` (dead at once)."""
    fails: int = 0
    attempt: int = 0

    @classmethod
    def of(cls, record: Record) -> Work:
        """Read it."""
        return cls(**json.loads(record.value or b""))

    def to_bytes(self) -> bytes:
        """Write it."""
        return json.dumps({"id": self.id, "kind": self.kind, "fails": self.fails, "attempt": self.attempt}).encode()

    @property
    def ends_well(self) -> bool:
        """Whether it belongs into the lake in the end, and not into the dead letters."""
        return self.kind in {"easy", "needy"} or (self.kind == "flaky" and 0 <= self.fails <= len(DELAYS_S))


def _place(record: Record) -> str:
    return f"{record.topic}-{record.partition} offset {record.offset} ({(record.value or b'').decode()})"
