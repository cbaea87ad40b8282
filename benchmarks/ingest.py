"""How fast one ingester is: from Kafka to rows of `claimx_events` and enrichment tasks, beside a loop without a lake.

Ours is the command `claimx-ingester`, with its defaults and a lake in a local folder. The bare loop does what the same
events need at least: it consumes, validates with the same model, makes the same task and produces it, with the same
properties of the client; its offsets are committed once, at its end. Each is a process of its own.

The clock runs from the moment at which the group gives the process its partitions, until every offset is committed: so
the first fetch, the making of the table and the wait for the last flush are in it, and the start of Python is not.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import confluent_kafka
import orjson
from deltalake import DeltaTable

from benchmarks.parse_event import invented_events
from benchmarks.parts import kafka
from benchmarks.process import cpu_s, peak_rss_mib
from benchmarks.result import Better, Bound, Measurement
from benchmarks.side import Side
from benchmarks.topic import fill, partitions_of
from chaos.crew import Crew
from chaos.schedule import Member
from kafka_pipeline.claimx.broker import new_topics
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.messaging import Admin, Message
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings
from kafka_pipeline.config import PipelineConfig, load_config

EVENTS_FULL, EVENTS_QUICK = 200_000, 2_000
PAIRS_FULL, PAIRS_QUICK = 3, 1
PARTITIONS = 6
AT_LEAST_SHARE = 0.6
AT_LEAST_PER_S = 20_000

_LOOK_EVERY_S = 0.1
_LONGEST_S = 300.0
_CONSUME = 1_000
_WAIT_S = 0.2
_FULL_PAUSE_S = 0.01
_MEMBER = Member(kind=WorkerKind.INGESTER, number=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a side took for all events: seconds by the clock and of processor time, and its memory at most."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the bare loop is to do."""

    servers: str
    group: str
    source: str
    target: str
    events: int


def measure(*, quick: bool) -> list[Measurement]:
    """Measure both over the same events, alternately."""
    count, pairs = (EVENTS_QUICK, PAIRS_QUICK) if quick else (EVENTS_FULL, PAIRS_FULL)
    with kafka() as servers, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours, bare = asyncio.run(_pairs(servers, Path(folder), count, pairs))
    ratio = round(median(other.seconds / our.seconds for our, other in zip(ours, bare, strict=True)), 3)
    per_s = round(median(count / each.seconds for each in ours))
    return [
        Measurement(
            name="ingest.events",
            what="`claimx-ingester`, one process: events to rows of claimx_events and enrichment tasks",
            yardstick="a bare loop: consume, validate, produce the task; no lake",
            unit="events/s",
            ours=per_s,
            beside=round(median(count / each.seconds for each in bare)),
            ratio=ratio,
            better=Better.HIGHER,
            sizes={"events": count, "partitions": PARTITIONS, "pairs": pairs},
            figures={
                "cpu_us_per_event": _us(ours, count),
                "bare_cpu_us_per_event": _us(bare, count),
                "slowest_events_per_s": round(min(count / each.seconds for each in ours)),
                "peak_rss_mib": round(max(each.peak_mib for each in ours)),
            },
            bounds=[
                Bound(what="of the bare loop's rate", value=ratio, at_least=AT_LEAST_SHARE),
                Bound(what="events/s", value=per_s, at_least=AT_LEAST_PER_S),
            ],
        )
    ]


def _us(spent: list[Spent], count: int) -> float:
    return round(median(each.cpu_seconds for each in spent) * 1e6 / count, 1)


async def _pairs(servers: str, folder: Path, count: int, pairs: int) -> tuple[list[Spent], list[Spent]]:
    run = uuid.uuid4().hex[:8]
    broker = KafkaBroker(KafkaSettings(bootstrap_servers=servers))
    admin = broker.admin()
    source = f"bench.ingest.{run}.events"
    events = (Message(topic=source, value=value) for value in invented_events(count))
    await fill(broker, source, events, partitions=PARTITIONS)
    ours: list[Spent] = []
    bare: list[Spent] = []
    for number in range(pairs):
        place = folder / str(number)
        place.mkdir()
        environ = _environ(servers, place, source, f"bench.ingest.{run}.{number}")
        config = load_config(None, {}, environ)
        topics = Topics.from_config(config)
        await admin.create_topics(new_topics(topics, config))
        ours.append(await _ingest(admin, config, environ, place, count))
        order = _Order(
            servers=servers,
            group=f"{topics.group_prefix}bare",
            source=source,
            target=topics.downloads_pending,  # of the same kind, and nobody's here
            events=count,
        )
        with Side(_bare) as side:
            bare.append(await asyncio.to_thread(side.ask, order))
        for topic in (topics.enrichment_pending, order.target):
            await _require_tasks(admin, topic, count)
    await admin.close()
    await broker.close()
    return ours, bare


def _environ(servers: str, folder: Path, source: str, prefix: str) -> dict[str, str]:
    """Return the settings: places and names, everything else by default."""
    topics = [name for name in PipelineConfig.model_fields if name.startswith("claimx_") and "_topic" in name]
    names = {name.upper(): f"{prefix}.{name.removeprefix('claimx_').replace('_', '-')}" for name in topics}
    return {
        **names,
        "CLAIMX_EVENTS_TOPIC": source,
        "CLAIMX_RETRY_DELAYS_SECONDS": "300",  # fewer topics to make
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_GROUP_PREFIX": f"{prefix}.",
        "KAFKA_TOPIC_PARTITIONS": str(PARTITIONS),
        "DATA_DIR": str(folder),
    }


# -- ours ------------------------------------------------------------------------------------------------------------


async def _ingest(admin: Admin, config: PipelineConfig, environ: dict[str, str], folder: Path, count: int) -> Spent:
    """Let the worker do it all; raise RuntimeError unless every event is there once."""
    topics = Topics.from_config(config)
    group, places = topics.group(Group.INGESTER), partitions_of(topics.events, PARTITIONS)
    crew = Crew(config, environ, folder)
    crew.start(_MEMBER)
    try:
        begin_s: float | None = None
        async with asyncio.timeout(_LONGEST_S):
            while begin_s is None:
                await asyncio.sleep(_LOOK_EVERY_S)
                if crew.faults or crew.refused_starts:
                    raise RuntimeError("the ingester does not start")
                begin_s = _assigned_at(crew.logs()[0])
            pid = crew.pids()[_MEMBER]
            before_s = cpu_s(pid)
            while sum((await admin.group_offsets(group, places)).values()) < count:  # noqa: ASYNC110  # another process
                await asyncio.sleep(_LOOK_EVERY_S)
        spent = Spent(seconds=time.time() - begin_s, cpu_seconds=cpu_s(pid) - before_s, peak_mib=peak_rss_mib(pid))
        await crew.stop()
    finally:
        await crew.close()
    if crew.faults:
        raise RuntimeError(f"the ingester had faults: {'; '.join(crew.faults)}")
    _require_rows(config, count)
    return spent


def _assigned_at(log: Path) -> float | None:
    """Return when the group gave the worker its partitions, Unix seconds, by its own log; None if it did not yet."""
    for line in log.read_bytes().splitlines() if log.exists() else ():
        if b'"partitions_assigned"' in line:
            return datetime.fromisoformat(orjson.loads(line)["timestamp"]).timestamp()
    return None


def _require_rows(config: PipelineConfig, count: int) -> None:
    table = DeltaTable(LakeLocation.parse(config.lake_location).table_uri(EVENTS.name))
    ids = table.to_pyarrow_table(columns=["event_id"])["event_id"]
    if (len(ids), len(ids.unique())) != (count, count):
        raise RuntimeError(f"{count} events were there, {len(ids)} rows are, {len(ids.unique())} of them different")


async def _require_tasks(admin: Admin, topic: str, count: int) -> None:
    marks = await admin.watermarks(partitions_of(topic, PARTITIONS))
    if sum(each.high for each in marks.values()) != count:
        raise RuntimeError(f"{count} events were there, {sum(each.high for each in marks.values())} tasks are")


# -- the bare loop ---------------------------------------------------------------------------------------------------


@contextmanager
def _bare() -> Iterator[Callable[[_Order], Spent]]:
    yield _pass_on


def _pass_on(order: _Order) -> Spent:
    settings = KafkaSettings(bootstrap_servers=order.servers)
    consumer = confluent_kafka.Consumer(settings.consumer(order.group))
    producer = confluent_kafka.Producer(settings.producer())
    begun: list[tuple[float, float]] = []
    consumer.subscribe([order.source], on_assign=lambda *_: begun.append((time.perf_counter(), time.process_time())))
    done = 0
    while done < order.events:
        for message in consumer.consume(_CONSUME, _WAIT_S):
            now = datetime.now(UTC)
            event = parse_event(message.value(), record_timestamp_ms=message.timestamp()[1], now=now)
            task = ClaimXEnrichmentTask.from_event(event, now)
            _produce(producer, order.target, task.to_bytes(), event.project_id.encode())
            done += 1
        producer.poll(0)
    if producer.flush() != 0:
        raise RuntimeError("tasks were not written")
    consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)
    spent = Spent(
        seconds=time.perf_counter() - begun[0][0], cpu_seconds=time.process_time() - begun[0][1], peak_mib=0.0
    )
    consumer.close()
    return spent


def _produce(producer: confluent_kafka.Producer, topic: str, value: bytes, key: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
        except BufferError:
            producer.poll(_FULL_PAUSE_S)
        else:
            return
