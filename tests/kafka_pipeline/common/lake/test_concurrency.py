"""Several writers of one table, in threads and in processes: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import TableSpec

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)


def _at_once(work: list[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(len(work)) as threads:
        for future in [threads.submit(call) for call in work]:
            future.result()


def test_writers_that_create_one_table_at_once_share_it(location: LakeLocation, things: TableSpec) -> None:
    """The race of creation has no loser."""
    stores = [DeltaStore(location, tries=20) for _ in range(4)]
    rows = [[{"thing_id": f"{n}-{i}", "created_at": NOW} for i in range(5)] for n in range(4)]
    _at_once([lambda s=s, r=r: s.merge(things, r) for s, r in zip(stores, rows, strict=True)])  # type: ignore[misc]
    assert len(stores[0].existing(things, [row["thing_id"] for some in rows for row in some], [])) == 20


def test_merges_of_the_same_rows_at_once_keep_every_column(location: LakeLocation, things: TableSpec) -> None:
    """Each writer carries another column of the same keys; in the end all of them are there, once."""
    columns: list[dict[str, Any]] = [{"newest": "n"}, {"number": 1}, {"guarded": "g"}]
    DeltaStore(location).ensure(things)

    def write(values: dict[str, Any]) -> None:
        store = DeltaStore(location, tries=50)
        for start in range(0, 12, 4):
            store.merge(things, [{"thing_id": str(i), "created_at": NOW, **values} for i in range(start, start + 4)])

    _at_once([lambda v=v: write(v) for v in columns])  # type: ignore[misc]
    found = DeltaStore(location).existing(things, [str(i) for i in range(12)], ["newest", "number", "guarded"])
    assert len(found) == 12
    assert {(row["newest"], row["number"], row["guarded"]) for row in found} == {("n", 1, "g")}


WRITER = """
import json, sys
from datetime import date
from kafka_pipeline.common.lake.delta import DeltaStore, Positioned
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import DATE, STRING, Column, Mode, TableSpec

spec = TableSpec(
    name="events",
    columns=(
        Column("event_id", STRING, nullable=False), Column("day", DATE, nullable=False), Column("text", STRING)
    ),
    keys=("event_id",), partition_by=("day",), mode=Mode.INSERT_ONLY,
)
store = DeltaStore(LakeLocation.parse(sys.argv[1]), tries=100)
partition, inserted = int(sys.argv[2]), 0
for batch in range(6):
    rows = [
        Positioned(row={"event_id": f"e{batch * 5 + i:03}", "day": date(2026, 3, 2)}, topic="raw",
                   partition=partition, offset=batch * 5 + i)
        for i in range(10)
    ]
    inserted += store.append_once(spec, rows).inserted
print(json.dumps(inserted))
"""


@pytest.mark.parametrize("location", ["folder"], indirect=True)
def test_processes_that_append_the_same_events_store_each_once(
    location: LakeLocation, events: TableSpec, tmp_path: Path
) -> None:
    """Two feeds of the same events in two processes: the inserted rows add up to the distinct events (I2, I6)."""
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    root = Path(__file__).parents[4]
    running = [
        subprocess.Popen(
            [sys.executable, script, location.root, str(n)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(root)},
        )
        for n in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    inserted = [json.loads(output.splitlines()[-1]) for output in outputs]
    assert sum(inserted) == 35
    found = DeltaStore(location).existing(events, [f"e{i:03}" for i in range(40)], [])
    assert len(found) == 35
