"""Whether enrichment is as fast as ClaimX lets it be, and how many calls it spares ClaimX.

An API that takes 100 ms for each answer, in a process of its own (`slow_api`), and 100 calls in flight at most. Three
questions:

- `client`: how near the API client alone comes to in flight / latency.
- `in_flight`: how near a whole enricher comes to it, the command `claimx-enricher` with an Apache Kafka and a lake in a
  folder. Each event is of another project, so each costs two calls, one for the project and one for its files, and no
  call can be spared. The rate is that of the calls, from the first to the last answer.
- `coalescing`: what it is worth that events of one project share their calls (`benchmarks.coalescing`).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import process_time

import uvloop

from benchmarks import coalescing, slow_api
from benchmarks.enrichers import FIRST_PROJECT, enrichers, file_added, open_place, require_once, work_off
from benchmarks.parts import kafka
from benchmarks.result import Better, Bound, Measurement
from benchmarks.side import Side
from kafka_pipeline.claimx.api import Answer, ClaimXApiSettings
from kafka_pipeline.claimx.api_client import ClaimXApiClient
from kafka_pipeline.claimx.api_health import ApiHealth
from kafka_pipeline.claimx.writers.tables import MEDIA, PROJECTS
from kafka_pipeline.common.resilience.circuit import CircuitSettings

LATENCY_S = 0.1
IN_FLIGHT = 100
LIMIT_PER_S = IN_FLIGHT / LATENCY_S
AT_LEAST_SHARE = 0.95

CALLS_FULL, CALLS_QUICK = 20_000, 300
PROJECTS_FULL, PROJECTS_QUICK = 20_000, 150
WARM = 50
"""Projects that are enriched before: their tables are there, and everything is imported."""
FILES = 3
"""Files of each project: rows to write and tasks to queue."""

_SETTINGS = {"CLAIMX_API_MAX_CONCURRENT": str(IN_FLIGHT)}


def measure(*, quick: bool) -> list[Measurement]:
    """Measure all cases, one after the other."""
    client = _client(CALLS_QUICK if quick else CALLS_FULL)
    with kafka() as servers, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        enricher = asyncio.run(_in_flight(Path(folder), servers, PROJECTS_QUICK if quick else PROJECTS_FULL))
        coalesced = coalescing.measure(Path(folder), servers, _SETTINGS, latency_s=LATENCY_S, quick=quick)
    return [client, enricher, coalesced]


# -- the client alone ------------------------------------------------------------------------------------------------


def _client(calls: int) -> Measurement:
    with (
        Side(partial(slow_api.slow_api, LATENCY_S, FILES)) as api,
        Side(partial(_asking, api.ask(slow_api.URL))) as ours,
    ):
        ours.ask(range(WARM))
        api.ask(slow_api.RESET)
        cpu_s = ours.ask(range(WARM, WARM + calls))
        asked = api.ask(slow_api.TOLD)
    if asked.media != calls:
        raise RuntimeError(f"{calls} calls were wanted, {asked.media} were made")
    ratio = round(asked.per_s / LIMIT_PER_S, 3)
    return Measurement(
        name="enrichment.client",
        what="the API client alone: lists of files, asked for and read",
        yardstick="in flight / latency",
        unit="calls/s",
        ours=round(asked.per_s, 1),
        beside=LIMIT_PER_S,
        ratio=ratio,
        better=Better.HIGHER,
        sizes={"calls": calls, "in_flight": IN_FLIGHT, "latency_ms": LATENCY_S * 1000, "files_per_project": FILES},
        figures={
            "cpu_us_per_call": round(cpu_s * 1e6 / calls),
            "api_cpu_us_per_call": round(asked.busy_s * 1e6 / calls),
            "most_in_flight_calls": asked.most_at_once,
        },
        bounds=[Bound(what="of in flight / latency", value=ratio, at_least=AT_LEAST_SHARE)],
    )


@contextmanager
def _asking(url: str) -> Iterator[Callable[[range], float]]:
    """Give a function that asks for the files of projects and returns the processor time that took, in seconds."""
    settings = ClaimXApiSettings(url=url, token=slow_api.TOKEN, max_concurrent=IN_FLIGHT)

    async def ask(projects: range) -> float:
        async with ClaimXApiClient(settings, health=ApiHealth(CircuitSettings())) as client:
            begin_s = process_time()
            answers = await asyncio.gather(
                *(client.get_project_media(str(FIRST_PROJECT + number)) for number in projects)
            )
            cpu_s = process_time() - begin_s
        if not all(isinstance(each, Answer) and len(each.value.items) == FILES for each in answers):
            raise RuntimeError("an answer is not what the API said")
        return cpu_s

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield lambda projects: runner.run(ask(projects))


# -- a whole enricher ------------------------------------------------------------------------------------------------


async def _in_flight(folder: Path, servers: str, projects: int) -> Measurement:
    async with open_place(folder / "in-flight", servers, _SETTINGS, latency_s=LATENCY_S, files=FILES) as place:
        async with enrichers(place, 1) as crew:
            await work_off(place, crew, (file_added(number, 0) for number in range(WARM)))
            done = await work_off(place, crew, (file_added(WARM + number, 0) for number in range(projects)))
        asked = done.asked
        if (asked.projects, asked.media) != (projects, projects):
            raise RuntimeError(f"{projects} events made {asked.projects} and {asked.media} calls")
        require_once(place, PROJECTS, WARM + projects)
        require_once(place, MEDIA, (WARM + projects) * FILES)
        if await place.queued() != (WARM + projects) * FILES:
            raise RuntimeError("files were queued more than once, or not at all")
    ratio = round(asked.per_s / LIMIT_PER_S, 3)
    return Measurement(
        name="enrichment.in_flight",
        what="`claimx-enricher`, one process, each event of another project: events to rows and download tasks",
        yardstick="in flight / latency",
        unit="calls/s",
        ours=round(asked.per_s, 1),
        beside=LIMIT_PER_S,
        ratio=ratio,
        better=Better.HIGHER,
        sizes={
            "events": projects,
            "calls": asked.calls,
            "in_flight": IN_FLIGHT,
            "latency_ms": LATENCY_S * 1000,
            "files_per_project": FILES,
        },
        figures={
            "events_per_s_to_the_last_commit": round(projects / done.seconds, 1),
            "after_the_last_answer_s": round(done.seconds - (asked.last_s - asked.first_s), 2),
            "cpu_us_per_call": round(done.cpu_s * 1e6 / asked.calls),
            "api_cpu_us_per_call": round(asked.busy_s * 1e6 / asked.calls),
            "most_in_flight_calls": asked.most_at_once,
        },
        bounds=[Bound(what="of in flight / latency", value=ratio, at_least=AT_LEAST_SHARE)],
    )
