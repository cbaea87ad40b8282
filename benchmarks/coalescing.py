"""What it is worth that events of one project share their calls: the case `enrichment.coalescing`.

20 files are added to each of 1,000 projects, those of some projects at a time and mixed, as when people walk around
houses and take pictures. The projects are known already. Ours is a whole `claimx-enricher`: the calls, the rows in the
lake, the download tasks, to the last committed offset.

Naive is one call for each event: by the exchange of the same client, with as many in flight, nothing shared, batched or
remembered. It reads its tasks from Kafka and each list of files, and is done then: it writes no row and queues no file.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import confluent_kafka
import orjson
import uvloop

from benchmarks import slow_api
from benchmarks.enrichers import (
    Enriched,
    Place,
    enrichers,
    file_added,
    open_place,
    project_created,
    require_once,
    work_off,
)
from benchmarks.result import Better, Bound, Measurement
from benchmarks.side import Side
from chaos.crew import Crew
from kafka_pipeline.claimx.api import ClaimXApiSettings
from kafka_pipeline.claimx.api_exchange import ApiExchange
from kafka_pipeline.claimx.api_request import MEDIA_ENDPOINT, ApiRequest
from kafka_pipeline.claimx.handlers.media import MediaHandler
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import read_media_list
from kafka_pipeline.claimx.single_flight import Flight
from kafka_pipeline.claimx.writers.tables import MEDIA, PROJECTS
from kafka_pipeline.common.clock import SYSTEM_CLOCK
from kafka_pipeline.common.messaging.kafka import KafkaSettings

PROJECTS_FULL, PROJECTS_QUICK = 1_000, 20
PAIRS_FULL, PAIRS_QUICK = 3, 1
FILES = 20
"""Files, and so events, of each project."""
AT_A_TIME = 50
"""Projects whose files arrive mixed with each other."""
CALLS_AT_MOST, TIMES_AT_LEAST = 1.1, 8.0

_SEED = 20260302
_CONSUME, _WAIT_S = 1_000, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the naive one is to do."""

    servers: str
    group: str
    topic: str
    api_url: str
    in_flight: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    ours: Enriched
    grouped: int
    """The projects of each batch, added up over the batches."""
    naive_s: float


def measure(folder: Path, servers: str, settings: Mapping[str, str], *, latency_s: float, quick: bool) -> Measurement:
    """Measure both over the same events, alternately."""
    projects, count = (PROJECTS_QUICK, PAIRS_QUICK) if quick else (PROJECTS_FULL, PAIRS_FULL)
    pairs = [
        asyncio.run(_pair(folder / f"coalescing-{number}", servers, settings, latency_s, projects))
        for number in range(count)
    ]
    events = projects * FILES
    times = round(median(each.naive_s / each.ours.seconds for each in pairs), 2)
    share = round(max(each.ours.asked.calls / each.grouped for each in pairs), 3)
    return Measurement(
        name="enrichment.coalescing",
        what="`claimx-enricher`, one process: file events of shared projects to rows and download tasks",
        yardstick="one call for each event by the same client; no rows, no lake",
        unit="events/s",
        ours=round(median(events / each.ours.seconds for each in pairs), 1),
        beside=round(median(events / each.naive_s for each in pairs), 1),
        ratio=times,
        better=Better.HIGHER,
        sizes={
            "events": events,
            "projects": projects,
            "projects_at_a_time": AT_A_TIME,
            "latency_ms": latency_s * 1000,
            "pairs": count,
        },
        figures={
            "calls": median(each.ours.asked.calls for each in pairs),
            "projects_per_batch_added_up": median(each.grouped for each in pairs),
            "events_per_call": round(median(events / each.ours.asked.calls for each in pairs), 1),
            "cpu_us_per_event": round(median(each.ours.cpu_s for each in pairs) * 1e6 / events),
        },
        bounds=[
            Bound(what="calls per project of a batch", value=share, at_most=CALLS_AT_MOST),
            Bound(what="times the naive rate", value=times, at_least=TIMES_AT_LEAST),
        ],
    )


async def _pair(folder: Path, servers: str, settings: Mapping[str, str], latency_s: float, projects: int) -> _Pair:
    async with open_place(folder, servers, settings, latency_s=latency_s, files=FILES) as place:
        async with enrichers(place, 1) as crew:
            await work_off(place, crew, map(project_created, range(projects)))
            # One project more, with all its files: then the table of files is there too.
            await work_off(place, crew, (file_added(projects, number) for number in range(FILES)))
            before = _grouped(crew)
            ours = await work_off(place, crew, _files_added(projects))
            grouped = _grouped(crew) - before
        require_once(place, PROJECTS, projects + 1)
        require_once(place, MEDIA, (projects + 1) * FILES)
        if await place.queued() != (projects + 1) * FILES:
            raise RuntimeError("files were queued more than once, or not at all")
        return _Pair(ours=ours, grouped=grouped, naive_s=await _naive_s(place, projects * FILES))


def _files_added(projects: int) -> Iterator[ClaimXEnrichmentTask]:
    rng = random.Random(_SEED)
    for first in range(0, projects, AT_A_TIME):
        some = [(each, file) for each in range(first, min(first + AT_A_TIME, projects)) for file in range(FILES)]
        rng.shuffle(some)
        yield from (file_added(project, file) for project, file in some)


def _grouped(crew: Crew) -> int:
    """Return the distinct projects of each batch of file events so far, added up, by the worker's own log."""
    lines = (line for log in crew.logs() for line in log.read_bytes().splitlines() if b'"events_enriched"' in line)
    return sum(told["groups"] for told in map(orjson.loads, lines) if told["handler"] == MediaHandler.__name__)


# -- one call for each event -----------------------------------------------------------------------------------------


async def _naive_s(place: Place, events: int) -> float:
    order = _Order(
        servers=place.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group=f"{place.topics.group_prefix}naive",
        topic=place.topics.enrichment_pending,
        api_url=place.config.require_claimx_api_url(),
        in_flight=place.config.claimx_api_max_concurrent,
        events=events + FILES,  # with those of the one project more
    )
    place.api.ask(slow_api.RESET)
    with Side(_naive) as side:
        seconds = await asyncio.to_thread(side.ask, order)
    if place.api.ask(slow_api.TOLD).media != order.events:
        raise RuntimeError("the naive one did not make a call for each event")
    return float(seconds) * events / order.events


@contextmanager
def _naive() -> Iterator[Callable[[_Order], float]]:
    yield lambda order: uvloop.run(_each_for_itself(order))


async def _each_for_itself(order: _Order) -> float:
    """Return the seconds from the first task read until the last list is."""
    settings = ClaimXApiSettings(url=order.api_url, token=slow_api.TOKEN, max_concurrent=order.in_flight)
    exchange = ApiExchange(settings, clock=SYSTEM_CLOCK, sleep=asyncio.sleep)
    exchange.open()
    consumer = confluent_kafka.Consumer(KafkaSettings(bootstrap_servers=order.servers).consumer(order.group))
    consumer.subscribe([order.topic])
    room = asyncio.Semaphore(2 * order.in_flight)  # a call that ends finds the next one waiting
    begun_s: float | None = None

    async def ask(task: ClaimXEnrichmentTask) -> None:
        try:
            request = ApiRequest.get(MEDIA_ENDPOINT, "project_id", task.project_id)
            _, body = await exchange.ask(request, Flight(), nullcontext)
            if task.media_id not in {item.media_id for item in read_media_list(body).items}:
                raise RuntimeError("a file is not in its project's list")
        finally:
            room.release()

    left = order.events
    async with asyncio.TaskGroup() as calls:
        while left:
            messages = await asyncio.to_thread(consumer.consume, _CONSUME, _WAIT_S)
            for message in messages:
                begun_s = begun_s or perf_counter()
                task = ClaimXEnrichmentTask.from_bytes(message.value())
                if task.event_type == EventType.PROJECT_FILE_ADDED:
                    await room.acquire()
                    calls.create_task(ask(task))
                    left -= 1
    seconds = perf_counter() - (begun_s or 0.0)
    await exchange.close()
    consumer.close()
    return seconds
