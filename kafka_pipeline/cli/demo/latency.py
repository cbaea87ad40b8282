"""How long the lake took to know: from the event that brought a row or a file about to the row."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kafka_pipeline.simulator import vocabulary
from kafka_pipeline.simulator.expectation import Truth
from kafka_pipeline.simulator.feed import FeedItem
from kafka_pipeline.simulator.lake import RowTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles in seconds over `count` rows; a row's clock starts when the first event that asks for it is sent."""

    count: int
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """To the rows of projects and media, and to the inventory rows of stored files; None without a single one."""

    rows: Latency | None
    files: Latency | None


def latencies(
    feed: Sequence[FeedItem], published_at: Mapping[int, datetime], truth: Truth, times: RowTimes
) -> Latencies:
    """Work them out for what was published in this run; rows that an earlier run brought about do not count."""
    touched = _first_sent(feed, published_at, vocabulary.ROUTED_TYPES)
    listed = _first_sent(feed, published_at, vocabulary.MEDIA_TYPES)
    project_of = {str(row["media_id"]): str(row["project_id"]) for row in truth.tables["claimx_media"].rows.values()}
    rows = [
        *_waits(times.projects, {project_id: project_id for project_id in times.projects}, touched),
        *_waits(times.media, project_of, listed),
    ]
    return Latencies(rows=percentiles(rows), files=percentiles(_waits(times.attachments, project_of, listed)))


def _first_sent(
    feed: Sequence[FeedItem], published_at: Mapping[int, datetime], event_types: Collection[str]
) -> dict[str, datetime]:
    """Return by project when its first event of these types was sent; projects that began in an earlier run are out."""
    first: dict[str, datetime | None] = {}
    for number, item in enumerate(feed):
        if item.event is not None and item.event.event_type in event_types:
            first.setdefault(item.event.project_id, published_at.get(number))
    return {project_id: moment for project_id, moment in first.items() if moment is not None}


def _waits(created: Mapping[str, datetime], project_of: Mapping[str, str], sent: Mapping[str, datetime]) -> list[float]:
    return [
        (moment - sent[project_of[key]]).total_seconds()
        for key, moment in created.items()
        if project_of.get(key) in sent
    ]


def percentiles(waits: Iterable[float]) -> Latency | None:
    """Return the percentiles of waits in seconds; None without a single one."""
    ordered = sorted(waits)
    if not ordered:
        return None
    return Latency(count=len(ordered), p50_s=_at(ordered, 0.50), p99_s=_at(ordered, 0.99))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
