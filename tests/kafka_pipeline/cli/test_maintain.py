"""`claimx-maintain`: tables are put in order beside running workers, and nothing of them is lost."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.writers.tables import EVENTS, MEDIA, TABLES, TASKS
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import DATE, INT, STRING, TIMESTAMP, TableSpec
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.verifier import verify

NAMES = [spec.name for spec in TABLES.values()]


async def feed(site: Any) -> None:
    """Publish the simulator's whole feed."""
    items = site.simulator.feed()
    await site.producer.send([Message(topic=site.topics.events, key=item.key, value=item.value) for item in items])


async def verified(site: Any) -> None:
    """Compare the lake with the truth."""
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.ok, report.differences


def files(lake: Path, spec: TableSpec) -> int:
    """Return how many files a table has."""
    return len(DeltaTable(str(lake / "Tables" / spec.name)).file_uris())


def filled(lake: Path, spec: TableSpec, *, rows: int) -> None:
    """Write rows of ascending keys, a file each."""
    store = DeltaStore(LakeLocation.parse(lake))
    values = {STRING: "x", INT: 1, DATE: date(2026, 3, 2), TIMESTAMP: datetime(2026, 3, 2, tzinfo=UTC)}
    for number in range(rows):
        row = {column.name: values[column.type] for column in spec.columns if not column.nullable}
        store.merge(spec, [row | {spec.keys[0]: f"{number:03d}"}])


def test_tables_are_put_in_order_and_say_what_was_done(inside: Any, tmp_path: Path) -> None:
    """A dry run changes nothing and tells the sizes; then one file holds the same rows, and nothing is left to do."""
    lake = tmp_path / "lake"
    crowded = (EVENTS, MEDIA)
    for spec in crowded:
        filled(lake, spec, rows=8)
    filled(lake, TASKS, rows=2)
    names = {spec.name for spec in crowded}

    code, out, _ = inside("claimx-maintain", "--dry-run", "--json", LAKE_URL=str(lake))
    assert code == 0
    rows = {row["table"]: row for row in json.loads(out)}
    assert list(rows) == NAMES
    assert {name for name, row in rows.items() if row["rewritten_files"]} == names
    assert all(rows[name]["rewritten_bytes"] == rows[name]["size_bytes"] > 0 for name in names)
    assert {name: row["upkeep"] for name, row in rows.items() if row["files"]} == dict.fromkeys(
        (EVENTS.name, MEDIA.name, TASKS.name), "planned"
    )
    assert [files(lake, spec) for spec in crowded] == [8, 8]

    code, out, _ = inside("claimx-maintain", LAKE_URL=str(lake))
    assert code == 0
    assert [files(lake, spec) for spec in crowded] == [1, 1]
    assert files(lake, TASKS) == 2, "two files are no disorder"
    assert [line.split()[0] for line in out.splitlines()[1:]] == NAMES
    (line,) = [line.split() for line in out.splitlines() if line.split()[0] == MEDIA.name]
    assert line[:3] == [MEDIA.name, "done", "8"]

    code, out, _ = inside("claimx-maintain", "--json", "--table", MEDIA.name, LAKE_URL=str(lake))
    (row,) = json.loads(out)
    assert (row["table"], row["files"], row["rewritten_files"], row["upkeep"]) == (MEDIA.name, 1, 0, "done")


async def test_upkeep_on_a_schedule_beside_workers_loses_nothing_and_stops_when_told(site: Any, program: Any) -> None:
    """Workers merge as fast as they can while tables are put in order again and again; SIGTERM ends that with 0."""
    environ = site.environ | {"DELTA_FLUSH_ROWS": "5"}
    keeping = await program.start("claimx-maintain", "--every", "1", "--json", **environ)
    working = await program.start("claimx-all", "--exit-when-idle", "1", **environ)
    await feed(site)
    assert (await working.ended()).code == 0
    seen = keeping.out.count(b"\n")
    await keeping.told('"upkeep"', times=(seen + 2) * len(NAMES))
    ended = await keeping.stop(signal.SIGTERM)
    assert ended.code == 0
    assert "Traceback" not in ended.err
    rounds = [json.loads(line) for line in ended.out.splitlines()]
    assert {row["upkeep"] for each in rounds for row in each} <= {"done", "absent", "later", "stopped"}
    assert any(row["rewritten_files"] for each in rounds for row in each)
    await verified(site)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--table", "claimx_nothing"), "'claimx_nothing' is not one of claimx_events, "),
        (("--retention-hours", "1"), "greater than or equal to 24"),
        (("--every", "0"), "greater than or equal to 1"),
    ],
)
def test_what_would_do_harm_is_refused(inside: Any, arguments: tuple[str, ...], told: str) -> None:
    """Wrong usage is code 2, told before anything is opened."""
    code, out, err = inside("claimx-maintain", *arguments)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())


def test_a_lake_that_cannot_be_written_is_one_line_and_code_2(inside: Any) -> None:
    """As at the start of a worker."""
    code, out, err = inside("claimx-maintain", LAKE_URL="/dev/null/lake")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "the lake at /dev/null/lake cannot be written" in err


def test_an_empty_lake_has_nothing_to_do(inside: Any, tmp_path: Path) -> None:
    """Tables that are not there yet are no failure."""
    code, out, err = inside("claimx-maintain", "--json", LAKE_URL=str(tmp_path / "lake"))
    assert code == 0
    assert {row["upkeep"] for row in json.loads(out)} == {"absent"}
    assert "Traceback" not in err


def test_a_table_that_fails_is_told_and_the_others_are_kept(inside: Any, tmp_path: Path) -> None:
    """Code 1, a line with the table, and no traceback."""
    log = tmp_path / "lake" / "Tables" / "claimx_media" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020d}.json").write_text("no action\n")
    code, out, err = inside("claimx-maintain", LAKE_URL=str(tmp_path / "lake"))
    assert code == 1
    assert [line.split() for line in out.splitlines() if "claimx_tasks " in line] == [["claimx_tasks", "absent"]]
    assert "claimx_media: looking at claimx_media failed: " in err
    assert "Traceback" not in err
