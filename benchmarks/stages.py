"""How long each worker has an event or a file, by the times at which the records between them were written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime

import orjson

from benchmarks.site import Site
from kafka_pipeline.cli.demo.latency import percentiles
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.simulator.lake import RowTimes


async def stage_seconds(site: Site, sent: Mapping[str, datetime], times: RowTimes) -> dict[str, float]:
    """Return the 50th and 99th percentile of each stage's seconds, from its task's record to what it writes itself.

    `sent` says when the events that count were sent; `times` when files were in the lake.
    """
    enrich = {each["event_id"]: moment for each, moment in await _written(site, site.topics.enrichment_pending)}
    fetch = {each["media_id"]: (each, moment) for each, moment in await _written(site, site.topics.downloads_pending)}
    store = {each["media_id"]: moment for each, moment in await _written(site, site.topics.downloads_cached)}
    ways = [
        (enrich[cause], fetched, store[media_id], times.attachments[media_id])
        for media_id, (task, fetched) in fetch.items()
        if (cause := task["source_event_id"]) in sent
    ]
    waits = {
        "ingester": [(enrich[event_id] - moment).total_seconds() for event_id, moment in sent.items()],
        "enricher": [(fetched - asked).total_seconds() for asked, fetched, _, _ in ways],
        "downloader": [(cached - fetched).total_seconds() for _, fetched, cached, _ in ways],
        "uploader": [(stored - cached).total_seconds() for _, _, cached, stored in ways],
    }
    figures: dict[str, float] = {}
    for stage, some in waits.items():
        if (latency := percentiles(some)) is not None:
            figures |= {f"{stage}_p50_s": round(latency.p50_s, 3), f"{stage}_p99_s": round(latency.p99_s, 3)}
    return figures


async def _written(site: Site, topic: str) -> list[tuple[dict[str, str], datetime]]:
    """Return each task of a topic, the first of several last, and when it was written."""
    found = []
    async with aclosing(scan(site.broker, [topic], group_prefix=site.topics.group_prefix)) as batches:
        async for records in batches:
            found += [(orjson.loads(record.value or b"{}"), record.timestamp_ms) for record in records]
    found.sort(key=lambda each: -each[1])
    return [(task, datetime.fromtimestamp(written_ms / 1000, UTC)) for task, written_ms in found]
