"""Compares a lake with the truth: every row, every column that is known, every byte of every file.

Uses nothing of the pipeline, so that it can find what the pipeline gets wrong. What it writes names tables, keys and
columns, never values: a report may be shown to anybody [SEC-10].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from kafka_pipeline.simulator.expectation import ExpectedFile, ExpectedTable, Key, Truth, agrees
from kafka_pipeline.simulator.lake import Lake, StoredFile, Table, stored_files

FILES = "Files"
"""Stands in a difference where otherwise the table's name does."""

_SHOWN_SEGMENTS = 3
"""Segments of a blob path that are ids; the one behind them is a name somebody gave."""


class DifferenceKind(str, Enum):
    """In what way the lake is not as it must be."""

    MISSING = "missing"
    """Expected, not there."""
    EXTRA = "extra"
    """There, not expected."""
    DOUBLED = "doubled"
    """There more than once under one key."""
    DIFFERENT = "different"
    """There, but a column or the bytes are others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it must be. `column` is empty where it concerns the whole row or file."""

    kind: DifferenceKind
    where: str
    key: str
    column: str = ""

    def __str__(self) -> str:
        place = f"{self.where} {self.key}".rstrip()
        return f"{place}: {self.column} {self.kind.value}" if self.column else f"{place}: {self.kind.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How many rows of a table, or files, were expected and found, and how many differences of each kind."""

    expected: int
    found: int
    differences: Mapping[DifferenceKind, int]

    @property
    def ok(self) -> bool:
        """Say whether nothing is amiss."""
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What a comparison found."""

    tables: Mapping[str, Comparison]
    files: Comparison
    file_bytes: int
    """Bytes of all files found."""
    differences: tuple[str, ...]
    """The first differences, one readable line each."""

    @property
    def ok(self) -> bool:
        """Say whether the lake is exactly what it must be."""
        return self.files.ok and all(table.ok for table in self.tables.values())

    @property
    def difference_count(self) -> int:
        """All differences, also those that have no line."""
        return sum(sum(part.differences.values()) for part in (*self.tables.values(), self.files))


def verify(lake: Lake, truth: Truth, *, max_lines: int = 50) -> VerificationReport:
    """Compare a lake (with `Tables` and `Files` below it) with the truth.

    Blocks while it reads; rows are read in batches and files in pieces. Raises what deltalake raises for a table that
    cannot be read.
    """
    lines: list[str] = []
    tables = {}
    for expected in truth.tables.values():
        found: Counter[Key] = Counter()
        kinds = _collect(_table_differences(Table(lake, expected.name), expected, found), lines, max_lines)
        tables[expected.name] = Comparison(expected=len(expected.rows), found=found.total(), differences=kinds)
    stored = stored_files(lake)
    kinds = _collect(_file_differences(stored, truth.files), lines, max_lines)
    return VerificationReport(
        tables=tables,
        files=Comparison(expected=len(truth.files), found=len(stored), differences=kinds),
        file_bytes=sum(file.size_bytes for file in stored.values()),
        differences=tuple(lines),
    )


def _collect(differences: Iterator[Difference], lines: list[str], max_lines: int) -> Mapping[DifferenceKind, int]:
    kinds: Counter[DifferenceKind] = Counter()
    for difference in differences:
        kinds[difference.kind] += 1
        if len(lines) < max_lines:
            lines.append(str(difference))
    return kinds


def _table_differences(table: Table, expected: ExpectedTable, found: Counter[Key]) -> Iterator[Difference]:
    """Yield how a table differs; counts the rows found by key on the way. An absent column is told once."""
    columns = dict.fromkeys((*expected.key_columns, *(name for row in expected.rows.values() for name in row)))
    for name in columns:
        if table.columns and name not in table.columns:
            yield Difference(kind=DifferenceKind.MISSING, where=expected.name, key="", column=name)
    for row in table.rows(tuple(columns)):
        key = tuple(row.get(name) for name in expected.key_columns)
        found[key] += 1
        if found[key] > 1:
            yield Difference(kind=DifferenceKind.DOUBLED, where=expected.name, key=_joined(key))
        else:
            yield from _row_differences(row, expected, key)
    for key in expected.rows:
        if key not in found:
            yield Difference(kind=DifferenceKind.MISSING, where=expected.name, key=_joined(key))


def _row_differences(row: Mapping[str, object], expected: ExpectedTable, key: Key) -> Iterator[Difference]:
    wanted = expected.rows.get(key)
    if wanted is None:
        yield Difference(kind=DifferenceKind.EXTRA, where=expected.name, key=_joined(key))
        return
    for name, value in wanted.items():
        if name in row and not agrees(value, row[name], row):
            yield Difference(kind=DifferenceKind.DIFFERENT, where=expected.name, key=_joined(key), column=name)


def _file_differences(stored: Mapping[str, StoredFile], expected: Mapping[str, ExpectedFile]) -> Iterator[Difference]:
    for path, file in stored.items():
        wanted = expected.get(path)
        if wanted is None:
            yield Difference(kind=DifferenceKind.EXTRA, where=FILES, key=_shown(path))
        elif file.size_bytes != wanted.size_bytes:
            yield Difference(kind=DifferenceKind.DIFFERENT, where=FILES, key=_shown(path), column="size")
        elif file.sha256() != wanted.sha256:
            yield Difference(kind=DifferenceKind.DIFFERENT, where=FILES, key=_shown(path), column="bytes")
    for path in expected:
        if path not in stored:
            yield Difference(kind=DifferenceKind.MISSING, where=FILES, key=_shown(path))


def _joined(key: Key) -> str:
    return "/".join(map(str, key))


def _shown(path: str) -> str:
    return "/".join(path.split("/")[:_SHOWN_SEGMENTS])
