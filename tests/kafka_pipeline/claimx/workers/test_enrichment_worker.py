"""Promises of the enricher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip

New = Callable[..., Any]


@pytest.fixture
def worker(topics: Topics, api: Any, entities: EntityTableWriter) -> ClaimXEnrichmentWorker:
    """Return the worker."""
    return ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities)


def queued(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the media ids of the download tasks that follow, failed events included."""
    messages = [message for outcome in outcomes if not isinstance(outcome, Skip) for message in outcome.messages]
    return [ClaimXDownloadTask.from_bytes(message.value).media_id for message in messages]


async def acknowledge(outcomes: Sequence[Outcome]) -> None:
    """Do what the loop does once the messages are acknowledged."""
    for outcome in outcomes:
        if isinstance(outcome, Done) and outcome.cleanup is not None:
            await outcome.cleanup()


async def test_ten_file_events_of_a_project_are_one_call(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New
) -> None:
    """[HND-4] One media call, one project call; a row and one download for every file; all durable on return."""
    api.files["900001"] = [str(7100000 + number) for number in range(10)]
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 900001, mediaId=7100000 + n) for n in range(10)])
    assert [type(outcome) for outcome in outcomes] == [Done] * 10
    assert (api.count("media"), api.count("project")) == (1, 1)
    assert sorted(queued(outcomes)) == api.files["900001"]
    assert sorted(row["media_id"] for row in rows("claimx_media")) == api.files["900001"]
    assert [row["project_id"] for row in rows("claimx_projects")] == ["900001"]


async def test_events_of_some_projects_cost_one_project_call_each(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[HND-2] However many events, of whatever types; and none for projects that are known."""
    batch = [task(kind, project) for project in (1, 2, 3) for kind in ("PROJECT_CREATED", "PROJECT_FILE_ADDED") * 4]
    await worker.process(batch)
    assert api.count("project") == 3
    await worker.process([task("PROJECT_FILE_ADDED", project) for project in (1, 2, 3)])
    assert api.count("project") == 3


async def test_a_project_with_a_row_is_not_fetched(
    topics: Topics, api: Any, entities: EntityTableWriter, task: New
) -> None:
    """[HND-1] A new worker asks the table, not the API."""
    await ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities).process([task("PROJECT_CREATED", 1)])
    fresh = ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities)
    await fresh.process([task("PROJECT_FILE_ADDED", 1)])
    assert api.count("project") == 1


@pytest.mark.parametrize(
    ("category", "outcome"), [(Category.TRANSIENT, Retry), (Category.AUTH, Retry), (Category.PERMANENT, Dead)]
)
async def test_a_project_that_cannot_be_fetched_fails_its_own_events_alone(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New, category: Category, outcome: type[Outcome]
) -> None:
    """[HND-1] By the category of the failure; the neighbours have their rows."""
    api.failing["2"] = category
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", project) for project in (1, 2, 3)])
    assert [type(each) for each in outcomes] == [Done, outcome, Done]
    assert {row["project_id"] for row in rows("claimx_projects")} == {"1", "3"}


async def test_what_the_service_does_not_know_is_named_so(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """404 is permanent, with a reason of its own [7.2]."""
    api.unknown.add("2")
    [outcome] = await worker.process([task("PROJECT_CREATED", 2)])
    assert isinstance(outcome, Dead)
    assert outcome.reason == "not_found"


async def test_types_without_a_handler_are_skipped_without_a_call(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[EVT-1] And they cost no pre-flight either (settled point 24)."""
    assert await worker.process([task("PROJECT_CONVERSATION", 1)]) == [Skip(reason="unsupported_event_type")]
    assert not api.calls


async def test_a_task_that_cannot_be_read_fails_alone(worker: ClaimXEnrichmentWorker, record: New, task: New) -> None:
    """Its neighbours are enriched."""
    outcomes = await worker.process([record(b"{}"), task("PROJECT_CREATED", 1), record(None)])
    assert [type(outcome) for outcome in outcomes] == [Dead, Done, Dead]


async def test_a_file_that_is_not_listed_yet_fails_its_event_and_the_others_are_fetched(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New
) -> None:
    """[HND-4] What is true beside the failure is kept: rows and downloads of the files that are there."""
    api.files["1"] = ["71", "72"]
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 1, mediaId=99)])
    [outcome] = outcomes
    assert isinstance(outcome, Retry)
    assert outcome.category is Category.TRANSIENT
    assert sorted(queued(outcomes)) == ["71", "72"]
    assert len(rows("claimx_media")) == 2


async def test_a_burst_of_events_queues_each_file_once(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """[HND-5] Once per batch; and not again in the next one, as soon as the first is acknowledged."""
    api.files["1"] = ["71", "72"]
    first = await worker.process([task("PROJECT_FILE_ADDED", 1), task("PROJECT_MFN_ADDED", 1, masterFileName="M")])
    assert sorted(queued(first)) == ["71", "72"]
    unacknowledged = await worker.process([task("PROJECT_FILE_ADDED", 1)])
    assert sorted(queued(unacknowledged)) == ["71", "72"], "what is not acknowledged may be lost, so it is queued again"
    await acknowledge(first)
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == []
    api.files["1"].append("73")
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["73"]


@pytest.mark.parametrize(
    ("status", "again"),
    [
        (AttachmentStatus.UPLOADED, []),
        (AttachmentStatus.COMPLETED, []),
        (AttachmentStatus.FAILED, ["71"]),
        (AttachmentStatus.FAILED_PERMANENT, ["71"]),
    ],
)
async def test_a_file_in_the_inventory_is_not_fetched_again(
    worker: ClaimXEnrichmentWorker,
    api: Any,
    task: New,
    entities: EntityTableWriter,
    status: AttachmentStatus,
    again: list[str],
) -> None:
    """[HND-5] Stored means uploaded or completed, under the same path; a renamed file is another file."""
    api.files["1"] = ["71"]
    stored_at = datetime(2026, 3, 2, tzinfo=UTC) if not again else None
    await entities.write_attachments(
        [
            AttachmentRow(
                media_id="71", project_id="1", blob_path="claimx/1/71/71.jpg", status=status, downloaded_at=stored_at
            )
        ]
    )
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == again
    api.names["71"] = "renamed.jpg"
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["71"]


async def test_every_event_is_counted_by_type_and_outcome(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """[HND-10] success, skipped, not_found and retry are told apart."""

    def count(event_type: str, outcome: str) -> float:
        labels = {"event_type": event_type, "outcome": outcome}
        return REGISTRY.get_sample_value("claimx_events_enriched_total", labels) or 0.0

    expected = [
        ("PROJECT_CREATED", "success"),
        ("other", "skipped"),
        ("PROJECT_CREATED", "not_found"),
        ("PROJECT_CREATED", "retry"),
    ]
    before = [count(*labels) for labels in expected]
    api.unknown.add("2")
    api.failing["3"] = Category.TRANSIENT
    batch = [task("PROJECT_CREATED", number) for number in (1, 2, 3)]
    await worker.process([*batch, task("PROJECT_CONVERSATION", 4)])
    assert [count(*labels) for labels in expected] == [value + 1 for value in before]
