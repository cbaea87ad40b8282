"""What the pipeline writes, others read: with the documented schema, and still after a column was added."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.schemas.entities import ProjectRow
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import STRING, Column, TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)


def _opened(tmp_path: Path, spec: TableSpec) -> DeltaTable:
    return DeltaTable(str(tmp_path / "Tables" / spec.name))


@pytest.mark.parametrize("name", TABLES)
def test_a_reader_finds_the_documented_schema(tmp_path: Path, name: str) -> None:
    """Names, order, types and nulls as declared, and no table feature beyond what every reader knows."""
    spec = TABLES[name]
    DeltaStore(LakeLocation.parse(tmp_path)).ensure(spec)
    table = _opened(tmp_path, spec)
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.reader_features or []) == (1, [])
    found = table.to_pyarrow_dataset().schema
    assert found.names == list(spec.names)
    for column in spec.columns:
        field = found.field(column.name)
        assert _plain(field.type) == _plain(column.type), column.name
        assert field.nullable == column.nullable, column.name


def _plain(kind: pa.DataType) -> str:
    """Name a type as it is meant: how a list calls its items is the library's."""
    return "list<text>" if pa.types.is_list(kind) or pa.types.is_large_list(kind) else str(kind)


async def test_a_reader_of_before_goes_on_after_a_column_was_added(tmp_path: Path, lake: LakeWriter) -> None:
    """An open handle keeps its version; a query for the old columns finds old and new rows."""
    writer = EntityTableWriter(lake)
    await writer.write_projects([ProjectRow(project_id="1", project_number="CLM-1", last_enriched_at=NOW)])
    spec = TABLES["projects"]
    before = _opened(tmp_path, spec)
    wider = TableSpec(name=spec.name, keys=spec.keys, clock=spec.clock, columns=(*spec.columns, Column("new", STRING)))
    written: dict[str, Any] = {"project_id": "2", "project_number": "CLM-2", "new": "x"}
    DeltaStore(LakeLocation.parse(tmp_path)).merge(wider, [written | {"created_at": NOW, "updated_at": NOW}])
    old = before.to_pyarrow_dataset().to_table(columns=["project_id"]).to_pylist()
    assert old == [{"project_id": "1"}]
    fresh = _opened(tmp_path, spec).to_pyarrow_dataset().to_table(columns=["project_id", "project_number"]).to_pylist()
    assert sorted(each["project_number"] for each in fresh) == ["CLM-1", "CLM-2"]
    await writer.write_projects([ProjectRow(project_id="2", project_number="CLM-2b", last_enriched_at=NOW)])
    [row] = (
        _opened(tmp_path, spec).to_pyarrow_dataset().to_table(filter=pa.compute.field("project_id") == "2").to_pylist()
    )
    assert (row["project_number"], row["new"]) == ("CLM-2b", "x"), "a writer of before loses no column"
