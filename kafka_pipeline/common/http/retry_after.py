"""The `Retry-After` header in both its forms. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST_S: Final = 86_400.0
"""A wait longer than a day is a mistake of the server; the caller has bounds of its own anyway."""


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return the seconds to wait from `now` (aware), or None for absent, 0, past and garbage."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            then = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, _LONGEST_S) if seconds > 0 else None
