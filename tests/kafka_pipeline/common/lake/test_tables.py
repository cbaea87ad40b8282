"""A table declaration that contradicts itself does not survive its construction."""

from __future__ import annotations

import pyarrow as pa
import pytest

from kafka_pipeline.common.lake.rules import ClockOf, Latest, OwnClock, Weak
from kafka_pipeline.common.lake.sql import literal
from kafka_pipeline.common.lake.tables import DATE, STRING, TIMESTAMP, Column, Mode, SpecError, TableSpec

KEY = Column("id", STRING, nullable=False)


def test_the_schema_is_explicit_and_in_column_order(things: TableSpec) -> None:
    """Timestamps are microseconds UTC; keys and required columns are not null."""
    assert things.schema.field("seen_at").type == pa.timestamp("us", tz="UTC")
    assert things.schema.names == list(things.names)
    assert {f.name for f in things.schema if not f.nullable} == {"thing_id", "created_at"}


@pytest.mark.parametrize(
    ("columns", "keys", "clock", "partition_by", "says"),
    [
        ((KEY,), (), None, (), "keys must be the first"),
        ((Column("a", STRING), KEY), ("id",), None, (), "keys must be the first"),
        ((Column("id", STRING),), ("id",), None, (), "must not be null"),
        ((Column("id", TIMESTAMP, nullable=False),), ("id",), None, (), "text, a whole number or a date"),
        ((KEY, KEY), ("id",), None, (), "declared twice"),
        ((KEY, Column("Bad", STRING)), ("id",), None, (), "not a plain"),
        ((KEY, Column("x; DROP", STRING)), ("id",), None, (), "not a plain"),
        ((KEY, Column("t", pa.timestamp("ns"))), ("id",), None, (), "all readers know"),
        ((KEY,), ("id",), "seen_at", (), "must be a timestamp"),
        ((KEY, Column("seen_at", TIMESTAMP)), ("id",), "seen_at", (), "must be Latest"),
        ((KEY, Column("d", DATE)), ("id",), None, ("d",), "not be null"),
        ((KEY, Column("d", DATE, nullable=False)), ("id",), None, ("d",), "must be a key"),
        ((KEY, Column("d", TIMESTAMP, nullable=False)), ("id",), None, ("d",), "text, a whole number or a date"),
        ((KEY, Column("v", STRING, rule=OwnClock("c"))), ("id",), None, (), "reads c"),
        ((KEY, Column("v", STRING, rule=OwnClock("c")), Column("c", TIMESTAMP)), ("id",), None, (), "ClockOf"),
        ((KEY, Column("v", STRING), Column("c", TIMESTAMP, rule=ClockOf("v"))), ("id",), None, (), "OwnClock"),
        ((KEY, Column("v", STRING, rule=Weak(("a",), where=("k", "P")))), ("id",), None, (), "reads k"),
    ],
)
def test_a_contradiction_is_named(
    columns: tuple[Column, ...], keys: tuple[str, ...], clock: str | None, partition_by: tuple[str, ...], says: str
) -> None:
    """SpecError tells table, column and what is wrong."""
    with pytest.raises(SpecError, match=says):
        TableSpec(name="bad", columns=columns, keys=keys, clock=clock, partition_by=partition_by)


def test_an_insert_only_table_may_be_partitioned_by_another_column() -> None:
    """Its rows never move, so the partition need not be a key."""
    spec = TableSpec(
        name="log",
        columns=(KEY, Column("d", DATE, nullable=False), Column("seen_at", TIMESTAMP, rule=Latest())),
        keys=("id",),
        partition_by=("d",),
        mode=Mode.INSERT_ONLY,
    )
    assert spec.column("d").type == DATE
    with pytest.raises(KeyError):
        spec.column("e")


def test_only_exact_values_become_literals() -> None:
    """A float or a datetime in a condition would compare differently from what is stored."""
    assert [literal(v) for v in ("a'b\\", 5, True)] == ["'a''b\\'", "5", "TRUE"]
    with pytest.raises(TypeError):
        literal(1.5)  # type: ignore[arg-type]
