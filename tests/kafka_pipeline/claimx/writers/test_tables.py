"""The declarations of the tables agree with the row models and with section 9 of the domain reference."""

from __future__ import annotations

import types
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Union, get_args, get_origin

import pyarrow as pa
import pytest

from kafka_pipeline.claimx.schemas.entities import ENTITY_ROWS
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, EventRow
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.writers.entities import LINK_COLUMNS
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake.tables import BOOL, DATE, DOUBLE, INT, STRING, STRINGS, TIMESTAMP, Mode

MODELS: tuple[type[Row], ...] = (*ENTITY_ROWS, EventRow, AttachmentRow)
ARROW = {str: STRING, int: INT, bool: BOOL, float: DOUBLE, datetime: TIMESTAMP, date: DATE, list[str]: STRINGS}
STAMPED = {"created_at", "updated_at"}


def arrow_of(annotation: object) -> tuple[pa.DataType, bool]:
    """Return the column type that a field's annotation means, and whether it may be null."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        optional = True
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        annotation = str
    return ARROW[annotation], optional  # type: ignore[index]  # a KeyError here is the test's answer


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.logical_table)
def test_every_field_has_its_column_and_every_column_its_field(model: type[Row]) -> None:
    """A field without column would be empty unnoticed (trap 4)."""
    assert set(TABLES[model.logical_table].names) == set(model.model_fields)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.logical_table)
def test_every_column_has_the_type_of_its_field(model: type[Row]) -> None:
    """Types and nullability agree; only what the writer stamps may be null in a row and not in the table."""
    spec = TABLES[model.logical_table]
    for name, field in model.model_fields.items():
        kind, optional = arrow_of(field.annotation)
        column = spec.column(name)
        assert (name, column.type) == (name, kind)
        if name not in STAMPED and (model.logical_table, name) != ("attachments", "status"):
            assert (name, column.nullable) == (name, optional)


def test_every_model_has_its_table_and_every_table_its_model() -> None:
    """Nine of each."""
    assert set(TABLES) == {model.logical_table for model in MODELS}


def test_names_keys_and_modes_are_those_of_the_reference() -> None:
    """The table of section 9.1."""
    upsert, insert_only = Mode.UPSERT, Mode.INSERT_ONLY
    assert {name: (spec.name, spec.keys, spec.mode) for name, spec in TABLES.items()} == {
        "events": ("claimx_events", ("event_id",), insert_only),
        "projects": ("claimx_projects", ("project_id",), upsert),
        "contacts": ("claimx_contacts", ("contact_id", "project_id"), upsert),
        "media": ("claimx_media", ("media_id",), upsert),
        "tasks": ("claimx_tasks", ("task_id",), upsert),
        "task_templates": ("claimx_task_templates", ("template_id", "project_id"), insert_only),
        "external_links": ("claimx_external_links", ("link_id",), upsert),
        "video_collab": ("claimx_video_collab", ("collaboration_id",), upsert),
        "attachments": ("claimx_attachments", ("media_id",), upsert),
    }
    assert [name for name, spec in TABLES.items() if spec.partition_by] == ["events"]
    assert TABLES["events"].partition_by == ("event_date",)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "events"])
def test_every_entity_table_has_the_audit_columns(name: str) -> None:
    """[MRG-5]; the inventory's clock is the download [INV-1]."""
    spec = TABLES[name]
    assert {"source_event_id", "created_at", "updated_at"} <= set(spec.names)
    assert spec.clock == ("downloaded_at" if name == "attachments" else "last_enriched_at")


def test_all_columns_that_hold_links_are_known() -> None:
    """So that the writer can cut them [SEC-8, settled point 18]; a new one must be marked in its model."""
    marked = {(table, column) for table, columns in LINK_COLUMNS.items() for column in columns}
    named = {
        (name, column)
        for name, spec in TABLES.items()
        for column in spec.names
        if column.endswith(("url", "urls", "link")) and column != "xa_autolink"
    }
    assert named == marked
    assert len(marked) == 5
