"""What is expected of the lake: rows by key, each column by value or by what may be said of it; files by path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

Key = tuple[object, ...]
"""The values of a table's key columns."""


class Matcher(Enum):
    """What is said of a column whose value depends on the clock or was left open."""

    PRESENT = "not null"
    BLANK = "null or empty text"

    def matches(self, found: object) -> bool:
        """Say whether the value found is as expected."""
        return found is not None if self is Matcher.PRESENT else found is None or found == ""


@dataclass(frozen=True, slots=True)
class JsonText:
    """Text whose decoded JSON must equal `value`, however it is written."""

    value: Any

    def matches(self, found: object) -> bool:
        """Say whether the value found is as expected."""
        try:
            return isinstance(found, str) and bool(json.loads(found) == self.value)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several values: which one is the clock's."""

    values: frozenset[str]

    def matches(self, found: object) -> bool:
        """Say whether the value found is as expected."""
        return found in self.values


@dataclass(frozen=True, slots=True)
class DayOf:
    """The UTC date of another column of the same row."""

    column: str


def agrees(expected: object, found: object, row: Mapping[str, object]) -> bool:
    """Say whether a column's value is what was expected of it.

    Types count: `1` is neither `True` nor `1.0` nor `"1"`, and a time without zone is no moment.
    """
    if isinstance(expected, Matcher | JsonText | OneOf):
        return expected.matches(found)
    if isinstance(expected, DayOf):
        moment = row.get(expected.column)
        return isinstance(moment, datetime) and moment.utcoffset() is not None and found == moment.date()
    if isinstance(expected, datetime) and isinstance(found, datetime) and found.utcoffset() is None:
        return False
    return type(expected) is type(found) and expected == found


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTable:
    """One Delta table: every row it must have, and no other."""

    name: str
    key_columns: tuple[str, ...]
    rows: Mapping[Key, Mapping[str, object]]
    """Columns not named are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """One file under Files/."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the lake must hold when everything of the feed has been worked off."""

    tables: Mapping[str, ExpectedTable]
    files: Mapping[str, ExpectedFile]
    """By blob path [BLB-1]."""
    dead_events: int
    """Records that must be in the `events` dead letters: the malformed ones."""

    @property
    def file_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size_bytes for file in self.files.values())
