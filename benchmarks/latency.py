"""How long the lake takes to know: from an event in Kafka to its row, to what it is about, to its file.

Apache Kafka, one process of each of the five workers, all settings at their defaults, the simulated ClaimX serving from
this process, a lake in a folder. Events come one by one at a steady rate. An event's clock starts before it is sent. A
row is there when its commit is, a file when it has its name. What an event is about is there as soon as the first event
asks for it, so the clock of a project's row starts with the project's first event, that of its files with the first
event that tells of a file.

The first seconds are not counted: tables are made in them, and processes warm up.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.parts import kafka
from benchmarks.process import cpu_s, machine_busy_s
from benchmarks.result import Better, Bound, Measurement
from benchmarks.site import Site, open_site, working
from benchmarks.stages import stage_seconds
from benchmarks.visible import commits, visible_times
from kafka_pipeline.claimx.idle import wait_until_idle
from kafka_pipeline.cli.demo.latency import Latency, latencies, percentiles
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.feed import FeedItem, FeedKind
from kafka_pipeline.simulator.lake import RowTimes
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.verifier import verify

EVENTS_PER_S_FULL, EVENTS_PER_S_QUICK = 200, 50
MEASURED_S_FULL, MEASURED_S_QUICK = 60, 1
LEAD_IN_S_FULL, LEAD_IN_S_QUICK = 10, 0
EVENTS_PER_PROJECT = 10
"""As the simulator's defaults have it: with six files a project, more than every second event brings a new file."""
MORE_THAN_FLUSH_S = 1.0
"""What may come on top of the flush interval."""

_IDLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much comes, how fast."""

    events_per_s: int
    lead_in_s: int
    measured_s: int

    @property
    def lead_in(self) -> int:
        """Events that are not counted."""
        return self.events_per_s * self.lead_in_s

    @property
    def events(self) -> int:
        """All events, flawed ones and copies included."""
        return self.lead_in + self.events_per_s * self.measured_s


FULL = Load(events_per_s=EVENTS_PER_S_FULL, lead_in_s=LEAD_IN_S_FULL, measured_s=MEASURED_S_FULL)
QUICK = Load(events_per_s=EVENTS_PER_S_QUICK, lead_in_s=LEAD_IN_S_QUICK, measured_s=MEASURED_S_QUICK)


def measure(*, quick: bool) -> list[Measurement]:
    """Measure rows, what they are about, and files, in one run."""
    load = QUICK if quick else FULL
    with kafka() as servers, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return asyncio.run(_measure(Path(folder), servers, load))


async def _measure(folder: Path, servers: str, load: Load) -> list[Measurement]:
    simulated = SimulatorSettings(events=load.events, projects=load.events // EVENTS_PER_PROJECT)
    async with open_site(folder, servers, simulated) as site:
        flow = Flow(site.simulator.feed())
        async with working(site) as crew:
            pids = {member.kind.value.removeprefix("claimx-"): pid for member, pid in crew.pids().items()}
            await flow.publish(site, load, pids)
            await wait_until_idle(site.admin, site.topics, idle_s=_IDLE_S)
        truth = await asyncio.to_thread(site.simulator.truth)
        if differences := (await asyncio.to_thread(verify, site.lake, truth)).differences:
            raise RuntimeError(f"the lake is not as it should be: {differences[0]}")
        times = await asyncio.to_thread(visible_times, site.lake)
        counted = {number: moment for number, moment in flow.sent_at.items() if number >= load.lead_in}
        about = latencies(flow.items, counted, truth, times)
        rows = flow.row_waits(counted, times)
        stages = await stage_seconds(site, flow.events_sent(counted), times)
        flush_s = site.config.delta_flush_seconds
        tables = ("events", "projects", "media", "attachments")
        of_tables = {f"{name}_commits": commits(site.lake, f"claimx_{name}") for name in tables}
    sizes = {"events_per_s": load.events_per_s, "measured_s": load.measured_s, "processes": 5}
    machine = {"late_sent_ms": round(flow.latest_s * 1000, 1), **flow.cores}
    return [
        _result("row", "an event sent to its row in claimx_events", rows, flush_s, sizes, machine | of_tables),
        _result("entity", "a first event sent to the rows of its project and files", about.rows, flush_s, sizes, {}),
        _result("file", "a first event of a file sent to the file in the lake", about.files, flush_s, sizes, stages),
    ]


def _result(  # noqa: PLR0917  # what differs between three results of one kind
    case: str,
    what: str,
    latency: Latency | None,
    flush_s: float,
    sizes: Mapping[str, float],
    figures: Mapping[str, float],
) -> Measurement:
    if latency is None:
        raise RuntimeError(f"nothing was measured: {case}")
    p99_s = round(latency.p99_s, 3)
    return Measurement(
        name=f"latency.{case}",
        what=f"{what}, 99th percentile",
        yardstick="the flush interval, `delta_flush_seconds`",
        unit="s",
        ours=p99_s,
        beside=flush_s,
        ratio=round(p99_s / flush_s, 3),
        better=Better.LOWER,
        sizes={**sizes, "counted": latency.count},
        figures={"p50_s": round(latency.p50_s, 3), **figures},
        bounds=[Bound(what="99th percentile, s", value=p99_s, at_most=flush_s + MORE_THAN_FLUSH_S)],
    )


@dataclass(slots=True)
class Flow:
    """The feed on its way into Kafka."""

    items: Sequence[FeedItem]
    sent_at: dict[int, datetime] = field(default_factory=dict)
    """When each item was handed to the producer, by its place in the feed."""
    latest_s: float = 0.0
    """How much later than planned an item was sent, at most."""
    cores: dict[str, float] = field(default_factory=dict)
    """Cores that were busy meanwhile: with each worker, with this process, and all of them, with whatever."""

    async def publish(self, site: Site, load: Load, workers: Mapping[str, int]) -> None:
        """Send every item at its time; return when all are acknowledged. `workers` are process ids by name."""
        producer = site.broker.producer()
        begin_s, spent = time.monotonic(), _spent(workers)
        sending = []
        for number, item in enumerate(self.items):
            due_s = begin_s + number / load.events_per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self.latest_s = max(self.latest_s, time.monotonic() - due_s)
            self.sent_at[number] = datetime.now(UTC)
            message = Message(topic=site.topics.events, key=item.key, value=item.value)
            sending.append(asyncio.create_task(producer.send([message])))
        await asyncio.gather(*sending)
        seconds = time.monotonic() - begin_s
        self.cores = {f"{name}_cores": round((now - spent[name]) / seconds, 2) for name, now in _spent(workers).items()}
        await producer.close()

    def row_waits(self, counted: Mapping[int, datetime], times: RowTimes) -> Latency | None:
        """Return the wait of each event, of its first copy, until its row was there."""
        sent = self.events_sent(counted)
        return percentiles((times.events[each] - moment).total_seconds() for each, moment in sent.items())

    def events_sent(self, counted: Mapping[int, datetime]) -> dict[str, datetime]:
        """Return when the first copy of each event was sent, by its id, of those that count."""
        return {
            item.event.event_id: counted[number]
            for number, item in enumerate(self.items)
            if item.event is not None and item.kind is FeedKind.EVENT and number in counted
        }


def _spent(workers: Mapping[str, int]) -> dict[str, float]:
    of_workers = {name.replace("-", "_"): cpu_s(pid) for name, pid in workers.items()}
    return {**of_workers, "simulator": cpu_s(os.getpid()), "busy": machine_busy_s()}
