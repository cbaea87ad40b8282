"""What a foreign value becomes before it is stored: ids and text, numbers, booleans, times.

ClaimX publishes no schema, so a reader of its data takes what it can use and turns the rest into null with a warning
that names the field and the kind of value, never the value [CNV-1, CNV-2, MRG-7, settled points 13, 14, 23].
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}(?:\.0{1,40})?")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LATER_THAN_CLOCKS_DIFFER: Final = timedelta(minutes=5)


class CoercionError(ValueError):
    """The value cannot be stored as what the field is. The text never holds the value."""


# --- strict: the value, None for "not there", or CoercionError ---------------------------------------------------


def strict_id(value: object) -> str | None:
    """Return an id as trimmed text, None for null or blank. Raises CoercionError for what no id can be [CNV-1].

    An integer and an integral float become their digits (`7100001.0` is `"7100001"`); a boolean, a fraction and a
    container are rejected.
    """
    if value is None:
        return None
    if type(value) is int:  # the usual case of the hot path
        return _digits(value)
    if isinstance(value, str):
        return _well_formed(value).strip() or None
    if isinstance(value, bool):
        raise CoercionError("a boolean is no id")
    if isinstance(value, float | Decimal):
        value = _integral(value)
    if isinstance(value, int):
        return _digits(value)
    raise CoercionError("a container is no id")


def utc_from(value: object) -> datetime:
    """Return an aware UTC time for ISO-8601 text, a datetime, or epoch milliseconds. Raises CoercionError [CNV-2].

    Naive input is UTC; digits beyond microseconds are dropped; text of nothing but digits is a number.
    """
    try:
        parsed = _time(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError, ArithmeticError):
        raise CoercionError("not a time") from None


def _time(value: object) -> datetime:
    if isinstance(value, str):
        text = value.strip()
        if not text.isdecimal() or len(text) <= len("YYYYMMDD"):
            return datetime.fromisoformat(text)
        value = int(text)  # not for the parser, which would read some of these as years long gone
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise CoercionError("neither text nor a number")
    return EPOCH + timedelta(microseconds=math.floor(_exact(value) * 1000))


def _strict_email(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise CoercionError("an e-mail is text")
    return strict_id(value)


def _strict_datetime(value: object) -> datetime | None:
    return None if value is None or _blank(value) else utc_from(value)


def _strict_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return strict_id(value)
    if isinstance(value, float | Decimal):
        return _decimal_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise CoercionError("a container is no text")


def _strict_int(value: object) -> int | None:
    if value is None or _blank(value):
        return None
    if isinstance(value, bool):
        raise CoercionError("a boolean is no number")
    if isinstance(value, str):
        text = value.strip()
        if not _INTEGER.fullmatch(text):
            raise CoercionError("not an integer")
        value = int(text.partition(".")[0])
    elif isinstance(value, float | Decimal):
        value = _integral(value)
    if not isinstance(value, int) or not INT64_MIN <= value <= INT64_MAX:
        raise CoercionError("not a 64-bit integer")
    return value


def _strict_bool(value: object) -> bool | None:
    if value is None or _blank(value):
        return None
    if isinstance(value, str):
        value = {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower())
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal) and value in (0, 1):
        return value == 1
    raise CoercionError("not a boolean")


def _strict_float(value: object) -> float | None:
    if value is None or _blank(value):
        return None
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value.strip()):
            raise CoercionError("not a number")
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise CoercionError("not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CoercionError("not a finite number")
    return number


def _strict_decimal_text(value: object) -> str | None:
    if value is None or _blank(value):
        return None
    if isinstance(value, str):
        text = value.strip()
        if not _DECIMAL.fullmatch(text):
            raise CoercionError("not a number")
        return text
    if isinstance(value, bool):
        raise CoercionError("a boolean is no number")
    if isinstance(value, int):
        return strict_id(value)
    if isinstance(value, float | Decimal):
        return _decimal_text(value)
    raise CoercionError("not a number")


def _strict_text_list(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise CoercionError("not a list")
    texts = [text for text in (_strict_text(item) for item in value) if text]
    return texts or None


# --- tolerant: the value, or None with a warning -----------------------------------------------------------------


def to_id(value: object, field: str = "") -> str | None:
    """Return an id as text [CNV-1]; null, with a warning, where the value cannot be one."""
    return _tolerant(strict_id, value, field)


def to_email(value: object, field: str = "") -> str | None:
    """Return an e-mail, trimmed; null, with a warning, for what is no text.

    A contact's id is made of its e-mail [CON-1], and no later answer would take back the contact that a number makes.
    """
    return _tolerant(_strict_email, value, field)


def to_text(value: object, field: str = "") -> str | None:
    """Return text as received (settled point 13); numbers and booleans as JSON writes them; null for containers."""
    return _tolerant(_strict_text, value, field)


def to_int(value: object, field: str = "") -> int | None:
    """Return a 64-bit integer; null, with a warning, for a fraction, a boolean or other text [settled point 23]."""
    return _tolerant(_strict_int, value, field)


def to_bool(value: object, field: str = "") -> bool | None:
    """Return a boolean: JSON's own, 1 and 0, and "true" and "false" in any case; else null with a warning."""
    return _tolerant(_strict_bool, value, field)


def to_float(value: object, field: str = "") -> float | None:
    """Return a finite float; null, with a warning, for anything else."""
    return _tolerant(_strict_float, value, field)


def to_decimal_text(value: object, field: str = "") -> str | None:
    """Return a number as the shortest decimal text that means it, without exponent; text that is a number as it is."""
    return _tolerant(_strict_decimal_text, value, field)


def to_datetime(value: object, field: str = "") -> datetime | None:
    """Return an aware UTC time [CNV-2]; null, with a warning, where the value is none."""
    return _tolerant(_strict_datetime, value, field)


def to_text_list(value: object, field: str = "") -> list[str] | None:
    """Return the non-empty texts of a list; null for none, and, with a warning, for what is no list of texts."""
    return _tolerant(_strict_text_list, value, field)


def observation_time(ingested_at: datetime, now: datetime) -> datetime:
    """Return what an event's time counts as when observations are ordered [settled point 24].

    A time more than five minutes ahead of our clock is taken as now: it would otherwise shut out every later change.
    """
    return now if ingested_at - now > _LATER_THAN_CLOCKS_DIFFER else ingested_at


def _tolerant(strict: Callable[[object], T | None], value: object, field: str) -> T | None:
    if value is None:
        return None
    try:
        return strict(value)
    except CoercionError as problem:
        _log.warning("value_not_usable", field=field, problem=str(problem), kind=type(value).__name__)
        return None


def _blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _well_formed(text: str) -> str:
    """Replace what has no UTF-8 form (a lone surrogate), so that every text can be sent and stored."""
    if text.isascii():
        return text
    return _SURROGATE.sub("\ufffd", text)


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than the interpreter converts
        raise CoercionError("a number too long for an id") from None


def _integral(value: float | Decimal) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError, ArithmeticError):
        raise CoercionError("not a finite number") from None
    if number != value:
        raise CoercionError("a fraction")
    return number


def _exact(value: float | Decimal) -> Decimal:
    """Return the number as it is written, not as its binary neighbour."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _decimal_text(value: float | Decimal) -> str:
    exact = _exact(value)
    if not exact.is_finite():
        raise CoercionError("not a finite number")
    return format(exact, "f")
