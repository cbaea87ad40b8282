"""What the pipeline writes, others read: with the documented schema, and still after a column was added."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.schemas.entities import ENTITY_ROWS, ProjectRow, TaskRow, TaskTemplateRow
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter, PlacedEvent
from kafka_pipeline.claimx.writers.docs import JOIN
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import (
    BOOL,
    DATE,
    DOUBLE,
    INT,
    STRING,
    STRINGS,
    TIMESTAMP,
    Column,
    TableSpec,
)
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import TopicPartition

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

NOW = datetime(2026, 3, 2, 14, 5, 6, 123456, tzinfo=UTC)
LINK = "https://media.example.com/f/7.jpg"
ROW_MODELS: tuple[type[Row], ...] = (*ENTITY_ROWS, AttachmentRow)
MODELS = {model.logical_table: model for model in ROW_MODELS}
CHOICES = {
    "contacts": {"contact_type": "POLICYHOLDER", "invite_status": "JOINED"},
    "video_collab": {"total_time_seconds": "1234.50"},
    "attachments": {"status": "completed"},
}
WRITER_SETS = {"created_at", "updated_at"}
SAMPLES: tuple[tuple[pa.DataType, object], ...] = (
    (STRING, LINK),
    (INT, 2**40 + 1),
    (BOOL, True),
    (DOUBLE, 52.1),
    (DATE, None),  # the writer's own
    (TIMESTAMP, NOW),
    (STRINGS, [LINK, LINK]),
)
DUCK_TYPES = (
    (STRING, "VARCHAR"),
    (INT, "BIGINT"),
    (BOOL, "BOOLEAN"),
    (DOUBLE, "DOUBLE"),
    (DATE, "DATE"),
    (TIMESTAMP, "TIMESTAMP WITH TIME ZONE"),
    (STRINGS, "VARCHAR[]"),
)


@pytest.fixture
def duck() -> Iterator[DuckDBPyConnection]:
    """Return a DuckDB that fetches nothing; its extension for Delta is not in the package."""
    duckdb = pytest.importorskip("duckdb")
    settings = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection: DuckDBPyConnection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


def opened(tmp_path: Path, spec: TableSpec) -> DeltaTable:
    """Return a reader's handle."""
    return DeltaTable(LakeLocation.parse(tmp_path).table_uri(spec.name))


def in_duck(duck: DuckDBPyConnection, table: DeltaTable) -> DuckDBPyRelation:
    """Return the table as DuckDB reads its files, the current ones by the Delta log."""
    return duck.read_parquet(table.file_uris(), hive_partitioning=True, union_by_name=True)


def full_row(name: str) -> tuple[Row, dict[str, object]]:
    """Return a row with a value in every column that the writer does not set, and those values."""
    values = {
        column.name: next(sample for kind, sample in SAMPLES if kind == column.type)
        for column in TABLES[name].columns
        if column.name not in WRITER_SETS
    } | CHOICES.get(name, {})
    return MODELS[name].model_validate(values), {key: value for key, value in values.items() if value is not None}


async def written(lake: LakeWriter, name: str) -> dict[str, object]:
    """Write one row by the pipeline's own writer; return the values to be found."""
    if name != "events":
        row, values = full_row(name)
        await EntityTableWriter(lake).write([row])
        return values
    ids = {"mediaId": 7, "taskAssignmentId": 8, "videoCollaborationId": 9, "masterFileName": "M", "mediaIds": [7, 8]}
    payload = {"eventType": "PROJECT_CREATED", "projectId": 1, "IngestionTime": NOW.isoformat(), **ids}
    event = parse_event(json.dumps(payload).encode(), record_timestamp_ms=0, now=NOW)
    place = PlacedEvent(event=event, topic_partition=TopicPartition("claimx.events.raw", 0), offset=0)
    await ClaimXEventsWriter(lake).write([place])
    return {"project_id": "1", "media_ids": '["7","8"]', "ingested_at": NOW, "event_date": date(2026, 3, 2)}


def plain(kind: pa.DataType) -> str:
    """Name a type as it is meant: how a list calls its items is the library's."""
    return "list<text>" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else str(kind)


@pytest.mark.parametrize("name", TABLES)
async def test_pyarrow_reads_what_was_written_with_the_documented_schema(
    tmp_path: Path, lake: LakeWriter, name: str
) -> None:
    """Names, order, types, nulls and values, with no table feature beyond what every reader knows."""
    expected = await written(lake, name)
    spec = TABLES[name]
    table = opened(tmp_path, spec)
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.reader_features or []) == (1, [])
    found = table.to_pyarrow_dataset().to_table()
    assert list(spec.names) == found.schema.names
    for column in spec.columns:
        field = found.schema.field(column.name)
        assert plain(column.type) == plain(field.type), column.name
        assert column.nullable == field.nullable, column.name
    [row] = found.to_pylist()
    assert expected == {key: row[key] for key in expected}
    assert [key for key, value in row.items() if value is None] == []


@pytest.mark.parametrize("name", TABLES)
async def test_duckdb_reads_what_was_written_with_the_documented_types(
    tmp_path: Path, lake: LakeWriter, duck: DuckDBPyConnection, name: str
) -> None:
    """Another implementation of Parquet finds the same names, types and values, to the microsecond."""
    expected = await written(lake, name)
    spec = TABLES[name]
    relation = in_duck(duck, opened(tmp_path, spec))
    types = {column.name: next(word for kind, word in DUCK_TYPES if kind == column.type) for column in spec.columns}
    assert types == dict(zip(relation.columns, map(str, relation.types), strict=True))
    [row] = relation.to_arrow_table().to_pylist()
    assert expected == {key: row[key] for key in expected}


async def test_the_documented_join_finds_each_task_its_form(
    tmp_path: Path, lake: LakeWriter, duck: DuckDBPyConnection
) -> None:
    """One form used by two projects has a row in each: by `template_id` alone, tasks would be doubled."""
    writer = EntityTableWriter(lake)
    forms = [TaskTemplateRow(template_id="5", project_id=project, name=f"Roof {project}") for project in "12"]
    await writer.write_task_templates(forms)
    task = TaskRow(task_id="8", assignment_id="8", template_id="5", project_id="2", status="ASSIGNED")
    await writer.write_tasks([task])
    for name in ("tasks", "task_templates"):
        in_duck(duck, opened(tmp_path, TABLES[name])).create_view(TABLES[name].name)
    assert duck.sql(JOIN).fetchall() == [("8", "ASSIGNED", "Roof 2")]


async def grown(tmp_path: Path, lake: LakeWriter) -> DeltaTable:
    """Write a project, then one of a later version with one column more; return the handle opened in between."""
    await EntityTableWriter(lake).write_projects([ProjectRow(project_id="1", project_number="A", last_enriched_at=NOW)])
    spec = TABLES["projects"]
    before = opened(tmp_path, spec)
    wider = TableSpec(name=spec.name, keys=spec.keys, clock=spec.clock, columns=(*spec.columns, Column("new", STRING)))
    row: dict[str, Any] = {"project_id": "2", "project_number": "B", "new": "x", "created_at": NOW, "updated_at": NOW}
    DeltaStore(LakeLocation.parse(tmp_path)).merge(wider, [row])
    return before


async def test_a_reader_of_before_goes_on_after_a_column_was_added(tmp_path: Path, lake: LakeWriter) -> None:
    """An open handle keeps its version and can go on to the new one; a query for the old columns finds all rows."""
    before = await grown(tmp_path, lake)
    spec = TABLES["projects"]
    old = before.to_pyarrow_dataset().to_table()
    assert list(spec.names) == old.schema.names
    assert [row["project_id"] for row in old.to_pylist()] == ["1"]
    before.update_incremental()
    for handle in (before, opened(tmp_path, spec)):
        rows = handle.to_pyarrow_dataset().to_table(columns=list(spec.names)).to_pylist()
        assert sorted((row["project_id"], row["project_number"]) for row in rows) == [("1", "A"), ("2", "B")]


async def test_duckdb_reads_the_files_of_before_and_after_as_one(
    tmp_path: Path, lake: LakeWriter, duck: DuckDBPyConnection
) -> None:
    """Rows of before have a null in the new column; a query for the old columns need not know."""
    await grown(tmp_path, lake)
    in_duck(duck, opened(tmp_path, TABLES["projects"])).create_view("projects")
    assert duck.sql("SELECT project_id, project_number FROM projects ORDER BY 1").fetchall() == [("1", "A"), ("2", "B")]
    assert duck.sql("SELECT project_id, new FROM projects ORDER BY 1").fetchall() == [("1", None), ("2", "x")]


async def test_a_writer_of_before_loses_no_column(tmp_path: Path, lake: LakeWriter) -> None:
    """While a new version is rolled out, both write."""
    await grown(tmp_path, lake)
    later = ProjectRow(project_id="2", project_number="C", last_enriched_at=NOW)
    await EntityTableWriter(lake).write_projects([later])
    found = opened(tmp_path, TABLES["projects"]).to_pyarrow_dataset().to_table(filter=pc.field("project_id") == "2")
    [row] = found.to_pylist()
    assert (row["project_number"], row["new"]) == ("C", "x")
