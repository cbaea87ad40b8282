"""How much memory each worker takes while there is always more to do, and whether it stays so.

Apache Kafka, one process of each of the five workers in one pipeline, all settings at their defaults, a lake in a
folder. Whatever waits in a topic is topped up before it runs out, and `claimx-maintain` runs every minute, as in
`make soak`. All five and the simulated ClaimX share the machine: they are as fast as it lets them be, and their queues
are full. The clock starts once every worker had something to do.

Beside each stands what the issue allows. Flat means what it means in `make soak`: the last third of the run against the
middle third.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable

from benchmarks.backlog import Backlog
from benchmarks.parts import kafka
from benchmarks.process import cpu_s, open_handles, peak_rss_mib, rss_bytes
from benchmarks.result import Better, Bound, Measurement
from benchmarks.site import Site, open_site, working
from chaos.crew import Crew
from chaos.schedule import Member
from chaos.soak import Sample, Trend, trends
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.messaging import TopicPartition
from kafka_pipeline.simulator.lake import stored_files
from kafka_pipeline.simulator.settings import SimulatorSettings

SECONDS_FULL, SECONDS_QUICK = 300, 3
PROJECTS_FULL, PROJECTS_QUICK = 10_000, 30
"""Twice as many as the enricher keeps answers of."""
EVENTS_FULL, EVENTS_QUICK = 30_000, 300
FILES_FULL, FILES_QUICK = 1_500, 20
RESULTS_FULL, RESULTS_QUICK = 10_000, 100
"""What waits at least: several seconds of work."""
ALLOWED_MIB = 400

_MIB = 2**20
_EVERY_S = 1.0
_THIRDS = 3
"""Looks that a trend needs at least: a busy machine may make each last longer than it should."""
_UPKEEP_S = 60.0
"""As in `make soak`."""
_LONGEST_START_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One worker over the whole run."""

    samples: Sequence[Sample]
    peak_mib: float
    cpu_s: float
    done: int
    """Records finished between the first sample and the last."""


def measure(*, quick: bool) -> list[Measurement]:
    """Measure all five at the same time."""
    with kafka() as servers, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        seconds = SECONDS_QUICK if quick else SECONDS_FULL
        watched = asyncio.run(_measure(Path(folder), servers, seconds, quick=quick))
    return [_result(kind, each, seconds) for kind, each in watched.items()]


async def _measure(folder: Path, servers: str, seconds: int, *, quick: bool) -> dict[WorkerKind, Watched]:
    projects = PROJECTS_QUICK if quick else PROJECTS_FULL
    # The feed of the simulator is not used, only its world.
    simulated = SimulatorSettings(projects=projects, events=1, event_types=("PROJECT_FILE_ADDED",))
    async with open_site(folder, servers, simulated) as site:
        topics, producer = site.topics, site.broker.producer()
        least = {
            topics.events: EVENTS_QUICK if quick else EVENTS_FULL,
            topics.downloads_cached: FILES_QUICK if quick else FILES_FULL,
            topics.downloads_results: RESULTS_QUICK if quick else RESULTS_FULL,
        }
        backlog = Backlog(site, producer, least)
        async with working(site) as crew, _kept_up(site):
            watched = await _watch(crew, backlog, _inputs(topics), seconds)
        await producer.close()
        await backlog.look()
        await _require_right(site, backlog.done)
    return watched


@asynccontextmanager
async def _kept_up(site: Site) -> AsyncIterator[None]:
    """Put the tables in order now and then, as a CronJob does in production, and less often there."""
    task = asyncio.create_task(_keep_up(site))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_up(site: Site) -> None:
    environ = dict(os.environ) | dict(site.environ) | {"PYTHONPATH": str(Path(__file__).parents[1])}
    while True:
        await asyncio.sleep(_UPKEEP_S)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kafka_pipeline", "claimx-maintain"),
            env=environ,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()


def _inputs(topics: Topics) -> dict[WorkerKind, str]:
    return {
        WorkerKind.INGESTER: topics.events,
        WorkerKind.ENRICHER: topics.enrichment_pending,
        WorkerKind.DOWNLOADER: topics.downloads_pending,
        WorkerKind.UPLOADER: topics.downloads_cached,
        WorkerKind.RESULT_PROCESSOR: topics.downloads_results,
    }


async def _watch(
    crew: Crew, backlog: Backlog, inputs: Mapping[WorkerKind, str], seconds: int
) -> dict[WorkerKind, Watched]:
    idle = set(inputs.values())
    async with asyncio.timeout(_LONGEST_START_S):
        while idle:
            await backlog.look()
            idle -= {topic for topic, lag in backlog.lag.items() if lag or backlog.done[topic]}
            await backlog.top_up()
            await asyncio.sleep(_EVERY_S / 4)
    pids = {kind: crew.pids()[Member(kind=kind, number=0)] for kind in inputs}
    samples: dict[WorkerKind, list[Sample]] = {kind: [] for kind in inputs}
    before = dict(backlog.done)
    begin_s, spent_s = time.monotonic(), {kind: cpu_s(pid) for kind, pid in pids.items()}
    number = 0
    while time.monotonic() < begin_s + seconds or len(samples[WorkerKind.INGESTER]) < _THIRDS:
        await backlog.look()
        for kind, pid in pids.items():
            samples[kind].append(
                Sample(
                    at_s=round(time.monotonic() - begin_s, 1),
                    rss_bytes=rss_bytes(pid),
                    handles=open_handles(pid),
                    table_files=0,
                    lag=backlog.lag[inputs[kind]],
                )
            )
        await backlog.top_up()
        number = max(number + 1, math.ceil((time.monotonic() - begin_s) / _EVERY_S))  # a look may take longer
        await asyncio.sleep(max(0.0, begin_s + number * _EVERY_S - time.monotonic()))
    return {
        kind: Watched(
            samples=samples[kind],
            peak_mib=peak_rss_mib(pid),
            cpu_s=cpu_s(pid) - spent_s[kind],
            done=backlog.done[inputs[kind]] - before[inputs[kind]],
        )
        for kind, pid in pids.items()
    }


def _result(kind: WorkerKind, watched: Watched, seconds: int) -> Measurement:
    name, peak_mib = kind.value.removeprefix("claimx-").replace("-", "_"), round(watched.peak_mib, 1)
    trend = {each.name: each for each in trends(watched.samples, events_per_s=0.0)}
    memory, handles = trend["rss_bytes"], trend["handles"]
    lags = [each.lag for each in watched.samples]
    return Measurement(
        name=f"memory.{name}",
        what=f"`{kind.value}` with a backlog: the most memory it had",
        yardstick="what is allowed",
        unit="MiB",
        ours=peak_mib,
        beside=ALLOWED_MIB,
        ratio=round(peak_mib / ALLOWED_MIB, 3),
        better=Better.LOWER,
        sizes={"seconds": seconds, "samples": len(watched.samples), "records": watched.done},
        figures={
            "records_per_s": round(watched.done / watched.samples[-1].at_s, 1) if watched.samples[-1].at_s else 0.0,
            "cores": round(watched.cpu_s / seconds, 2),
            "backlog_share": round(sum(lag > 0 for lag in lags) / len(lags), 3),
            "least_backlog_records": min(lags),
            "first_mib": round(watched.samples[0].rss_bytes / _MIB, 1),
            "last_mib": round(watched.samples[-1].rss_bytes / _MIB, 1),
        },
        bounds=[
            Bound(what="peak RSS, MiB", value=peak_mib, at_most=ALLOWED_MIB),
            _flat("median RSS of the last third, MiB", memory, _MIB),
            _flat("open files of the last third", handles, 1),
        ],
    )


def _flat(what: str, trend: Trend, unit: int) -> Bound:
    return Bound(what=what, value=round(trend.last / unit, 1), at_most=round(trend.allowed / unit, 1))


async def _require_right(site: Site, done: Mapping[str, int]) -> None:
    """Raise RuntimeError unless what the workers say is finished is in the lake, nothing twice, nothing set aside."""
    topics = site.topics
    for kind in DeadLetterKind:
        name = topics.dead_letters(kind)
        places = [TopicPartition(name, number) for number in range(site.config.kafka_topic_partitions)]
        if any(mark.high for mark in (await site.admin.watermarks(places)).values()):
            raise RuntimeError(f"dead letters of {kind.value}: none was expected")
    events = _distinct(site, "claimx_events", "event_id")
    attachments = _distinct(site, "claimx_attachments", "media_id")
    files = await asyncio.to_thread(lambda: len(stored_files(site.lake)))
    if events < done[topics.events] or attachments < done[topics.downloads_results]:
        raise RuntimeError("rows are missing")
    if files < done[topics.downloads_cached]:
        raise RuntimeError("files are missing")
    for table, key in (("claimx_projects", "project_id"), ("claimx_media", "media_id")):
        _distinct(site, table, key)


def _distinct(site: Site, table: str, key: str) -> int:
    """Return how many rows a table has. Raises RuntimeError if two have one key."""
    keys = DeltaTable(site.lake / "Tables" / table).to_pyarrow_table(columns=[key])[key]
    if len(keys.unique()) != len(keys):
        raise RuntimeError(f"{table} has rows twice")
    return len(keys)
