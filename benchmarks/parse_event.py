"""What reading an event costs beyond reading its JSON: `parse_event` beside bare `orjson.loads`."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter

import orjson

from benchmarks.result import Better, Bound, Measurement
from kafka_pipeline.claimx.schemas.events import EventType, parse_event

SEED = 20260302
START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
EVENTS_FULL, EVENTS_QUICK = 20_000, 1_000
PAIRS_FULL, PAIRS_QUICK = 9, 3
AT_MOST_TIMES = 30
"""The ingester may take 50 us for an event (20,000 events/s a core): so much is a quarter of them."""


def measure(*, quick: bool) -> list[Measurement]:
    """Time both over the same events, alternately, and compare the two times of each pair."""
    events = invented_events(EVENTS_QUICK if quick else EVENTS_FULL)
    pairs = PAIRS_QUICK if quick else PAIRS_FULL
    _microseconds(_parse, events)  # warm up: imports, caches, the compiler of the schema
    ours, bare = [], []
    for _ in range(pairs):
        ours.append(_microseconds(_parse, events))
        bare.append(_microseconds(orjson.loads, events))
    ratio = round(median(our / other for our, other in zip(ours, bare, strict=True)), 2)
    return [
        Measurement(
            name="parse_event.all_types",
            what="`parse_event`: validated, normalised, given its event_id",
            yardstick="`orjson.loads`, which validates nothing",
            unit="us/event",
            ours=round(median(ours), 2),
            beside=round(median(bare), 2),
            ratio=ratio,
            better=Better.LOWER,
            sizes={"events": len(events), "bytes": sum(map(len, events)), "pairs": pairs},
            figures={"events_per_s": round(1e6 / median(ours))},
            bounds=[Bound(what="times the yardstick", value=ratio, at_most=AT_MOST_TIMES)],
        )
    ]


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


def _microseconds(read: Callable[[bytes], object], values: list[bytes]) -> float:
    """Return what reading one value took, on average."""
    begin = perf_counter()
    for value in values:
        read(value)
    return (perf_counter() - begin) * 1e6 / len(values)
