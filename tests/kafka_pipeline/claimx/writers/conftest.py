"""A lake in a folder, a clock that is told the time, and a way to look into tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter

Look = Callable[[TableSpec], list[dict[str, Any]]]


class ToldClock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 4, 23, 59, tzinfo=UTC)

    def now(self) -> datetime:
        """Return what was told."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time.timestamp()

    def go_on(self, **span: float) -> datetime:
        """Let time pass; return the new time."""
        self.time += timedelta(**span)
        return self.time


@pytest.fixture
def clock() -> ToldClock:
    """Return a clock at a fixed time."""
    return ToldClock()


@pytest.fixture
async def lake(tmp_path: Path) -> AsyncIterator[LakeWriter]:
    """Return a lake in a folder that writes at once."""
    writer = LakeWriter(DeltaStore(LakeLocation.parse(tmp_path)), flush_rows=1000, flush_seconds=0)
    yield writer
    await writer.close()


@pytest.fixture
def writer(lake: LakeWriter, clock: ToldClock) -> EntityTableWriter:
    """Return the entity writer on that lake."""
    return EntityTableWriter(lake, clock=clock)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Return a function that reads a whole table, sorted by its keys, as another reader would."""

    def rows(spec: TableSpec) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pa.table(
            DeltaTable(LakeLocation.parse(tmp_path).table_uri(spec.name)).scan()
        ).to_pylist()
        return sorted(found, key=lambda row: [row[key] for key in spec.keys])

    return rows
