"""From an event to rows and to a place in the download queue: real workers and brokers, a simulated ClaimX (WP-8.1)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.verifier import verify
from kafka_pipeline.simulator.world import MediaItem, Project

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOBODYS = 123_456
"""A project that ClaimX does not have."""


async def test_an_event_becomes_a_row_and_an_enrichment_task(site: Any, new_event: Callable[..., bytes]) -> None:
    """The ingester stores the event as it was understood and queues its enrichment, by project and with its trace."""
    project, *_ = site.simulator.world.projects.values()
    event = new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=project.media[0].media_id)
    async with site.working(WorkerKind.INGESTER):
        await site.put(
            site.topics.events, Message(topic=site.topics.events, value=event, headers=(("traceparent", TRACE),))
        )
        await site.drained(site.topics.events)

    (row,) = site.rows("claimx_events")
    assert row["event_type"] == "PROJECT_FILE_ADDED"
    assert row["project_id"] == str(project.project_id)
    assert row["media_id"] == str(project.media[0].media_id)
    assert row["ingested_at"] == datetime(2026, 3, 1, 9, 30, 15, 123_456, tzinfo=UTC)
    assert json.loads(row["raw_data"]) == json.loads(event)
    (record,) = await site.read(site.topics.enrichment_pending)
    assert record.key == str(project.project_id).encode()
    assert record.header("traceparent") == TRACE
    task = ClaimXEnrichmentTask.from_bytes(record.value)
    assert (task.event_id, task.project_id, task.media_id) == (row["event_id"], row["project_id"], row["media_id"])
    assert task.retry_count == 0


async def test_an_event_that_comes_again_adds_no_row(site: Any, new_event: Callable[..., bytes]) -> None:
    """Copies are dropped by event id, in one batch and in another; nothing is set aside because of it."""
    project, *_ = site.simulator.world.projects.values()
    event = new_event("PROJECT_CREATED", project.project_id)
    async with site.working(WorkerKind.INGESTER):
        await site.publish(event, event)
        await site.drained(site.topics.events)
        await site.publish(event)
        await site.drained(site.topics.events)
    assert len(site.rows("claimx_events")) == 1
    assert await site.dead_letters(DeadLetterKind.EVENTS) == []


async def test_a_task_becomes_the_rows_of_its_project_and_its_files_are_queued(
    site: Any, new_event: Callable[..., bytes], fetched: Callable[[Project], list[MediaItem]]
) -> None:
    """The enricher asks the API and writes what it says; each file that has a link is queued once, under its path."""
    project = next(each for each in site.simulator.world.projects.values() if fetched(each))
    events = [
        new_event("PROJECT_CREATED", project.project_id),
        *(new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=item.media_id) for item in fetched(project)),
    ]
    async with site.working(WorkerKind.INGESTER, WorkerKind.ENRICHER):
        await site.publish(*events)
        await site.drained(site.topics.events, site.topics.enrichment_pending)

    (row,) = site.rows("claimx_projects")
    assert (row["project_id"], row["project_number"]) == (str(project.project_id), project.project_number)
    media = {row["media_id"]: row for row in site.rows("claimx_media")}
    assert set(media) == {str(item.media_id) for item in project.media}
    assert all("X-Amz-Signature" not in str(row["full_download_link"]) for row in media.values())
    queued = await site.read(site.topics.downloads_pending)
    tasks = {task.media_id: task for task in (ClaimXDownloadTask.from_bytes(record.value) for record in queued)}
    assert len(queued) == len(tasks) == len(fetched(project))
    for item in fetched(project):
        task = tasks[str(item.media_id)]
        assert task.blob_path == f"claimx/{project.project_id}/{item.media_id}/{item.safe_file_name}"
        assert task.expires_at is not None
        assert task.expires_at > datetime.now(UTC)
    assert [record.key for record in queued] == [
        ClaimXDownloadTask.from_bytes(record.value).media_id.encode() for record in queued
    ]


async def test_a_type_that_nobody_enriches_is_stored_and_passed(site: Any, new_event: Callable[..., bytes]) -> None:
    """Rule EVT-1: such an event has its row; it costs no call of the API, and no dead letter says that it is wrong."""
    async with site.working(WorkerKind.INGESTER, WorkerKind.ENRICHER):
        calls = site.simulator.calls.total()
        await site.publish(new_event("SOMETHING_NEW", NOBODYS))
        await site.filled(site.topics.enrichment_pending, 1)
        await site.drained(site.topics.events, site.topics.enrichment_pending)
    assert [row["event_type"] for row in site.rows("claimx_events")] == ["SOMETHING_NEW"]
    assert site.simulator.calls.total() == calls
    assert await site.dead_letters(DeadLetterKind.ENRICHMENT) == []


async def test_what_the_api_does_not_have_is_set_aside_and_the_rest_goes_on(
    site: Any, new_event: Callable[..., bytes]
) -> None:
    """A permanent failure ends in the enrichment dead letters with its reason; its neighbours have their rows."""
    first, second, *_ = site.simulator.world.projects
    values = [new_event("PROJECT_CREATED", number) for number in (first, NOBODYS, second)]
    async with site.working(WorkerKind.INGESTER, WorkerKind.ENRICHER):
        await site.publish(*values)
        await site.filled(site.topics.enrichment_pending, 3)
        await site.drained(site.topics.events, site.topics.enrichment_pending)

    assert {row["project_id"] for row in site.rows("claimx_projects")} == {str(first), str(second)}
    (letter,) = await site.dead_letters(DeadLetterKind.ENRICHMENT)
    (failed,) = [
        record for record in await site.read(site.topics.enrichment_pending) if record.key == str(NOBODYS).encode()
    ]
    assert (letter.kind, letter.reason, letter.attempts) == ("enrichment", "not_found", 1)
    assert (letter.record.value, letter.original_key) == (failed.value, failed.key)
    assert (letter.original_topic, letter.original_partition, letter.original_offset) == (
        failed.topic,
        failed.partition,
        failed.offset,
    )


async def test_a_whole_feed_ends_in_the_lake_that_the_truth_describes(site: Any) -> None:
    """All five workers, every row and every file compared; the malformed ones, and only they, are dead letters."""
    async with site.working(*WorkerKind):
        await site.producer.send(
            [Message(topic=site.topics.events, key=item.key, value=item.value) for item in site.simulator.feed()]
        )
        for topic in site.topics.work:
            await site.drained(topic)
    truth = site.simulator.truth()
    report = await asyncio.to_thread(verify, site.lake, truth)
    assert report.differences == ()
    assert report.files.found > 0
    assert [len(await site.dead_letters(kind)) for kind in DeadLetterKind] == [truth.dead_events, 0, 0]


async def test_a_new_process_goes_on_where_the_last_one_ended(site: Any) -> None:
    """Workers that end and begin again in the middle of a feed leave the same lake: nothing missing, nothing twice."""
    messages = [Message(topic=site.topics.events, key=item.key, value=item.value) for item in site.simulator.feed()]
    third = len(messages) // 3
    for part in (messages[:third], messages[third : 2 * third], messages[2 * third :]):
        async with site.working(*WorkerKind):
            await site.producer.send(part)
            await site.filled(site.topics.enrichment_pending, 1)
    async with site.working(*WorkerKind):
        for topic in site.topics.work:
            await site.drained(topic)
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.differences == ()
