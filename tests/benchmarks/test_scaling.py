"""What docs/scaling.md advises can be set, and a bucketed table is what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deltalake import DeltaTable

from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.claimx.writers.tables import CONTACTS
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.merge import predicate
from kafka_pipeline.common.lake.tables import STRING, Column
from kafka_pipeline.config import PipelineConfig

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"

BUCKETED = replace(
    CONTACTS,
    keys=("contact_id", "project_id", "project_bucket"),
    partition_by=("project_bucket",),
    columns=(*CONTACTS.columns[:2], Column("project_bucket", STRING, nullable=False), *CONTACTS.columns[2:]),
)


def contact(number: int, bucket: str) -> dict[str, object]:
    """Return an invented contact of a project in a bucket."""
    at = datetime(2026, 3, 2, 14, 0, number, tzinfo=UTC)
    return {
        "contact_id": f"c{number}",
        "project_id": f"90000{number}",
        "project_bucket": bucket,
        "contact_type": "POLICYHOLDER",
        "created_at": at,
        "updated_at": at,
        "last_enriched_at": at,
    }


def test_every_setting_that_is_advised_exists_and_the_values_of_a_table_go_together() -> None:
    """`name: value` between backticks; names of the chart have a dot or are Kubernetes' own words."""
    page = PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:worker|delta|claimx_api|kafka|download|upload|cache|transfer)_\w+)[`:]", page))
    assert names
    assert names - {"claimx_api_call_seconds"} <= set(PipelineConfig.model_fields)
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        values = dict(re.findall(r"`(\w+): ([\w.]+)`", table))
        PipelineConfig.model_validate(
            {name: value for name, value in values.items() if name in PipelineConfig.model_fields}
        )


def test_a_bucketed_table_is_written_by_bucket_and_read_as_one_column_more(tmp_path: Path) -> None:
    """A MERGE names the buckets of its rows, and a row that comes again is found in its own."""
    store = DeltaStore(lake_location(PipelineConfig(lake_url=str(tmp_path)), {}))
    rows = [contact(1, "01"), contact(2, "02")]
    assert "t.project_bucket IN ('01')" in predicate(BUCKETED, rows[:1])
    assert store.merge(BUCKETED, rows).inserted == 2
    again = store.merge(BUCKETED, [contact(1, "01") | {"contact_email": "one@example.com"}, contact(3, "01")])
    assert (again.inserted, again.updated) == (1, 1)
    table = DeltaTable(str(tmp_path / "Tables" / "claimx_contacts"))
    assert {part["project_bucket"] for part in table.partitions()} == {"01", "02"}
    [bucket] = table.to_pyarrow_table(filters=[("project_bucket", "=", "02")]).to_pylist()
    assert bucket["contact_id"] == "c2"
    assert sorted(map(str, table.to_pyarrow_table()["contact_id"].to_pylist())) == ["c1", "c2", "c3"]
