"""What keeping events apart costs as a day fills: 1,000 events into a day of 100 thousand and of ten million.

900 events are new and follow those of the day. 100 are second copies, under offsets of their own, of events among the
10,000 youngest: what a source that sends twice does. They are found by their ids, and add nothing. A second series
brings the last batch again, all of it: what a killed ingester does.

Ours is `ClaimXEventsWriter` on a real lake, from the call to the durable rows, with events as the ingester parses them.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from deltalake import DeltaTable

from benchmarks import big_table
from benchmarks.result import Better, Bound, Curve, Measurement
from benchmarks.side import Side
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter, PlacedEvent
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import TopicPartition

SIZES_FULL, SIZES_QUICK = (100_000, 1_000_000, 10_000_000), (2_000, 4_000, 8_000)
EVENTS_FULL, EVENTS_QUICK = 1_000, 100
PAIRS_FULL, PAIRS_QUICK = 9, 1
COPIED_SHARE = 0.1
WINDOW = 10
"""Copies are of the youngest events, this many times as many as the events of a write."""
GROWTH_LIMIT = 2.0

_SEED = 20260302
_WARM_EVENTS = 10
_PLACE = TopicPartition("claimx.events.raw", 0)
_NOW = big_table.DAY + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events to be written, by number, in the order of their offsets."""

    folder: str
    first_offset: int
    numbers: tuple[int, ...]

    def events(self) -> list[PlacedEvent]:
        """Return them as the ingester has them."""
        now_ms = int(_NOW.timestamp() * 1000)
        return [
            PlacedEvent(
                event=parse_event(big_table.event_payload(n), record_timestamp_ms=now_ms, now=_NOW),
                topic_partition=_PLACE,
                offset=offset,
            )
            for offset, n in enumerate(self.numbers, start=self.first_offset)
        ]


@dataclass(slots=True)
class _Day:
    """A day that is written into, and the seconds that each series took."""

    location: LakeLocation
    events: int
    offset: int = 0
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def batch(self, rng: random.Random, count: int) -> Batch:
        """Return the next events: new ones, and copies of some that came shortly before."""
        copied = round(count * COPIED_SHARE)
        new = range(self.events, self.events + count - copied)
        numbers = [*new, *rng.sample(range(max(0, self.events - WINDOW * count), self.events), copied)]
        rng.shuffle(numbers)
        first = self.offset
        self.events += len(new)
        self.offset += count
        return Batch(folder=self.location.root, first_offset=first, numbers=tuple(numbers))

    def check(self) -> None:
        """Raise RuntimeError unless the day has every event once."""
        if big_table.rows_of(EVENTS, self.location) != self.events:
            raise RuntimeError("a day has not as many events as there were")


def measure(*, quick: bool) -> list[Measurement]:
    """Write into all days in turn, and compare."""
    sizes = SIZES_QUICK if quick else SIZES_FULL
    count = EVENTS_QUICK if quick else EVENTS_FULL
    rng = random.Random(_SEED)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        days = [_Day(LakeLocation.parse(Path(folder) / f"day-{size}"), size) for size in sizes]
        for day in days:
            big_table.build(EVENTS, day.location, big_table.events, day.events)
        files = len(DeltaTable(days[-1].location.table_uri(EVENTS.name)).file_uris())
        with Side(_ours) as ours:
            for day in days:
                ours.ask(day.batch(rng, _WARM_EVENTS))
            for _ in range(PAIRS_QUICK if quick else PAIRS_FULL):
                for day in days:
                    batch = day.batch(rng, count)
                    day.seconds["new"].append(ours.ask(batch))
                    day.check()
                    day.seconds["again"].append(ours.ask(batch))
                    day.check()
            rss_mib = ours.peak_mib()
    return [_measurement(days, sizes, count=count, files=files, rss_mib=rss_mib)]


def _measurement(days: Sequence[_Day], sizes: Sequence[int], *, count: int, files: int, rss_mib: float) -> Measurement:
    new, again = _growth(days, "new"), _growth(days, "again")
    return Measurement(
        name="event_dedup.day",
        what=f"{count:,} events, a tenth of them copies, into a day of {sizes[-1]:,}",
        yardstick=f"the same into a day of {sizes[0]:,}",
        unit="s",
        ours=round(median(days[-1].seconds["new"]), 3),
        beside=round(median(days[0].seconds["new"]), 3),
        ratio=new,
        better=Better.LOWER,
        sizes={
            "events_in_day": sizes[-1],
            "events_written": count,
            "files": files,
            "writes": len(days[0].seconds["new"]),
        },
        figures={
            "again_s": round(median(days[-1].seconds["again"]), 3),
            "again_ratio": again,
            "peak_rss_mib": round(rss_mib),
        },
        bounds=[
            Bound(what="times the small day's", value=new, at_most=GROWTH_LIMIT),
            Bound(what="times the small day's, all of them again", value=again, at_most=GROWTH_LIMIT),
        ],
        curve=Curve(
            title="1,000 events as their day fills",
            x="events in the day",
            y="seconds per write",
            series={
                label: [(size, round(median(day.seconds[name]), 3)) for size, day in zip(sizes, days, strict=True)]
                for name, label in (("new", "a tenth of them copies"), ("again", "the last batch again"))
            },
            log_x=True,
        ),
    )


def _growth(days: Sequence[_Day], series: str) -> float:
    pairs = zip(days[-1].seconds[series], days[0].seconds[series], strict=True)
    return round(median(large / small for large, small in pairs), 2)


@contextmanager
def _ours() -> Iterator[Callable[[Batch], float]]:
    """Write through the writer that the ingester has; without the time to gather events, which is a setting."""
    writers: dict[str, ClaimXEventsWriter] = {}
    lakes: list[LakeWriter] = []
    with asyncio.Runner() as runner:

        def write(batch: Batch) -> float:
            if batch.folder not in writers:
                lakes.append(LakeWriter.at(LakeLocation.parse(batch.folder), flush_rows=1, flush_seconds=1.0))
                writers[batch.folder] = ClaimXEventsWriter(lakes[-1])
            events = batch.events()
            begin = perf_counter()
            runner.run(writers[batch.folder].write(events))
            return perf_counter() - begin

        yield write
        for lake in lakes:
            runner.run(lake.close())
