"""Promises of the ingester."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome

New = Callable[..., Any]


@pytest.fixture
def worker(topics: Topics, events: ClaimXEventsWriter) -> ClaimXEventIngesterWorker:
    """Return the worker."""
    return ClaimXEventIngesterWorker(topics=topics, writer=events, max_event_bytes=2_000)


def tasks(outcomes: Sequence[Outcome]) -> list[ClaimXEnrichmentTask]:
    """Return the enrichment tasks that follow."""
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    return [ClaimXEnrichmentTask.from_bytes(message.value) for outcome in done for message in outcome.messages]


async def test_an_event_is_a_row_before_its_task_is_handed_on(
    worker: ClaimXEventIngesterWorker, topics: Topics, record: New, raw: New, rows: New
) -> None:
    """[WRK-1] When process returns, the row is in the lake; the task carries the ids, keyed by project."""
    outcomes = await worker.process([record(raw("PROJECT_FILE_ADDED", 900001, mediaId=7100001))])
    [row] = rows("claimx_events")
    [outcome] = outcomes
    assert isinstance(outcome, Done)
    [message] = outcome.messages
    [task] = tasks(outcomes)
    assert (message.topic, message.key) == (topics.enrichment_pending, b"900001")
    assert (task.event_id, task.project_id, task.media_id) == (row["event_id"], "900001", "7100001")


async def test_what_cannot_be_an_event_is_set_aside_and_its_neighbours_go_on(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """[EVT-5] Every kind of it, in one batch with good events before and behind."""
    bad: list[bytes | None] = [
        None,
        b"",
        b"not json",
        b"[1]",
        b"\xff\xfe",
        raw("PROJECT_CREATED", None),
        raw("  ", 900001),
        raw("PROJECT_CREATED", True),
        raw("PROJECT_CREATED", 900001, IngestionTime="2026-02-30T00:00:00Z"),
    ]
    outcomes = await worker.process(
        [record(raw("PROJECT_CREATED", 1)), *map(record, bad), record(raw("PROJECT_CREATED", 2))]
    )
    assert [type(outcome) for outcome in outcomes] == [Done, *[Dead] * len(bad), Done]
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Dead)} == {"malformed"}
    assert {row["project_id"] for row in rows("claimx_events")} == {"1", "2"}


async def test_an_event_over_the_limit_is_set_aside_unread(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """`max_event_bytes` counts, whatever the broker admits."""
    [outcome] = await worker.process([record(raw("PROJECT_CREATED", 1, note="x" * 2_000))])
    assert isinstance(outcome, Dead)
    assert outcome.reason == "too_large"
    assert rows("claimx_events") == []


async def test_a_redelivered_batch_adds_no_row_and_hands_its_tasks_on_again(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """[WRK-1] A crash between row and task must not lose the task."""
    batch: list[Record] = [record(raw("PROJECT_CREATED", number), offset=number) for number in (1, 2)]
    first = tasks(await worker.process(batch))
    again = tasks(await worker.process(batch))
    assert [task.event_id for task in again] == [task.event_id for task in first]
    assert len(rows("claimx_events")) == 2


async def test_a_type_that_nobody_knows_is_stored_and_handed_on(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """[EVT-1] It is no mistake of the feed."""
    outcomes = await worker.process([record(raw("PROJECT_CONVERSATION", 900001))])
    assert [task.event_type for task in tasks(outcomes)] == ["PROJECT_CONVERSATION"]
    assert [row["event_type"] for row in rows("claimx_events")] == ["PROJECT_CONVERSATION"]
