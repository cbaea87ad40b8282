"""Values and names as SQL text, for predicates and expressions that Delta evaluates.

Delta takes predicates as text only, so ids that came from outside end up in it: everything goes through `literal`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any, TypeAlias

Value: TypeAlias = Any
"""What a cell may hold: text, numbers, booleans, dates, aware datetimes, lists of text, or None (not carried)."""

LEGAL_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Column and table names are plain, so that they need no quoting anywhere."""


def literal(value: str | bool | int | date) -> str:  # noqa: FBT001 - a boolean is one of the values to be written
    """Return `value` as a SQL literal.

    Text is put between single quotes with quotes doubled; a backslash means itself. Raises TypeError for types that
    no key, partition or rule uses (floats, datetimes), because their text would not compare exactly.
    """
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
        case date() if type(value) is date:
            return f"DATE '{value.isoformat()}'"
        case _:
            raise TypeError(f"no SQL literal for {type(value).__name__}")


def any_of(column: str, values: Iterable[str | bool | int | date]) -> str:
    """Return `column IN (...)`; the values keep their order."""
    return f"{column} IN ({', '.join(literal(value) for value in values)})"
