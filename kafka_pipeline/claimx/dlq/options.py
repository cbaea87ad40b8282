"""What people write after `claimx-dlq`, read into what is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from kafka_pipeline.claimx.dlq.letters import EVENT_TYPE, ID, PROJECT
from kafka_pipeline.common.deadletter.selection import Selection

_SPAN: Final = re.compile(r"(?P<number>[0-9]{1,6})\s?(?P<unit>[smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str, now: datetime) -> datetime:
    """Read a span before now (`90m`, `2h`, `3d`) or a time (ISO-8601; UTC where it names no zone).

    Raises ValueError, whose text says what is understood.
    """
    if span := _SPAN.fullmatch(text.strip()):
        try:
            return now - timedelta(**{_UNITS[span["unit"]]: int(span["number"])})
        except OverflowError:
            raise ValueError("that is before all times") from None
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("takes a span such as 90m, 2h or 3d, or a time such as 2026-03-01T12:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def selection(
    *,
    reasons: Sequence[str] | None,
    event_types: Sequence[str] | None,
    projects: Sequence[str] | None,
    ids: Sequence[str] | None,
    since: datetime | None,
) -> Selection:
    """Return the selection of these filters; one that is None or empty does not filter."""
    named = ((EVENT_TYPE, event_types), (PROJECT, projects), (ID, ids))
    return Selection(
        reasons=frozenset(reasons or ()),
        since=since,
        facts={name: frozenset(map(str.strip, texts)) for name, texts in named if texts},
    )
