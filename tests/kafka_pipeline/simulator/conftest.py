"""A running simulator, a client for it, and lakes that hold exactly what they must."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import DayOf, ExpectedTable, JsonText, Matcher, OneOf, Truth
from kafka_pipeline.simulator.feed import build_feed
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.truth import blob_path, build_truth
from kafka_pipeline.simulator.world import LinkForm

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
SMALL = SimulatorSettings(projects=12, media_per_project=3, events=100)


@dataclass
class SettableClock:
    """A clock that goes when it is told to."""

    moment: datetime = NOW
    started: datetime = field(default=NOW)

    def now(self) -> datetime:
        """Return the set moment."""
        return self.moment

    def monotonic(self) -> float:
        """Return seconds since the start."""
        return (self.moment - self.started).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


class StartSimulator(Protocol):
    """Starts a simulator that ends with the test."""

    async def __call__(self, **changes: Any) -> Simulator:
        """Start one with these settings changed."""


@pytest.fixture
def clock() -> SettableClock:
    """Time as the test sets it."""
    return SettableClock()


@pytest.fixture
async def start(clock: SettableClock) -> AsyncIterator[StartSimulator]:
    """Start simulators; all of them end with the test."""
    async with AsyncExitStack() as stack:

        async def start_one(**changes: Any) -> Simulator:
            values = {"projects": 12, "media_per_project": 3, "events": 100} | changes
            return await stack.enter_async_context(Simulator(SimulatorSettings(**values), clock))

        yield start_one


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client that is closed with the test."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def small_truth() -> Truth:
    """Give the truth of a small world, with made-up origins."""
    world = build_world(SMALL)
    feed = build_feed(SMALL, world)
    return build_truth(world, feed, api_origin="http://api.example.com", storage_origin="http://s3.example.com")


def write_lake(root: Path, truth: Truth, change: Callable[[str, list[dict[str, object]]], None]) -> None:
    """Write the lake that the truth describes, each table's rows changed first."""
    for table in truth.tables.values():
        rows = plain_rows(table)
        change(table.name, rows)
        write_table(root, table.name, rows)
    world = build_world(SMALL)
    for item in world.media.values():
        path = root / "Files" / blob_path(item)
        if item.link is not LinkForm.NONE and blob_path(item) in truth.files:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"".join(item.file().chunks()))


def write_table(root: Path, name: str, rows: list[dict[str, object]]) -> None:
    """Write one table."""
    arrow = pa.Table.from_pylist(rows)
    fields = [pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in arrow.schema]
    write_deltalake(str(root / "Tables" / name), arrow.cast(pa.schema(fields)))


def plain_rows(table: ExpectedTable) -> list[dict[str, object]]:
    """Return rows that are as the table must be."""
    return [{name: _plain(value, row, name) for name, value in row.items()} for row in table.rows.values()]


def _plain(value: object, row: Any, name: str) -> object:
    if isinstance(value, JsonText):
        return json.dumps(value.value)
    if isinstance(value, DayOf):
        moment = row[value.column]
        return moment.date() if isinstance(moment, datetime) else date(NOW.year, NOW.month, NOW.day)
    if isinstance(value, OneOf):
        return min(value.values)
    if value is Matcher.PRESENT:
        return NOW
    return None if value is Matcher.BLANK else value


class MakeLake(Protocol):
    """Writes a lake and returns its root."""

    def __call__(self, change: Callable[[str, list[dict[str, object]]], None] = ...) -> Path:
        """Write it with each table's rows changed by `change`."""


@pytest.fixture
def make_lake(tmp_path: Path, small_truth: Truth) -> MakeLake:
    """Write lakes for the small truth."""

    def make(change: Callable[[str, list[dict[str, object]]], None] = lambda _name, _rows: None) -> Path:
        write_lake(tmp_path, small_truth, change)
        return tmp_path

    return make


@pytest.fixture
def make_table(tmp_path: Path, small_truth: Truth) -> Callable[..., None]:
    """Write one table of the small truth, its rows changed first."""

    def make(name: str, change: Callable[[list[dict[str, object]]], None]) -> None:
        rows = plain_rows(small_truth.tables[name])
        change(rows)
        write_table(tmp_path, name, rows)

    return make


@pytest.fixture
def small_settings() -> SimulatorSettings:
    """Give the settings behind `small_truth`."""
    return SMALL
