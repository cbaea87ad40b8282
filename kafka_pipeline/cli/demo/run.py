"""Runs the demo: simulator, feed and all five workers in one process, then the comparison with the truth."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kafka_pipeline.claimx.broker import ensure_topics, new_topics, open_broker
from kafka_pipeline.claimx.idle import progress, wait_until_idle
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.cli.demo.folder import DemoFolder, Plan
from kafka_pipeline.cli.demo.latency import Latencies, latencies
from kafka_pipeline.cli.demo.progress import ProgressView
from kafka_pipeline.cli.errors import starting
from kafka_pipeline.cli.workers import stop_on_signals
from kafka_pipeline.common.messaging import Admin, Broker, Message, TopicPartition
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.config import PipelineConfig, load_config
from kafka_pipeline.simulator.feed import FeedItem
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
_PUBLISH_BATCH = 100
_LOOK_EVERY_S = 0.25


@dataclass(slots=True, kw_only=True)
class DemoResult:
    """What a demo run did and what it found."""

    report: VerificationReport
    dead_letters: dict[DeadLetterKind, int]
    expected_dead_events: int
    events: int
    latencies: Latencies
    """Of what was published in this run."""
    seconds: float
    """From the first event sent to the last offset committed."""
    api_calls: int

    @property
    def problems(self) -> list[str]:
        """Return what is wrong, one line each; none if lake and dead letters hold just what they should."""
        lines = list(self.report.differences)
        expected = {
            DeadLetterKind.EVENTS: self.expected_dead_events,
            DeadLetterKind.ENRICHMENT: 0,
            DeadLetterKind.DOWNLOADS: 0,
        }
        for kind, count in expected.items():
            if self.dead_letters[kind] != count:
                lines.append(f"dead letters of {kind.value}: {self.dead_letters[kind]}, expected {count}")
        return lines


class Interrupted(Exception):  # noqa: N818  # not an error: somebody asked for it
    """The demo was stopped before its end; what it did is kept."""


@dataclass(slots=True)
class _Publication:
    items: Sequence[FeedItem]
    published_at: dict[int, datetime] = field(default_factory=dict)


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
        started_s = time.monotonic()
        publication = _Publication(items=simulator.feed())
        with stop_on_signals(stop), view:
            working = asyncio.create_task(pipeline.run(stop))
            try:
                await _until_drained(
                    broker=broker,
                    admin=admin,
                    topics=topics,
                    publication=publication,
                    view=view,
                    working=working,
                    stop=stop,
                )
            finally:
                interrupted = stop.is_set()
                stop.set()
                await working
        if interrupted:
            raise Interrupted
        seconds = time.monotonic() - started_s - _IDLE_S
        truth = simulator.truth()
        report = await asyncio.to_thread(verify, folder.lake, truth)
        return DemoResult(
            report=report,
            dead_letters={kind: await _count(admin, topics.dead_letters(kind)) for kind in DeadLetterKind},
            expected_dead_events=truth.dead_events,
            events=len(publication.items),
            latencies=latencies(publication.items, publication.published_at, truth, row_times(folder.lake)),
            seconds=seconds,
            api_calls=sum(count for endpoint, count in simulator.calls.items() if _API_PATH in endpoint),
        )


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


async def _until_drained(
    *,
    broker: Broker,
    admin: Admin,
    topics: Topics,
    publication: _Publication,
    view: ProgressView,
    working: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    """Publish, show how far it is, and return when everything is drained, when it fails or when it is to stop."""

    async def publish_and_wait() -> None:
        await _publish(broker, admin, topics, publication)
        await wait_until_idle(admin, topics, idle_s=_IDLE_S)

    async def show() -> None:
        while True:
            view.show(await progress(admin, topics))
            await asyncio.sleep(_LOOK_EVERY_S)

    waiting = asyncio.create_task(publish_and_wait())
    showing = asyncio.create_task(show())
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({waiting, working, stopping, showing}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        view.show(await progress(admin, topics))
    finally:
        for task in (waiting, showing, stopping):
            task.cancel()
        await asyncio.gather(waiting, showing, stopping, return_exceptions=True)


async def _publish(broker: Broker, admin: Admin, topics: Topics, publication: _Publication) -> None:
    """Send the feed, or what is missing of it if an earlier run sent a part."""
    missing = await _not_sent(broker, admin, topics, publication.items)
    producer = broker.producer()
    try:
        for start in range(0, len(missing), _PUBLISH_BATCH):
            numbers = missing[start : start + _PUBLISH_BATCH]
            items = [publication.items[number] for number in numbers]
            now = datetime.now(UTC)
            await producer.send([Message(topic=topics.events, key=item.key, value=item.value) for item in items])
            publication.published_at.update(dict.fromkeys(numbers, now))
    finally:
        await producer.close()


async def _not_sent(broker: Broker, admin: Admin, topics: Topics, items: Sequence[FeedItem]) -> list[int]:
    """Return the numbers of the items that are not in the events topic yet, copies counted one by one."""
    sent: Counter[bytes | None] = Counter()
    if await _count(admin, topics.events):
        async with aclosing(scan(broker, [topics.events], group_prefix=topics.group_prefix)) as batches:
            async for records in batches:
                sent.update(record.value for record in records)
    missing = []
    for number, item in enumerate(items):
        if sent[item.value]:
            sent[item.value] -= 1
        else:
            missing.append(number)
    return missing


async def _count(admin: Admin, topic: str) -> int:
    partitions = (await admin.topics()).get(topic, 0)
    marks = await admin.watermarks([TopicPartition(topic, number) for number in range(partitions)])
    return sum(mark.high - mark.low for mark in marks.values())
