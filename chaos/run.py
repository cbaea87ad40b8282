"""One run: events flow, things break by the schedule, everything comes to rest, and the checker counts."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.crew import Crew
from chaos.node import KafkaNode
from chaos.proxy import FAIR, FaultProxy, Manner, Weather
from chaos.resume import resumed_after
from chaos.schedule import MEMBERS, SESSION_S, Blow, Member, Schedule, Stroke, make_schedule
from chaos.site import Site, open_site
from chaos.verdict import Verdict, judge, leaks
from kafka_pipeline.claimx.dlq.desk import Desk
from kafka_pipeline.claimx.idle import progress, readers, wait_until_idle
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.feed import FeedItem, FeedKind

RESUME_LIMIT_S = SESSION_S + 5.0
"""Longest time from kill -9 to work resumed on the other process."""

_TIMED_LIMIT_S = 30.0
_IDLE_S = 2.0
_REST_S = 240.0
"""Longest time to work everything off once nothing breaks any more."""
_TICK_S = 0.25
_LATE_S = 0.5
_TIMED_TOPIC = {
    WorkerKind.INGESTER: "events",
    WorkerKind.ENRICHER: "enrichment_pending",
    WorkerKind.DOWNLOADER: "downloads_pending",
    WorkerKind.UPLOADER: "downloads_cached",
    WorkerKind.RESULT_PROCESSOR: "downloads_results",
}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run. Equal plans break the same things at the same times."""

    seed: int
    events: int
    storm_s: float
    """How long things break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did and found."""

    plan: Plan
    blows: Counter[Blow]
    verdict: Verdict
    poison: int
    """Records that had to end in the dead letters."""
    duplicates: int
    resumed_s: float
    """From kill -9 to work resumed on the other process."""
    resumed_kind: WorkerKind
    refused_starts: int
    seconds: float
    faults: tuple[str, ...]
    """What is wrong beside the verdict, one line each."""

    @property
    def ok(self) -> bool:
        """Say whether everything is as it must be, however long it took."""
        return self.verdict.ok and not self.faults

    @property
    def prompt(self) -> bool:
        """Say whether the other process did the work of the one that died in time: a busy machine may be too slow."""
        return self.resumed_s <= RESUME_LIMIT_S


async def run(plan: Plan, node: KafkaNode, folder: Path, tell: Tell, *, clock: Clock = SYSTEM_CLOCK) -> RunResult:
    """Run to the end and judge. `folder` keeps logs and lake."""
    schedule = make_schedule(plan.seed, duration_s=plan.storm_s)
    began_s = clock.monotonic()
    async with open_site(folder / "site", node.bootstrap, seed=plan.seed, events=plan.events) as site:
        crew = Crew(site.config, site.environ(), folder)
        try:
            storm = _Storm(site, crew, node, schedule, tell=tell, clock=clock)
            return await _Course(plan, site, crew, storm, began_s=began_s).run()
        finally:
            await crew.close()


@dataclass(slots=True)
class _Storm:
    """Deals the blows of a schedule."""

    site: Site
    crew: Crew
    node: KafkaNode
    schedule: Schedule
    tell: Tell = field(kw_only=True)
    clock: Clock = field(kw_only=True)
    blows: Counter[Blow] = field(default_factory=Counter, init=False)

    async def time_a_death(self) -> float:
        """Kill a worker while nothing else breaks, ClaimX included; return the seconds until the other did its work."""
        victim = self.schedule.timed
        topic = getattr(self.site.topics, _TIMED_TOPIC[victim.kind])
        group = self.site.topics.group(readers(self.site.topics)[topic])
        await self.crew.kill(victim)
        self.blows[Blow.KILL] += 1
        seconds = await resumed_after(
            self.site.admin, group, topic, session_s=SESSION_S, limit_s=_TIMED_LIMIT_S, clock=self.clock
        )
        self.tell(f"  kill -9 of {victim}: work resumed on the other after {seconds:.1f} s")
        self.crew.start(victim)
        return seconds

    async def rage(self) -> None:
        """Deal all blows, each at its time, and wait for their ends."""
        start_s = self.clock.monotonic()
        async with asyncio.TaskGroup() as group:
            for stroke in self.schedule.strokes:
                await asyncio.sleep(max(0.0, start_s + stroke.at_s - self.clock.monotonic()))
                self.tell(f"  {stroke}")
                self.blows[stroke.blow] += 1
                group.create_task(self._deal(stroke))

    async def _deal(self, stroke: Stroke) -> None:
        match stroke.blow:
            case Blow.BROKER_KILL | Blow.BROKER_TERM:
                await self.node.end(signal.SIGKILL if stroke.blow is Blow.BROKER_KILL else signal.SIGTERM)
                await asyncio.sleep(stroke.for_s)
                await self.node.again()
            case Blow.API:
                await _misbehave(self.site.api, stroke)
            case Blow.STORAGE:
                await _misbehave(self.site.storage, stroke)
            case Blow.KILL | Blow.TERM | Blow.FREEZE | Blow.GUEST:
                if stroke.member is not None:
                    await self._strike(stroke.member, stroke)

    async def _strike(self, member: Member, stroke: Stroke) -> None:
        if stroke.blow is Blow.FREEZE:
            self.crew.freeze(member)
            await asyncio.sleep(stroke.for_s)
            self.crew.thaw(member)
            return
        if stroke.blow is Blow.GUEST:
            self.crew.start(member)
            await asyncio.sleep(stroke.for_s)
            await self.crew.term(member)
            return
        await (self.crew.kill(member) if stroke.blow is Blow.KILL else self.crew.term(member))
        await asyncio.sleep(stroke.for_s)
        self.crew.start(member)


async def _misbehave(proxy: FaultProxy, stroke: Stroke) -> None:
    proxy.put(Weather(manner=stroke.manner or Manner.CUT, delay_s=_LATE_S))
    await asyncio.sleep(stroke.for_s)
    proxy.put(FAIR)


@dataclass(slots=True)
class _Course:
    """The way of one run."""

    plan: Plan
    site: Site
    crew: Crew
    storm: _Storm
    began_s: float = field(kw_only=True)

    async def run(self) -> RunResult:
        """Go all the way."""
        for kind in WorkerKind:
            for number in range(MEMBERS):
                self.crew.start(Member(kind=kind, number=number))
        await self.crew.ready()
        feeding = asyncio.create_task(self._feed())
        try:
            resumed_s = await self.storm.time_a_death()
            self.site.turn_foul()
            await self.storm.rage()
            await feeding
        finally:
            feeding.cancel()
        problems = await self._come_to_rest()
        site, feed = self.site, self.site.simulator.feed()
        verdict = await judge(
            site.lake,
            site.poison.held_back(site.simulator.truth()),
            Desk(site.broker, site.config),
            feed,
            site.poison,
        )
        secrets = (site.simulator.token.encode(), b"X-Amz-Signature")
        problems += [f"{name}: a secret is in the log" for name in leaks(self.crew.logs(), secrets)]
        return RunResult(
            plan=self.plan,
            blows=self.storm.blows,
            verdict=verdict,
            poison=_count(feed, FeedKind.MALFORMED) + len(site.poison.events(feed)) + len(site.poison.files),
            duplicates=_count(feed, FeedKind.DUPLICATE),
            resumed_s=resumed_s,
            resumed_kind=self.storm.schedule.timed.kind,
            refused_starts=self.crew.refused_starts,
            seconds=self.storm.clock.monotonic() - self.began_s,
            faults=(*self.crew.faults, *problems),
        )

    async def _feed(self) -> None:
        """Publish at a steady pace that lasts as long as the storm does, the timed death before it included."""
        feed = self.site.simulator.feed()
        ticks = max(1, round((self.plan.storm_s + SESSION_S) / _TICK_S))
        size = max(1, -(-len(feed) // ticks))
        producer = self.site.broker.producer()
        try:
            for start in range(0, len(feed), size):
                due_s = self.storm.clock.monotonic() + _TICK_S
                items = feed[start : start + size]
                await producer.send(
                    [Message(topic=self.site.topics.events, key=item.key, value=item.value) for item in items]
                )
                await asyncio.sleep(max(0.0, due_s - self.storm.clock.monotonic()))
        finally:
            await producer.close()

    async def _come_to_rest(self) -> list[str]:
        """Wait until everything is worked off, then ask all workers to stop; return what stood in the way."""
        topics = self.site.topics
        problems = []
        try:
            async with asyncio.timeout(_REST_S):
                await wait_until_idle(self.site.admin, topics, idle_s=_IDLE_S)
        except TimeoutError:
            left = [each for each in await progress(self.site.admin, topics) if not each.drained]
            problems += [f"no rest: {each.topic} at {each.done} of {each.total}" for each in left]
        await self.crew.stop()
        return problems


def _count(feed: tuple[FeedItem, ...], kind: FeedKind) -> int:
    return sum(item.kind is kind for item in feed)
