"""What reading an event costs beyond reading its JSON: `parse_event` beside bare `orjson.loads`."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

import orjson

from benchmarks.result import Comparison
from kafka_pipeline.claimx.schemas.events import EventType, parse_event

SEED = 20260302
START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
EVENTS_FULL, EVENTS_QUICK = 20_000, 1_000
PAIRS_FULL, PAIRS_QUICK = 9, 3


def measure(*, quick: bool) -> list[Comparison]:
    """Time both over the same events, alternately, and compare the two times of each pair."""
    events = invented_events(EVENTS_QUICK if quick else EVENTS_FULL)
    pairs = PAIRS_QUICK if quick else PAIRS_FULL
    _seconds(_parse, events)  # warm up: imports, caches, the compiler of the schema
    ours, yardstick = [], []
    for _ in range(pairs):
        ours.append(_seconds(_parse, events))
        yardstick.append(_seconds(orjson.loads, events))
    comparison = Comparison(
        name="parse_event",
        ours="kafka_pipeline.claimx.schemas.events.parse_event",
        yardstick="orjson.loads",
        unit="events",
        count=len(events),
        payload_bytes=sum(map(len, events)),
        pairs=pairs,
        ours_per_second=round(len(events) / median(ours)),
        yardstick_per_second=round(len(events) / median(yardstick)),
        ratio=round(median(our / bare for our, bare in zip(ours, yardstick, strict=True)), 2),
    )
    return [comparison]


def invented_events(count: int) -> list[bytes]:
    """Make raw events as the feed sends them, of every type, the same for every run."""
    rng = random.Random(SEED)
    types = list(EventType)
    return [
        orjson.dumps(
            {
                "eventType": rng.choice(types).value,
                "projectId": 900_000 + rng.randrange(100),
                "mediaId": 7_100_000 + number if rng.random() < 0.6 else None,
                "mediaIds": None,
                "taskAssignmentId": 8_200_000 + number if rng.random() < 0.2 else None,
                "videoCollaborationId": None,
                "masterFileName": f"MFN-EXAMPLE-{number}" if rng.random() < 0.1 else None,
                "IngestionTime": f"{START + timedelta(milliseconds=137 * number):%Y-%m-%dT%H:%M:%S.%f}7Z",
            }
        )
        for number in range(count)
    ]


def _parse(value: bytes) -> object:
    return parse_event(value, record_timestamp_ms=1_772_460_000_000, now=START)


def _seconds(read: Callable[[bytes], object], values: list[bytes]) -> float:
    begin = perf_counter()
    for value in values:
        read(value)
    return perf_counter() - begin
