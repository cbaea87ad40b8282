"""Runs the demo: simulator, feed and all five workers in one process, then the comparison with the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from kafka_pipeline.claimx.broker import ensure_topics, new_topics, open_broker
from kafka_pipeline.claimx.dlq.desk import Desk
from kafka_pipeline.claimx.idle import progress, wait_until_idle
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.cli.demo.deeds import Deeds, Watch
from kafka_pipeline.cli.demo.feeding import Publication, publish
from kafka_pipeline.cli.demo.folder import DemoFolder, Plan
from kafka_pipeline.cli.demo.latency import Latencies, latencies
from kafka_pipeline.cli.demo.progress import ProgressView, stages
from kafka_pipeline.cli.demo.setaside import SetAside, expected_set_aside, read_set_aside, send_again
from kafka_pipeline.cli.demo.storm import BREAKER_RESET_S, RETRY_DELAYS_S, Storm, outage_s, storm_over
from kafka_pipeline.cli.errors import starting
from kafka_pipeline.cli.workers import stop_on_signals
from kafka_pipeline.common.messaging import Admin, Broker
from kafka_pipeline.config import PipelineConfig, load_config
from kafka_pipeline.simulator.expectation import Truth
from kafka_pipeline.simulator.lake import row_times
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.verifier import VerificationReport, verify

_TOKEN_VARIABLE = "CLAIMX_API_TOKEN"  # noqa: S105  # the name of the variable, not a token
_API_PATH = "/cxedirest/"
"""Part of every endpoint of the API; calls of the file service are downloads."""
_FLUSH_S = 0.5
"""Half the default: a demo is watched, and its tables are small."""
_IDLE_S = 1.0
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How lake and dead letters stood at one time, against what they should have been."""

    report: VerificationReport
    set_aside: SetAside
    problems: tuple[str, ...]
    """What is wrong, one line each; none if both hold just what they should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StormResult:
    """What a demo with faults has to tell beside the end."""

    storm: Storm
    outage_s: float
    """How long connections were refused in this run."""
    injected: dict[str, int]
    """Requests and links that were struck, by kind."""
    deeds: Deeds
    before_repair: Finding | None
    """None where an earlier run had come to the repair already."""
    sent_again: int
    """Dead letters that were replayed after the repair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What a demo run did and what it found."""

    end: Finding
    events: int
    latencies: Latencies
    """Of what was published in this run."""
    seconds: float
    """From the first event sent to the last offset committed; with faults, before the repair."""
    api_calls: int
    storm: StormResult | None = None

    @property
    def problems(self) -> list[str]:
        """Return what is wrong, one line each; none if lake and dead letters hold just what they should."""
        before = self.storm.before_repair if self.storm else None
        return [*(f"before the repair: {line}" for line in (before.problems if before else ())), *self.end.problems]


class Interrupted(Exception):  # noqa: N818  # not an error: somebody asked for it
    """The demo was stopped before its end; what it did is kept."""


def new_simulator(plan: Plan) -> Simulator:
    """Return the demo's ClaimX, its feed made. Raises ValueError, one readable line, for what cannot be told."""
    simulator = Simulator(_simulator_settings(plan))
    simulator.feed()
    return simulator


async def run_demo(folder: DemoFolder, plan: Plan, simulator: Simulator, view: ProgressView) -> DemoResult:
    """Run to the end and verify. Raises Interrupted on the first signal, CannotStartError where a part is missing."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        with starting("the simulator"):
            await stack.enter_async_context(simulator)
        plan = _with_ports(plan, simulator)
        folder.save(plan)
        config = demo_config(folder, plan, simulator)
        topics = Topics.from_config(config)
        broker = await _open_broker(stack, config, topics)
        admin = broker.admin()
        stack.push_async_callback(admin.close)
        with starting("the demo"):
            pipeline = await stack.enter_async_context(
                Pipeline(config, tuple(WorkerKind), environ={_TOKEN_VARIABLE: simulator.token})
            )
        course = _Course(folder, plan, simulator, broker=broker, admin=admin, config=config)
        with stop_on_signals(stop), view:
            working = asyncio.create_task(pipeline.run(stop))
            try:
                await _until_done(course.run(), course.show(view), working, stop)
            finally:
                interrupted = stop.is_set()
                stop.set()
                await working
        if interrupted:
            raise Interrupted
        return await course.result()


@dataclass(slots=True)
class _Course:
    """One demo on its way: publish, wait until all is done, and with faults: compare, repair, send again, wait."""

    folder: DemoFolder
    plan: Plan
    simulator: Simulator
    broker: Broker = field(kw_only=True)
    admin: Admin = field(kw_only=True)
    config: PipelineConfig = field(kw_only=True)
    watch: Watch = field(default_factory=Watch, init=False)
    started_s: float = field(default_factory=time.monotonic, init=False)
    seconds: float = field(default=0.0, init=False)
    publication: Publication = field(init=False)
    before_repair: Finding | None = field(default=None, init=False)
    sent_again: int = field(default=0, init=False)
    storm: Storm | None = field(default=None, init=False)
    outage_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.publication = Publication(items=self.simulator.feed())

    async def run(self) -> None:
        """Go all the way."""
        if self.plan.faults:
            self.storm = await asyncio.to_thread(storm_over, self.simulator)
            self._begin_storm(self.storm)
        topics = Topics.from_config(self.config)
        await publish(self.broker, self.admin, topics, self.publication)
        await wait_until_idle(self.admin, topics, idle_s=_IDLE_S)
        self.seconds = time.monotonic() - self.started_s - _IDLE_S
        if self.storm is not None:
            await self._repair(self.storm, topics)

    async def show(self, view: ProgressView) -> None:
        """Show how far it is, until cancelled."""
        topics = Topics.from_config(self.config)
        try:
            while True:
                self.watch.look()
                view.show(stages(topics, await progress(self.admin, topics)))
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            view.show(stages(topics, await progress(self.admin, topics)))

    async def result(self) -> DemoResult:
        """Compare lake and dead letters with the truth, at the end."""
        calls = self.simulator.calls.items()
        truth = self.simulator.truth()
        items = self.publication.items
        return DemoResult(
            end=await self._find(truth, None),
            events=len(items),
            latencies=latencies(items, self.publication.published_at, truth, row_times(self.folder.lake)),
            seconds=self.seconds,
            api_calls=sum(count for endpoint, count in calls if _API_PATH in endpoint),
            storm=None if self.storm is None else self._storm_result(self.storm),
        )

    def _begin_storm(self, storm: Storm) -> None:
        if self.plan.repaired:
            return
        script = storm.past if self.plan.stormed else storm.raging
        self.outage_s = outage_s(script)
        self.simulator.put_faults(script)
        self._remember(replace(self.plan, stormed=True))

    def _remember(self, plan: Plan) -> None:
        self.plan = plan
        self.folder.save(plan)

    async def _repair(self, storm: Storm, topics: Topics) -> None:
        """See that just what is poisoned is missing, end the poison, and send the dead letters again."""
        if not self.plan.repaired:
            self.before_repair = await self._find(storm.poison.held_back(self.simulator.truth()), storm)
            self._remember(replace(self.plan, repaired=True))
            self.simulator.put_faults(storm.repaired)
        self.sent_again = await send_again(Desk(self.broker, self.config))
        await wait_until_idle(self.admin, topics, idle_s=_IDLE_S)

    async def _find(self, truth: Truth, storm: Storm | None) -> Finding:
        report = await asyncio.to_thread(verify, self.folder.lake, truth)
        set_aside = await read_set_aside(Desk(self.broker, self.config))
        expected = expected_set_aside(self.publication.items, storm.poison if storm else None)
        problems = (*report.differences, *set_aside.problems(expected))
        return Finding(report=report, set_aside=set_aside, problems=problems)

    def _storm_result(self, storm: Storm) -> StormResult:
        return StormResult(
            storm=storm,
            outage_s=self.outage_s,
            injected={kind.value: count for kind, count in self.simulator.injected.items()},
            deeds=self.watch.deeds(),
            before_repair=self.before_repair,
            sent_again=self.sent_again,
        )


async def _until_done(
    course: Coroutine[None, None, None],
    showing: Coroutine[None, None, None],
    working: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    """Return when the course is run, when it fails, when the workers do, or when it is to stop."""
    mine = [asyncio.create_task(each) for each in (course, showing, _set(stop))]
    try:
        done, _ = await asyncio.wait({*mine, working}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)


async def _set(event: asyncio.Event) -> None:
    await event.wait()


def demo_config(folder: DemoFolder, plan: Plan, simulator: Simulator) -> PipelineConfig:
    """Return the demo's own configuration: nothing of the environment gets in, so no real system can be met."""
    overrides = {
        "data_dir": str(folder.path),
        "claimx_api_url": simulator.api_url,
        "claimx_api_token_env": _TOKEN_VARIABLE,
        "claimx_api_sender_username": "demo@example.com",
        "allow_private_download_hosts": ",".join(simulator.download_hosts),
        "delta_flush_seconds": str(_FLUSH_S),
    }
    if plan.faults:
        overrides |= {
            "claimx_retry_delays_seconds": ",".join(map(str, RETRY_DELAYS_S)),
            "claimx_breaker_reset_seconds": str(BREAKER_RESET_S),
        }
    if plan.kafka_bootstrap_servers is not None:
        overrides |= {"kafka_bootstrap_servers": plan.kafka_bootstrap_servers, "kafka_group_prefix": f"{_run(plan)}."}
        defaults = load_config(None, {}, {})
        overrides |= {
            name: f"{_run(plan)}.{getattr(defaults, name)}"
            for name in PipelineConfig.model_fields
            if name.startswith("claimx_") and name.endswith(("_topic", "_topic_prefix"))
        }
    return load_config(None, overrides, {})


def _run(plan: Plan) -> str:
    return f"demo-{plan.run_id}"


def _simulator_settings(plan: Plan) -> SimulatorSettings:
    return SimulatorSettings(
        seed=plan.seed,
        projects=plan.projects,
        events=plan.events,
        latency_ms=plan.latency_ms,
        api_port=plan.api_port,
        storage_port=plan.storage_port,
    )


def _with_ports(plan: Plan, simulator: Simulator) -> Plan:
    """Keep the ports: queued links lead to them, also after a restart."""
    api_port, storage_port = (int(host.rsplit(":", 1)[1]) for host in simulator.download_hosts)
    return replace(plan, api_port=api_port, storage_port=storage_port)


async def _open_broker(stack: AsyncExitStack, config: PipelineConfig, topics: Topics) -> Broker:
    broker = open_broker(config, {})
    stack.push_async_callback(broker.close)
    with starting("the broker"):
        await broker.check(10.0)
        admin = broker.admin()
        try:
            await admin.create_topics(new_topics(topics, config))
        finally:
            await admin.close()
        await ensure_topics(broker, topics, config)
    return broker
