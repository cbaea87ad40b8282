"""A quick baseline of the workers (WP-8.3): how much they do in a second, and what a slow API costs them.

Real workers, the embedded broker, a simulated ClaimX. The figures are told, never judged: `pytest -s` prints them as
JSON, and a JUnit report has them as properties. What is judged does not depend on the machine: everything is done,
once, with fewer calls than events. `make bench` measures at full size, beside yardsticks; docs/benchmarks.md has both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message

PROJECTS = 25
EVENTS = 300
FLAWLESS = {"duplicate_share": 0.0, "malformed_share": 0.0}
API_LATENCY_MS = 100

NewSite = Callable[..., Awaitable[Any]]
Tell = Callable[..., None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Return what to call with figures: they are printed as one line of JSON, and stand in the report of the run."""

    def figures(**values: float) -> None:
        rounded = {name: round(value, 2) for name, value in values.items()}
        print(json.dumps(rounded))  # noqa: T201  # to be seen with -s
        for name, value in rounded.items():
            record_property(name, value)

    return figures


async def queue_events(site: Any) -> int:
    """Put the enrichment task of every event of the feed where the enricher takes it from; return how many."""
    topic, now = site.topics.enrichment_pending, datetime.now(UTC)
    events = [parse_event(item.value, record_timestamp_ms=-1, now=now) for item in site.simulator.feed()]
    await site.put(
        topic,
        *(
            Message(
                topic=topic, key=event.project_id.encode(), value=ClaimXEnrichmentTask.from_event(event, now).to_bytes()
            )
            for event in events
        ),
    )
    return len(events)


async def seconds_of(site: Any, kind: WorkerKind, topic: str) -> float:
    """Let one worker drain its topic; return how long it took, from ready to committed."""
    async with site.working(kind):
        begin_s = time.perf_counter()
        await site.drained(topic)
        return time.perf_counter() - begin_s


async def require_no_dead_letters(site: Any) -> None:
    """Nothing was set aside."""
    assert [await site.dead_letters(kind) for kind in DeadLetterKind] == [[], [], []]


async def test_enrichment_and_download_throughput(new_site: NewSite, tell: Tell) -> None:
    """Every event is enriched, every file is fetched once, and a batch asks once for a project, not once an event."""
    site = await new_site(projects=PROJECTS, events=EVENTS, **FLAWLESS)
    events = await queue_events(site)
    enriched_s = await seconds_of(site, WorkerKind.ENRICHER, site.topics.enrichment_pending)
    calls = site.simulator.calls.total()
    fetched_s = await seconds_of(site, WorkerKind.DOWNLOADER, site.topics.downloads_pending)
    files = await site.count(site.topics.downloads_cached)
    tell(
        enrichment_events_per_s=events / enriched_s,
        enrichment_calls_per_event=calls / events,
        download_files_per_s=files / fetched_s,
        download_mib_per_s=site.simulator.bytes_served / 2**20 / fetched_s,
    )
    truth = site.simulator.truth()
    assert len(site.rows("claimx_projects")) == len(truth.tables["claimx_projects"].rows)
    assert len(site.rows("claimx_media")) == len(truth.tables["claimx_media"].rows)
    assert files == len(truth.files)
    cached = [path for path in site.config.cache_location.rglob("*") if path.is_file()]
    assert len(cached) == len(truth.files)
    assert calls < events
    await require_no_dead_letters(site)


async def test_api_latency_impact(new_site: NewSite, tell: Tell) -> None:
    """From a slow API comes the same, and it is asked no more than once an event: waiting repeats nothing."""
    seconds: dict[int, float] = {}
    calls: dict[int, int] = {}
    rows: dict[int, dict[str, int]] = {}
    for latency_ms in (0, API_LATENCY_MS):
        site = await new_site(projects=PROJECTS, events=EVENTS, latency_ms=float(latency_ms), **FLAWLESS)
        await queue_events(site)
        seconds[latency_ms] = await seconds_of(site, WorkerKind.ENRICHER, site.topics.enrichment_pending)
        calls[latency_ms] = site.simulator.calls.total()
        rows[latency_ms] = {
            table: len(site.rows(table)) for table in ("claimx_projects", "claimx_contacts", "claimx_media")
        }
        await require_no_dead_letters(site)
    slower_s = seconds[API_LATENCY_MS] - seconds[0]
    tell(
        seconds_at_once=seconds[0],
        seconds_with_latency=seconds[API_LATENCY_MS],
        slower_s=slower_s,
        calls=calls[API_LATENCY_MS],
        one_after_the_other_s=calls[API_LATENCY_MS] * API_LATENCY_MS / 1000,
    )
    assert max(calls.values()) < EVENTS
    assert rows[0] == rows[API_LATENCY_MS]
