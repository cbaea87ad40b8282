"""Whether more enrichers enrich more: one, two and four processes with one topic and one lake.

The API is the limit, as it is meant to be: it takes a quarter of a second for each answer, and each process has 8 calls
in flight at most, so that two cores have time left for four of them. Each event is of another project, so each costs
two calls. The work grows with the processes: each has as many partitions as the others, with as many events. The rate
is that of the calls, from the first to the last answer.

All processes write to the same tables, with keys that lie between each other's. That is the hard case of Delta: of two
merges of one table at the same time, one may lose and is run again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.enrichers import Enriched, enrichers, file_added, open_place, require_once, work_off
from benchmarks.parts import kafka
from benchmarks.result import Better, Bound, Curve, Measurement
from kafka_pipeline.claimx.writers.tables import CONTACTS, MEDIA, PROJECTS

LATENCY_S = 0.25
IN_FLIGHT = 8
"""Of each process."""
PROCESSES_FULL, PROCESSES_QUICK = (1, 2, 4), (1, 2)
EVENTS_FULL, EVENTS_QUICK = 720, 24
"""For each process; at the limit they take 45 s."""
FILES = 3
CONTACTS_OF_A_PROJECT = 3
AT_LEAST_SHARE = 0.9

_PARTITIONS = 12
_WARM = 48
"""Projects that are enriched before: their tables are there, and everything is imported."""
_SETTINGS = {"CLAIMX_API_MAX_CONCURRENT": str(IN_FLIGHT), "KAFKA_TOPIC_PARTITIONS": str(_PARTITIONS)}


def measure(*, quick: bool) -> list[Measurement]:
    """Measure with each number of processes, the fewest first."""
    numbers, events = (PROCESSES_QUICK, EVENTS_QUICK) if quick else (PROCESSES_FULL, EVENTS_FULL)
    with kafka() as servers, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = {
            processes: asyncio.run(_with(processes, Path(folder) / str(processes), servers, events))
            for processes in numbers
        }
    return [_result(done, events)]


async def _with(processes: int, folder: Path, servers: str, events: int) -> Enriched:
    count = processes * events
    async with open_place(folder, servers, _SETTINGS, latency_s=LATENCY_S, files=FILES) as place:
        async with enrichers(place, processes) as crew:
            await work_off(place, crew, (file_added(number, 0) for number in range(_WARM)))
            done = await work_off(place, crew, (file_added(_WARM + number, 0) for number in range(count)))
        if (done.asked.projects, done.asked.media) != (count, count):
            raise RuntimeError(f"{count} events made {done.asked.projects} and {done.asked.media} calls")
        for spec, rows in ((PROJECTS, 1), (CONTACTS, CONTACTS_OF_A_PROJECT), (MEDIA, FILES)):
            require_once(place, spec, (_WARM + count) * rows)
        if await place.queued() != (_WARM + count) * FILES:
            raise RuntimeError("files were queued more than once, or not at all")
    return done


def _result(done: Mapping[int, Enriched], events: int) -> Measurement:
    rates = {processes: each.asked.per_s for processes, each in done.items()}
    few, many = min(rates), max(rates)
    linear = rates[few] / few * many
    ratio = round(rates[many] / linear, 3)
    last = done[many]
    return Measurement(
        name="scale_out.enrichers",
        what=f"{many} `claimx-enricher` processes with one topic and one lake, each event of another project",
        yardstick=f"{many} times what one process does",
        unit="calls/s",
        ours=round(rates[many], 1),
        beside=round(linear, 1),
        ratio=ratio,
        better=Better.HIGHER,
        sizes={
            "processes": many,
            "events_per_process": events,
            "in_flight_per_process": IN_FLIGHT,
            "latency_ms": LATENCY_S * 1000,
            "partitions": _PARTITIONS,
        },
        figures={
            **{f"with_{processes}_calls_per_s": round(rate, 1) for processes, rate in rates.items()},
            "share_of_in_flight_by_latency": round(rates[many] * LATENCY_S / (IN_FLIGHT * many), 3),
            "lost_races_merges": last.lost_races,
            "after_the_last_answer_s": round(last.seconds - (last.asked.last_s - last.asked.first_s), 2),
            "busy_cores": round(last.cpu_s / last.seconds, 2),
        },
        bounds=[Bound(what="of linear", value=ratio, at_least=AT_LEAST_SHARE)],
        curve=Curve(
            title="Enrichers beside each other",
            x="processes",
            y="calls/s",
            series={
                "ours": [(processes, round(rate, 1)) for processes, rate in rates.items()],
                "linear": [(processes, round(rates[few] / few * processes, 1)) for processes in rates],
            },
        ),
    )
