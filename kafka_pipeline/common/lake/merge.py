"""The merge planner: from a batch of rows to one row per key, a condition that lets Delta skip files, and expressions.

`t.k = s.k` implies `min(s.k) <= t.k <= max(s.k)`. Written as literals this changes nothing in the result, but Delta
skips files by their statistics, and writers of disjoint ranges commit without a conflict. Pure: no I/O, no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import TypeAlias

import pyarrow as pa

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.sql import Value, any_of, literal
from kafka_pipeline.common.lake.tables import DATE, INT, STRING, TIMESTAMP, Column, Mode, TableSpec

Key: TypeAlias = tuple[Value, ...]
"""The values of a table's key columns, in their order."""

MAX_RANGES = 64
"""Ranges per key column of a MERGE: so many old keys among new ones are looked for in their own files alone. What is
read in vain is kept in memory until the end; the condition itself is compared only for rows with equal keys."""

MAX_READ_RANGES = 8
"""The same of a read, which compares every row with them."""

WORTH_A_CUT = 32
"""A gap is cut out if it is more than this part of what the ranges still cover: a smaller one would skip no file."""

STANDS_OUT = 8
"""So is one that is more than so many times as wide as the mean of those that are left: it parts few old keys."""

MAX_LITERALS = 20
"""Up to here values are listed one by one; DataFusion prunes by longer lists no more, so they become ranges."""

LISTED_KEYS = 128
"""Measured on a million rows: up to about here a read with the keys listed is faster than one of whole ranges."""

_DIGITS = 16
"""Characters after the common prefix that decide a distance: past the time part of a UUID."""

_NUMERALS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""The digits that `int` reads in any base."""

_PYTHON_TYPES = {STRING: str, INT: int, DATE: date, TIMESTAMP: datetime}
"""Types that Arrow would convert in silence (a datetime to a date) or that rules and literals rely on."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A closed range of one key column's values: text, whole numbers or dates."""

    low: Value
    high: Value


def combine(spec: TableSpec, rows: Iterable[Row]) -> list[dict[str, Value]]:
    """Return one complete row per key, in key order (I3, [MRG-6]).

    Upsert: rows of a key are folded by the columns' rules in clock order, nulls first, input order among equals.
    Insert-only: the first one stays. Raises PipelineError (permanent) for a column that the table does not have, a null
    where none may be, or a naive datetime.
    """
    given = list(rows)
    groups: dict[Key, list[Row]] = {}
    for key, row in zip(keys_of(spec, given), given, strict=True):
        groups.setdefault(key, []).append(row)
    _require_known_columns(spec, given)
    combined = [_fold(spec, groups[key]) for key in sorted(groups)]
    _require_types(spec, combined)
    return combined


def complete(spec: TableSpec, rows: Sequence[Row]) -> list[dict[str, Value]]:
    """Return each row with every column, for rows of different keys. Raises what `combine` does."""
    _require_known_columns(spec, rows)
    names = spec.names
    filled = [_filled(names, row) for row in rows]
    _require_types(spec, filled)
    return filled


def key_of(spec: TableSpec, row: Row) -> Key:
    """Return the row's key. Raises PipelineError (permanent) if a part is null or of another type."""
    return keys_of(spec, [row])[0]


def keys_of(spec: TableSpec, rows: Sequence[Row]) -> list[Key]:
    """Return each row's key. Raises PipelineError (permanent) if a part is null or of another type."""
    parts = []
    for name in spec.keys:
        parts.append([row.get(name) for row in rows])
        _check(spec.column(name), parts[-1], spec)
    return list(zip(*parts, strict=True))


def _fold(spec: TableSpec, rows: Sequence[Row]) -> dict[str, Value]:
    clock, guard = spec.clock, spec.guard
    is_folded = spec.mode is not Mode.INSERT_ONLY and len(rows) > 1
    if is_folded and clock is not None:
        undated = [row for row in rows if row.get(clock) is None]
        dated = [row for row in rows if row.get(clock) is not None]
        rows = [*undated, *sorted(dated, key=lambda row: row[clock])]
    merged = _filled(spec.names, rows[0])
    if not is_folded:
        return merged
    for row in rows[1:]:
        merged |= {c.name: c.rule.fold(c.name, guard, merged, row) for c in spec.columns if c.name not in spec.keys}
    return merged


def _filled(names: Sequence[str], row: Row) -> dict[str, Value]:
    return dict(row) if len(row) == len(names) else {name: row.get(name) for name in names}


def _require_known_columns(spec: TableSpec, rows: Iterable[Row]) -> None:
    names = frozenset(spec.names)
    for row in rows:
        if not names.issuperset(row):
            raise _malformed(spec, min(row.keys() - names), "is not a column of the table")


def _require_types(spec: TableSpec, rows: Sequence[Row]) -> None:
    for column in spec.columns:
        _check(column, [row[column.name] for row in rows], spec)


def _check(column: Column, values: Sequence[Value], spec: TableSpec) -> None:
    """Refuse a column that holds what it must not. The types that occur in it say enough, nearly always."""
    kinds = set(map(type, values))
    wanted = _PYTHON_TYPES.get(column.type)
    is_usual = wanted is None or kinds <= {wanted, type(None)}
    is_null = type(None) in kinds and not column.nullable
    is_naive = datetime in kinds and None in {value.tzinfo for value in values if type(value) is datetime}
    if is_null or is_naive or not is_usual:
        for value in values:
            _check_one(column, value, spec)


def _check_one(column: Column, value: Value, spec: TableSpec) -> None:
    if value is None:
        if not column.nullable:
            raise _malformed(spec, column.name, "must not be null")
        return
    wanted = _PYTHON_TYPES.get(column.type)
    if wanted is not None and type(value) is not wanted and not (wanted is str and isinstance(value, str)):
        raise _malformed(spec, column.name, f"must be a {wanted.__name__}, not a {type(value).__name__}")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise _malformed(spec, column.name, "must be an aware datetime")


def to_arrow(spec: TableSpec, rows: Sequence[Row]) -> pa.Table:
    """Return the rows under the table's schema; raises PipelineError (permanent) for a value of another type."""
    arrays = []
    for column in spec.columns:
        try:
            arrays.append(pa.array([row.get(column.name) for row in rows], type=column.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise _malformed(spec, column.name, f"does not hold {column.type}") from None  # the text shows the value
    return pa.Table.from_arrays(arrays, schema=spec.schema)


def _malformed(spec: TableSpec, column: str, what: str) -> PipelineError:
    return PipelineError(f"{spec.name}.{column} {what}", Category.PERMANENT, reason="malformed")


def key_ranges(values: Iterable[str | int | date], max_ranges: int = MAX_RANGES) -> list[KeyRange]:
    """Return at most `max_ranges` closed ranges, ascending and disjoint, that together hold every value.

    Cut at the largest gaps, as long as one is worth it, so that old keys among many new ones do not stretch the range
    over everything between.
    """
    ordered: list[Value] = sorted(set(values))
    if not ordered:
        return []
    places = _places(ordered)
    gaps = [after - before for before, after in pairwise(places)]
    rest = sum(gaps)
    cuts: list[int] = []
    for cut in heapq.nlargest(max_ranges - 1, range(len(gaps)), key=gaps.__getitem__):
        left = len(gaps) - len(cuts)
        if gaps[cut] * max(WORTH_A_CUT, left // STANDS_OUT) <= rest:
            break
        rest -= gaps[cut]
        cuts.append(cut)
    cuts.sort()
    starts = [0, *(cut + 1 for cut in cuts)]
    ends = [*cuts, len(ordered) - 1]
    return [KeyRange(ordered[start], ordered[end]) for start, end in zip(starts, ends, strict=True)]


def apart(rows: Sequence[Row], ranges: Sequence[KeyRange], files: Collection[KeyRange], key: str) -> int:
    """Return how many of the rows, which are in key order, are old and best merged by themselves.

    A MERGE mixes the rows of all files that it touches. Merged together with old rows, the end of the table, where the
    next merges go, would be mixed with half of it. Recent is the half with the greater keys, and what is in its files.
    None if a file may hold rows of both: two merges would write it twice.
    """
    middle = rows[len(rows) // 2][key]
    recent = [each for each in ranges if each.high >= middle]
    begin = min([recent[0].low, *(file.low for file in files if _overlaps(file, recent))])
    old = [each for each in ranges if each.high < begin]
    recent = [each for each in ranges if each.high >= begin]
    if any(_overlaps(file, old) and _overlaps(file, recent) for file in files):
        return 0
    return next(place for place, row in enumerate(rows) if row[key] >= recent[0].low)


def _overlaps(file: KeyRange, ranges: Iterable[KeyRange]) -> bool:
    return any(file.low <= each.high and each.low <= file.high for each in ranges)


def _places(ordered: Sequence[Value]) -> list[int]:
    """Return a number per value, never descending, whose differences tell how far apart the values are.

    Text is read as digits after the common prefix, in a number system of just the characters that occur: so the
    distance of two UUIDs is about their distance in time, that of two decimal ids of one length their difference.
    """
    first = ordered[0]
    if isinstance(first, int):
        return list(ordered)
    if isinstance(first, date):
        return [value.toordinal() for value in ordered]
    skip = next((i for i, (a, b) in enumerate(zip(first, ordered[-1], strict=False)) if a != b), len(first))
    digits = [value[skip : skip + _DIGITS] for value in ordered]
    shorter = int(len({len(text) for text in digits}) > 1)  # then 0 stands for "no character", below all others
    alphabet = {char: i for i, char in enumerate(sorted(set().union(*digits)), start=shorter)}
    base = len(alphabet) + shorter
    if 1 < base <= len(_NUMERALS):  # nearly always, and then the interpreter reads the numbers
        numerals = str.maketrans({char: _NUMERALS[i] for char, i in alphabet.items()})
        return [int("0" + text.translate(numerals), base) * base ** (_DIGITS - len(text)) for text in digits]
    places = []
    for text in digits:
        place = 0
        for char in text:
            place = place * base + alphabet[char]
        places.append(place * base ** (_DIGITS - len(text)))
    return places


def predicate(spec: TableSpec, rows: Collection[Row], everywhere: Collection[Key] = ()) -> str:
    """Return the MERGE condition for these rows: equal keys, and what that implies as literals.

    Implied are ranges of every key column and, where the table is partitioned, the rows' partitions. The keys in
    `everywhere` are looked for in all partitions [EVW-1]; all in one condition, so in one commit.
    """
    equal = [f"t.{key} = s.{key}" for key in spec.keys]
    anywhere = set(everywhere) if spec.partition_by else set()
    bound, free = rows, []
    if anywhere:
        keys = [tuple(row[name] for name in spec.keys) for row in rows]
        bound = [row for key, row in zip(keys, rows, strict=True) if key not in anywhere]
        free = [row for key, row in zip(keys, rows, strict=True) if key in anywhere]
    alternatives = [
        _implied(spec, some, (*spec.partition_by, *spec.keys) if some is bound else spec.keys, "t.", MAX_RANGES)
        for some in (bound, free)
        if some
    ]
    return " AND ".join([*equal, _either(alternatives)])


def lookup_condition(spec: TableSpec, keys: Collection[Key]) -> str:
    """Return the condition of a read that finds the rows of these keys (or leading parts of keys), and few others.

    A few keys are listed; of many only the ranges are given, since a long list costs more than the rows it saves. The
    caller compares the keys of what it gets.
    """
    depth = min(len(key) for key in keys)
    rows = [dict(zip(spec.keys, key, strict=False)) for key in keys]
    implied = _implied(spec, rows, spec.keys[:depth], "", MAX_READ_RANGES)
    listed = {key[0] for key in keys}
    return f"{implied} AND {any_of(spec.keys[0], sorted(listed))}" if len(listed) <= LISTED_KEYS else implied


def _implied(spec: TableSpec, rows: Collection[Row], columns: Iterable[str], alias: str, max_ranges: int) -> str:
    terms = []
    for column in dict.fromkeys(columns):
        values = {row[column] for row in rows}
        if column in spec.partition_by and len(values) <= MAX_LITERALS:
            terms.append(any_of(alias + column, sorted(values)))
        else:
            terms.append(_either([_between(alias + column, r) for r in key_ranges(values, max_ranges)]))
    return " AND ".join(terms)


def _between(column: str, r: KeyRange) -> str:
    if r.low == r.high:
        return f"{column} = {literal(r.low)}"
    return f"{column} >= {literal(r.low)} AND {column} <= {literal(r.high)}"


def _either(terms: Sequence[str]) -> str:
    return "(" + " OR ".join(f"({term})" for term in terms) + ")" if len(terms) > 1 else f"({terms[0]})"


def update_expressions(spec: TableSpec) -> dict[str, str]:
    """Return, per column that is no key, the SQL of its new value over `t` and `s`."""
    return {c.name: c.rule.sql(c.name, spec.guard) for c in spec.columns if c.name not in spec.keys}


def insert_expressions(spec: TableSpec) -> dict[str, str]:
    """Return, per column, the SQL of a new row's value."""
    return {name: f"s.{name}" for name in spec.names}
