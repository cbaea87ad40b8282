"""What a table is: its columns with types and merge rules, its keys, its clock. Declarations only, no I/O.

The schema is explicit and in one place, so that a column of nulls keeps its type and text keeps its leading zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import pyarrow as pa

from kafka_pipeline.common.lake.rules import ClockOf, Guard, Latest, Newest, OwnClock, Rule
from kafka_pipeline.common.lake.sql import LEGAL_NAME

STRING: pa.DataType = pa.string()
INT: pa.DataType = pa.int64()
BOOL: pa.DataType = pa.bool_()
DOUBLE: pa.DataType = pa.float64()
DATE: pa.DataType = pa.date32()
TIMESTAMP: pa.DataType = pa.timestamp("us", tz="UTC")
STRINGS: pa.DataType = pa.list_(pa.string())

TYPES = (STRING, INT, BOOL, DOUBLE, DATE, TIMESTAMP, STRINGS)
"""The types a column may have: those that Fabric, Spark, Power BI and DuckDB all read without a table feature."""

INDEXED_COLUMNS = 32
"""Delta collects statistics for this many leading columns; keys without statistics would make every merge read all."""


class Mode(str, Enum):
    """What a MERGE does with a row whose key is there already."""

    UPSERT = "upsert"
    """The columns' rules decide."""
    INSERT_ONLY = "insert_only"
    """The stored row stays as it is."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, Arrow type (one of `TYPES`), whether it may be null, and its merge rule (keys have none)."""

    name: str
    type: pa.DataType
    nullable: bool = True
    rule: Rule = field(default_factory=Newest)


class SpecError(ValueError):
    """A table declaration contradicts itself. A mistake in the code, found when it is imported."""


@dataclass(frozen=True, kw_only=True)  # without slots: what follows from it is worked out once
class TableSpec:
    """One table's declaration. Raises SpecError if it contradicts itself.

    - `keys` are the first columns, in this order, and not null; the planner derives key ranges from the first one.
    - `clock` is the guard column [MRG-2] (a timestamp with the rule Latest); None: an arriving row is never older.
    - `partition_by` names columns that are not null. In an upsert table they must be keys, else a row could move. In an
      insert-only table the caller promises that rows of equal keys are in one partition, or says "search everywhere".
    """

    name: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    clock: str | None = None
    partition_by: tuple[str, ...] = ()
    mode: Mode = Mode.UPSERT

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        self._check_names()
        self._check_keys()
        self._check_partitions()
        self._check_rules()

    @property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema, in column order."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    @property
    def guard(self) -> Guard:
        """The row guard of [MRG-2]."""
        return Guard(self.clock)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """Return the column called `name`; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def _check_names(self) -> None:
        names = self.names
        for name in (self.name, *names):
            if LEGAL_NAME.fullmatch(name) is None:
                raise SpecError(f"{self.name}: {name!r} is not a plain lower-case name")
        if len(set(names)) != len(names):
            raise SpecError(f"{self.name}: a column is declared twice")
        for column in self.columns:
            if column.type not in TYPES:
                raise SpecError(f"{self.name}.{column.name}: type {column.type} is not one that all readers know")

    def _check_keys(self) -> None:
        if not self.keys or self.names[: len(self.keys)] != self.keys or len(self.keys) > INDEXED_COLUMNS:
            raise SpecError(f"{self.name}: the keys must be the first columns, in order")
        for key in self.keys:
            if self.column(key).nullable:
                raise SpecError(f"{self.name}.{key}: a key must not be null")
            if self.column(key).type not in (STRING, INT, DATE):
                raise SpecError(f"{self.name}.{key}: a key must be text, a whole number or a date")

    def _check_partitions(self) -> None:
        for name in self.partition_by:
            if name not in self.names or self.column(name).nullable:
                raise SpecError(f"{self.name}: partition column {name} must exist and not be null")
            if self.column(name).type not in (STRING, INT, DATE):
                raise SpecError(f"{self.name}.{name}: a partition must be text, a whole number or a date")
            if self.mode is Mode.UPSERT and name not in self.keys:
                raise SpecError(f"{self.name}: partition column {name} of an upsert table must be a key")

    def _check_rules(self) -> None:
        if self.clock is not None:
            if self.clock not in self.names or self.column(self.clock).type != TIMESTAMP:
                raise SpecError(f"{self.name}: the clock must be a timestamp column")
            if not isinstance(self.column(self.clock).rule, Latest):
                raise SpecError(f"{self.name}.{self.clock}: the clock's rule must be Latest")
        for column in self.columns:
            for read in column.rule.reads():
                if read not in self.names:
                    raise SpecError(f"{self.name}.{column.name}: its rule reads {read}, which does not exist")
            match column.rule:
                case OwnClock(clock=other) if self.column(other).rule != ClockOf(column.name):
                    raise SpecError(f"{self.name}.{other}: the rule must be ClockOf({column.name!r})")
                case ClockOf(value=other) if self.column(other).rule != OwnClock(column.name):
                    raise SpecError(f"{self.name}.{other}: the rule must be OwnClock({column.name!r})")
                case _:
                    pass
