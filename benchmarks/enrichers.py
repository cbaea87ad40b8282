"""Enricher processes at work: their topics on a real Kafka, a lake in a folder, and a ClaimX that takes its time."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import confluent_kafka
from deltalake import DeltaTable

from benchmarks import slow_api
from benchmarks.process import cpu_s
from benchmarks.side import Side
from benchmarks.slow_api import Asked
from benchmarks.topic import partitions_of
from chaos.crew import Crew
from chaos.schedule import Member
from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.messaging import Admin, TopicPartition
from kafka_pipeline.common.messaging.kafka import KafkaSettings
from kafka_pipeline.config import PipelineConfig, load_config

FIRST_PROJECT = 4_700_000
_TOKEN_VARIABLE = "CLAIMX_API_TOKEN"  # noqa: S105  # the name of the variable, not a token
_MADE_AT = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
_LOOK_EVERY_S = 0.1
_LONGEST_S = 600.0
_FULL_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The surroundings of one run. Places and names are its own; other settings have their defaults."""

    folder: Path
    config: PipelineConfig
    environ: Mapping[str, str]
    """What a worker process needs to work here."""
    topics: Topics
    admin: Admin
    api: Side

    @property
    def pending(self) -> Sequence[TopicPartition]:
        """The partitions of the topic that enrichers read."""
        return partitions_of(self.topics.enrichment_pending, self.config.kafka_topic_partitions)

    async def enriched(self) -> int:
        """Return how many records are finished and committed."""
        return sum((await self.admin.group_offsets(self.topics.group(Group.ENRICHER), self.pending)).values())

    async def queued(self) -> int:
        """Return how many download tasks were written."""
        where = partitions_of(self.topics.downloads_pending, self.config.kafka_topic_partitions)
        return sum(each.high for each in (await self.admin.watermarks(where)).values())

    def table(self, spec: TableSpec) -> DeltaTable:
        """Open a table of the lake."""
        return DeltaTable(LakeLocation.parse(self.config.lake_location).table_uri(spec.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Enriched:
    """What it took to work off a topic."""

    tasks: int
    seconds: float
    """From the moment at which the processes may begin until the last offset is committed."""
    cpu_s: float
    """Processor time of all enrichers meanwhile."""
    asked: Asked
    lost_races: int
    """Merges that were run again because another process was faster."""


@asynccontextmanager
async def open_place(
    folder: Path, servers: str, settings: Mapping[str, str], *, latency_s: float, files: int
) -> AsyncIterator[Place]:
    """Make the topics, and start an API whose projects have so many files each."""
    folder.mkdir()  # noqa: ASYNC240  # nothing else runs yet
    with Side(partial(slow_api.slow_api, latency_s, files)) as api:
        environ = {**_environ(folder, servers, str(api.ask(slow_api.URL))), **settings}
        config = load_config(None, {}, environ)
        broker = open_broker(config, {})
        admin = broker.admin()
        topics = Topics.from_config(config)
        try:
            await admin.create_topics(new_topics(topics, config))
            yield Place(folder=folder, config=config, environ=environ, topics=topics, admin=admin, api=api)
        finally:
            await admin.close()
            await broker.close()


def _environ(folder: Path, servers: str, api_url: str) -> dict[str, str]:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    names = [name for name in PipelineConfig.model_fields if name.startswith("claimx_") and "_topic" in name]
    return {name.upper(): f"{run}.{name.removeprefix('claimx_').replace('_', '-')}" for name in names} | {
        "ALLOW_PRIVATE_DOWNLOAD_HOSTS": api_url.split("/")[2],
        "CLAIMX_API_SENDER_USERNAME": "bench@example.com",
        "CLAIMX_API_URL": api_url,
        "CLAIMX_RETRY_DELAYS_SECONDS": "300",  # fewer topics to make
        "DATA_DIR": str(folder),
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_GROUP_PREFIX": f"{run}.",
        _TOKEN_VARIABLE: slow_api.TOKEN,
    }


def require_once(place: Place, spec: TableSpec, count: int) -> None:
    """Raise RuntimeError unless the table holds so many rows, and no key twice."""
    keys = place.table(spec).to_pyarrow_table(columns=list(spec.keys))
    different = len(set(zip(*(column.to_pylist() for column in keys.columns), strict=True)))
    if (keys.num_rows, different) != (count, count):
        raise RuntimeError(f"{spec.name}: {keys.num_rows} rows, {different} of them different, {count} expected")


# -- records ---------------------------------------------------------------------------------------------------------


def file_added(project: int, number: int) -> ClaimXEnrichmentTask:
    """Return the task that follows from an event: a project's file was added. Both count from 0."""
    project_id = FIRST_PROJECT + project
    return ClaimXEnrichmentTask(
        schema_version=1,
        event_id=f"{project_id}-{number}",
        event_type=EventType.PROJECT_FILE_ADDED.value,
        project_id=str(project_id),
        created_at=_MADE_AT,
        ingested_at=_MADE_AT,
        media_id=slow_api.media_id(project_id, number),
    )


def project_created(project: int) -> ClaimXEnrichmentTask:
    """Return the task that follows from an event: a project was created."""
    return ClaimXEnrichmentTask(
        schema_version=1,
        event_id=f"{FIRST_PROJECT + project}-created",
        event_type=EventType.PROJECT_CREATED.value,
        project_id=str(FIRST_PROJECT + project),
        created_at=_MADE_AT,
        ingested_at=_MADE_AT,
    )


def publish(place: Place, tasks: Iterable[ClaimXEnrichmentTask]) -> int:
    """Write tasks, as evenly over the partitions as the projects are numbered; return how many."""
    settings = KafkaSettings(bootstrap_servers=place.environ["KAFKA_BOOTSTRAP_SERVERS"])
    producer = confluent_kafka.Producer(settings.producer())
    topic, partitions = place.topics.enrichment_pending, place.config.kafka_topic_partitions
    count = 0
    for task in tasks:
        partition = int(task.project_id) % partitions
        while True:
            try:
                producer.produce(topic, task.to_bytes(), task.project_id.encode(), partition)
                break
            except BufferError:
                producer.poll(_FULL_PAUSE_S)
        count += 1
    if producer.flush() != 0:
        raise RuntimeError("tasks were not written")
    return count


# -- processes -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def enrichers(place: Place, count: int) -> AsyncIterator[Crew]:
    """Run so many processes; give them once each has partitions, and stop them at the end.

    Raises RuntimeError if one ended by itself, or did not end well.
    """
    crew = Crew(place.config, place.environ, place.folder)
    try:
        for number in range(count):
            crew.start(Member(kind=WorkerKind.ENRICHER, number=number))
        await crew.ready()
        yield crew
        await crew.stop()
    finally:
        await crew.close()
    if crew.faults or crew.refused_starts:
        raise RuntimeError(f"enrichers had faults: {crew.faults}")


async def work_off(place: Place, crew: Crew, tasks: Iterable[ClaimXEnrichmentTask]) -> Enriched:
    """Let processes that are ready enrich these tasks; return when all are committed.

    They stand still until all tasks are in the topic, so that the writing takes no time from them.
    """
    before, lost = await place.enriched(), await _lost_races(crew)
    for member in crew.pids():
        crew.freeze(member)
    count = await asyncio.to_thread(publish, place, tasks)
    place.api.ask(slow_api.RESET)
    spent_s, began_s = _cpu_s(crew), time.monotonic()
    for member in crew.pids():
        crew.thaw(member)
    async with asyncio.timeout(_LONGEST_S):
        while await place.enriched() - before < count:
            if crew.faults:
                raise RuntimeError(f"enrichers had faults: {'; '.join(crew.faults)}")
            await asyncio.sleep(_LOOK_EVERY_S)
    return Enriched(
        tasks=count,
        seconds=time.monotonic() - began_s,
        cpu_s=_cpu_s(crew) - spent_s,
        asked=place.api.ask(slow_api.TOLD),
        lost_races=await _lost_races(crew) - lost,
    )


async def _lost_races(crew: Crew) -> int:
    """Read from the metrics of all processes how many merges were run again."""
    lost = 0.0
    async with aiohttp.ClientSession() as session:
        for port in crew.ports().values():
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                told = (await answer.text()).splitlines()
            lost += sum(float(line.rpartition(" ")[2]) for line in told if line.startswith("lake_conflicts_total"))
    return round(lost)


def _cpu_s(crew: Crew) -> float:
    return sum(map(cpu_s, crew.pids().values()))
