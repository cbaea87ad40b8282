"""What an upsert costs as its table grows: 1,000 rows of media into 100 thousand, a million and ten million.

Recent: half of the rows are new, half change rows that came shortly before. Scattered: 5 % of them change rows from
anywhere in the table instead. Ours is `EntityTableWriter` on a real lake, from the call to the durable rows; beside it
are the same into the smallest table, and what one would write with deltalake alone: the same columns merged on the same
key, without the ranges that let Delta skip files. That is timed from the fetched snapshot and the ready Arrow table.

Each side has a process of its own. A scattered merge mixes the files of a table, so each has a table fresh from upkeep.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from deltalake import DeltaTable

from benchmarks import big_table
from benchmarks.result import Better, Bound, Curve, Measurement
from benchmarks.side import Side
from kafka_pipeline.claimx.schemas.entities import MediaMetadataRow
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.claimx.writers.tables import MEDIA
from kafka_pipeline.common.lake import merge as plan
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.writer import LakeWriter

SIZES_FULL, SIZES_QUICK = (100_000, 1_000_000, 10_000_000), (2_000, 4_000, 8_000)
ROWS_FULL, ROWS_QUICK = 1_000, 100
PAIRS_FULL, PAIRS_QUICK = 5, 1
SCATTERED_FULL, SCATTERED_QUICK = 3, 1
"""Scattered merges into each table."""
OLD_SHARE = 0.05
WINDOW = 2
"""Changed rows are among the youngest of the table, this many times as many as the rows of a merge."""
GROWTH_LIMIT = 2.0
PLAIN_LIMIT = 20.0
RSS_LIMIT_MIB = 1024.0

_SEED = 20260302
_WARM_ROWS = 10
_CLOCK = datetime(2026, 3, 3, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows to be merged, by number; `mark` tells this merge from others."""

    folder: str
    numbers: tuple[int, ...]
    mark: int

    def rows(self) -> list[MediaMetadataRow]:
        """Return them as a handler makes them."""
        return [
            MediaMetadataRow(
                media_id=big_table.media_id(n),
                project_id=big_table.project_id(n),
                file_type="jpg",
                file_name=f"IMG_{n % 10_000:04}.jpg",
                media_comment=f"Merge {self.mark}",
                full_download_link=f"https://files.example.com/{big_table.project_id(n)}/{big_table.media_id(n)}/a.jpg",
                source_event_id=f"example-{self.mark}-{n}",
                last_enriched_at=_CLOCK + timedelta(seconds=self.mark),
            )
            for n in self.numbers
        ]


@dataclass(slots=True)
class _Table:
    """A table that is merged into: how many rows it has, and the merge that touched each row last."""

    location: LakeLocation
    rows: int
    marks: dict[int, int] = field(default_factory=dict)

    def batch(self, rng: random.Random, count: int, old: int = 0) -> Batch:
        """Return the next merge: new rows and changes of recent ones, half and half, and changes of old ones."""
        recent = count - old
        window = range(max(0, self.rows - WINDOW * count), self.rows)
        new = range(self.rows, self.rows + recent // 2)
        numbers = [*new, *rng.sample(window, recent - len(new)), *rng.sample(range(window.start), old)]
        rng.shuffle(numbers)
        self.rows += len(new)
        mark = max(self.marks.values(), default=0) + 1
        self.marks |= dict.fromkeys(numbers, mark)
        return Batch(folder=self.location.root, numbers=tuple(numbers), mark=mark)

    def check(self) -> None:
        """Raise RuntimeError unless every row is there once, as the last merge left it."""
        keys = {big_table.media_id(n): f"Merge {mark}" for n, mark in self.marks.items()}
        stored = DeltaStore(self.location).existing(MEDIA, list(keys), ("media_comment",))
        right = sorted((row["media_id"], row["media_comment"]) for row in stored) == sorted(keys.items())
        if not right or big_table.rows_of(MEDIA, self.location) != self.rows:
            raise RuntimeError("a merge did not do what it should")


def measure(*, quick: bool) -> list[Measurement]:
    """Merge into all tables in turn, ours and the plain way, and compare."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return _Comparison(Path(folder), quick=quick).measure()


class _Comparison:
    """The tables, and the seconds that were measured: by (series, rows of the table)."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self._folder = folder
        self._sizes = SIZES_QUICK if quick else SIZES_FULL
        self._count = ROWS_QUICK if quick else ROWS_FULL
        self._old = round(self._count * OLD_SHARE)
        self._pairs = PAIRS_QUICK if quick else PAIRS_FULL
        self._scattered = SCATTERED_QUICK if quick else SCATTERED_FULL
        self._rng = random.Random(_SEED)
        self._built: dict[int, LakeLocation] = {}
        self._copies = 0
        self._seconds: defaultdict[tuple[str, int], list[float]] = defaultdict(list)

    def measure(self) -> list[Measurement]:
        """Build, merge, judge."""
        for size in self._sizes:
            self._built[size] = LakeLocation.parse(self._folder / f"built-{size}")
            big_table.build(MEDIA, self._built[size], big_table.media, size)
        with ExitStack() as stack:
            recent, scattered, plain = (stack.enter_context(Side(side)) for side in (_ours, _ours, _plain))
            self._merge_recent(recent, plain)
            self._merge_scattered(scattered, plain)
            rss_mib = {"recent": recent.peak_mib(), "scattered": scattered.peak_mib(), "plain": plain.peak_mib()}
        return self._measurements(rss_mib)

    def _merge_recent(self, ours: Side, plain: Side) -> None:
        tables = {(name, size): self._copy(size) for name in ("recent", "plain") for size in self._sizes}
        sides = {"recent": ours, "plain": plain}
        for (name, _), table in tables.items():
            sides[name].ask(table.batch(self._rng, _WARM_ROWS))
        for _ in range(self._pairs):
            for size in self._sizes:
                for name, side in sides.items():
                    batch = tables[name, size].batch(self._rng, self._count)
                    self._seconds[name, size].append(side.ask(batch))
        for table in tables.values():
            table.check()

    def _merge_scattered(self, ours: Side, plain: Side) -> None:
        for _ in range(self._scattered):
            for size in self._sizes:
                self._scatter("scattered", ours, size)
                self._scatter("plain_scattered", plain, size)

    def _scatter(self, name: str, side: Side, size: int) -> None:
        table = self._copy(size)
        side.ask(table.batch(self._rng, _WARM_ROWS))
        self._seconds[name, size].append(side.ask(table.batch(self._rng, self._count, self._old)))
        # What the files are like now shows in the next merge of recent rows.
        self._seconds[f"after_{name}", size].append(side.ask(table.batch(self._rng, self._count)))
        table.check()

    def _copy(self, size: int) -> _Table:
        self._copies += 1
        return _Table(big_table.copied(MEDIA, self._built[size], self._folder / f"copy-{self._copies}"), size)

    def _measurements(self, rss_mib: Mapping[str, float]) -> list[Measurement]:
        small, large = self._sizes[0], self._sizes[-1]
        sizes = {"rows_in_table": large, "rows_merged": self._count, "files": self._files(large)}
        faster = median(
            slow / fast
            for slow, fast in zip(self._seconds["plain", large], self._seconds["recent", large], strict=True)
        )
        return [
            self._growth("recent", f"{self._count:,} recent rows", sizes, rss_mib["recent"]),
            self._growth(
                "scattered",
                f"{self._count - self._old:,} recent rows and {self._old} from anywhere",
                sizes,
                rss_mib["scattered"],
            ),
            Measurement(
                name="upsert_growth.plain",
                what=f"merges of recent rows into {large:,} rows",
                yardstick="deltalake's merge on the key alone, the same rows into a copy of the table",
                unit="merges/s",
                ours=round(1 / self._median("recent", large), 2),
                beside=round(1 / self._median("plain", large), 3),
                ratio=round(faster, 1),
                better=Better.HIGHER,
                sizes=sizes | {"merges": self._pairs},
                figures={"plain_peak_rss_mib": round(rss_mib["plain"])}
                | {f"ratio_at_{size}_rows": self._faster(size) for size in (small, self._sizes[1])},
                bounds=[Bound(what="times as fast as plain", value=round(faster, 1), at_least=PLAIN_LIMIT)],
            ),
        ]

    def _growth(self, name: str, what: str, sizes: Mapping[str, float], rss_mib: float) -> Measurement:
        small, middle, large = self._sizes
        ratios = [
            there / here for there, here in zip(self._seconds[name, large], self._seconds[name, small], strict=True)
        ]
        growth = round(median(ratios), 2)
        figures = {
            f"at_{middle}_rows_s": round(self._median(name, middle), 3),
            "largest_ratio": round(max(ratios), 2),
            "peak_rss_mib": round(rss_mib),
        }
        if name == "scattered":
            figures |= {
                "plain_s": round(self._median("plain_scattered", large), 3),
                "next_recent_merge_s": round(self._median("after_scattered", large), 3),
                "next_recent_plain_merge_s": round(self._median("after_plain_scattered", large), 3),
            }
        return Measurement(
            name=f"upsert_growth.{name}",
            what=f"{what} into {large:,}",
            yardstick=f"the same into {small:,}",
            unit="s",
            ours=round(self._median(name, large), 3),
            beside=round(self._median(name, small), 3),
            ratio=growth,
            better=Better.LOWER,
            sizes=dict(sizes) | {"merges": len(ratios)},
            figures=figures,
            bounds=[
                Bound(what="times the smallest table's", value=growth, at_most=GROWTH_LIMIT),
                Bound(what="peak RSS in MiB", value=round(rss_mib), at_most=RSS_LIMIT_MIB),
            ],
            curve=self._curve() if name == "recent" else None,
        )

    def _curve(self) -> Curve:
        labels = {"recent": "recent rows", "scattered": "5 % scattered", "plain": "plain deltalake, recent rows"}
        return Curve(
            title="An upsert of 1,000 rows as its table grows",
            x="rows in the table",
            y="seconds per merge",
            series={
                label: [(size, round(self._median(name, size), 3)) for size in self._sizes]
                for name, label in labels.items()
            },
            log_x=True,
            log_y=True,
        )

    def _median(self, name: str, size: int) -> float:
        return median(self._seconds[name, size])

    def _faster(self, size: int) -> float:
        return round(self._median("plain", size) / self._median("recent", size), 1)

    def _files(self, size: int) -> int:
        return len(DeltaTable(self._built[size].table_uri(MEDIA.name)).file_uris())


@contextmanager
def _ours() -> Iterator[Callable[[Batch], float]]:
    """Merge through the writer that workers have; without the time to gather rows, which is a setting."""
    writers: dict[str, EntityTableWriter] = {}
    lakes: list[LakeWriter] = []
    with asyncio.Runner() as runner:

        def merge(batch: Batch) -> float:
            if batch.folder not in writers:
                lakes.append(LakeWriter.at(LakeLocation.parse(batch.folder), flush_rows=1, flush_seconds=1.0))
                writers[batch.folder] = EntityTableWriter(lakes[-1])
            rows = batch.rows()
            begin = perf_counter()
            runner.run(writers[batch.folder].write_media(rows))
            return perf_counter() - begin

        yield merge
        for lake in lakes:
            runner.run(lake.close())


@contextmanager
def _plain() -> Iterator[Callable[[Batch], float]]:
    """Merge as deltalake's documentation does."""
    tables: dict[str, DeltaTable] = {}

    def merge(batch: Batch) -> float:
        if batch.folder not in tables:
            tables[batch.folder] = DeltaTable(LakeLocation.parse(batch.folder).table_uri(MEDIA.name))
        table = tables[batch.folder]
        table.update_incremental()
        data = plan.to_arrow(MEDIA, plan.combine(MEDIA, _stamped(batch.rows())))
        begin = perf_counter()
        (
            table.merge(data, "t.media_id = s.media_id", source_alias="s", target_alias="t")
            .when_matched_update(plan.update_expressions(MEDIA))
            .when_not_matched_insert(plan.insert_expressions(MEDIA))
            .execute()
        )
        return perf_counter() - begin

    yield merge


def _stamped(rows: Sequence[MediaMetadataRow]) -> list[dict[str, object]]:
    return [row.to_row() | {"created_at": _CLOCK, "updated_at": _CLOCK} for row in rows]
