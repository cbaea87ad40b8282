"""Promises of the ingester."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter, PlacedEvent
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome

New = Callable[..., Any]


class HeldWriter(ClaimXEventsWriter):
    """The events writer, but nothing is written before `free`. Names the places of each call, as they come."""

    def __init__(self, lake: LakeWriter) -> None:
        super().__init__(lake)
        self.free = asyncio.Event()
        self.called = asyncio.Event()
        self.places: list[tuple[int, int]] = []

    async def write(self, events: Sequence[PlacedEvent]) -> None:
        """Wait, then write."""
        self.places += [(each.topic_partition.partition, each.offset) for each in events]
        self.called.set()
        await self.free.wait()
        await super().write(events)


class FailingWriter(ClaimXEventsWriter):
    """An events writer whose rows cannot go in."""

    async def write(self, events: Sequence[PlacedEvent]) -> None:
        """Fail for good."""
        raise PipelineError("these rows cannot go in", Category.PERMANENT)


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


async def test_a_task_waits_for_its_row(lake: LakeWriter, topics: Topics, record: New, raw: New, rows: New) -> None:
    """[WRK-1] While the row is on its way there is no outcome, so the loop has nothing to produce."""
    held = HeldWriter(lake)
    worker = ClaimXEventIngesterWorker(topics=topics, writer=held, max_event_bytes=2_000)
    batch = asyncio.create_task(worker.process([record(raw("PROJECT_CREATED", 1))]))
    await held.called.wait()
    assert not batch.done()
    assert rows("claimx_events") == []
    held.free.set()
    assert len(tasks(await batch)) == 1
    assert len(rows("claimx_events")) == 1


async def test_rows_that_cannot_go_in_yield_no_task(lake: LakeWriter, topics: Topics, record: New, raw: New) -> None:
    """[WRK-1] The failure is the loop's, which asks again record by record: a task without its row never exists."""
    worker = ClaimXEventIngesterWorker(topics=topics, writer=FailingWriter(lake), max_event_bytes=2_000)
    with pytest.raises(PipelineError, match="cannot go in"):
        await worker.process([record(raw("PROJECT_CREATED", 1))])


async def test_a_task_carries_every_id_of_its_event(worker: ClaimXEventIngesterWorker, record: New, raw: New) -> None:
    """[MSG-1] What the handlers need is in the task: they never look into `claimx_events`."""
    ids = {
        "mediaId": 71,
        "mediaIds": [72, 73],
        "taskAssignmentId": 81,
        "videoCollaborationId": 91,
        "masterFileName": "M-1",
    }
    [task] = tasks(await worker.process([record(raw("CUSTOM_TASK_COMPLETED", 900001, **ids))]))
    assert (task.event_type, task.project_id, task.retry_count) == ("CUSTOM_TASK_COMPLETED", "900001", 0)
    assert (task.media_id, task.media_ids, task.master_file_name) == ("71", ["72", "73"], "M-1")
    assert (task.task_assignment_id, task.video_collaboration_id) == ("81", "91")


async def test_outcomes_stand_in_the_order_of_their_records(
    worker: ClaimXEventIngesterWorker, record: New, raw: New
) -> None:
    """Each task is that of the record at its place, with bad records between and equal projects apart."""
    batch = [record(b"{") if number % 3 == 1 else record(raw("PROJECT_CREATED", number)) for number in range(12)]
    outcomes = await worker.process(batch)
    assert [type(outcome) for outcome in outcomes] == [Done, Dead, Done] * 4
    assert [task.project_id for task in tasks(outcomes)] == [str(n) for n in range(12) if n % 3 != 1]


async def test_the_writer_sees_the_places_of_overlapping_batches_in_the_order_of_arrival(
    lake: LakeWriter, topics: Topics, record: New, raw: New, rows: New
) -> None:
    """(I2) A lower offset behind a higher one would be taken for a redelivery, and lost; so none comes behind."""
    held = HeldWriter(lake)
    worker = ClaimXEventIngesterWorker(topics=topics, writer=held, max_event_bytes=2_000)
    places = [(number % 2, number // 2) for number in range(12)]
    records = [
        record(raw("PROJECT_CREATED", number), partition=partition, offset=offset)
        for number, (partition, offset) in enumerate(places)
    ]
    batches = [asyncio.create_task(worker.process(records[start : start + 4])) for start in (0, 4, 8)]
    await held.called.wait()
    assert held.places == places
    held.free.set()
    await asyncio.gather(*batches)
    assert len(rows("claimx_events")) == len(places)


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


async def test_a_batch_that_is_cut_otherwise_when_redelivered_adds_only_what_is_new(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """(I2, I6) The second delivery begins later and ends later than the first."""
    records = [record(raw("PROJECT_CREATED", number), offset=number) for number in range(6)]
    await worker.process(records[:4])
    assert [task.project_id for task in tasks(await worker.process(records[2:]))] == ["2", "3", "4", "5"]
    assert sorted(row["project_id"] for row in rows("claimx_events")) == ["0", "1", "2", "3", "4", "5"]


async def test_a_copy_of_an_event_at_another_place_adds_no_row_and_has_its_task(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """[WRK-1] Published twice, in one batch and later: one row; the enricher does the same again, which is harmless."""
    event = raw("PROJECT_CREATED", 1)
    outcomes = await worker.process([record(event, offset=0), record(event, offset=1)])
    outcomes = [*outcomes, *await worker.process([record(event, partition=1, offset=0)])]
    assert len(tasks(outcomes)) == 3
    assert len({task.event_id for task in tasks(outcomes)}) == 1
    assert len(rows("claimx_events")) == 1


async def test_a_type_that_nobody_knows_is_stored_and_handed_on(
    worker: ClaimXEventIngesterWorker, record: New, raw: New, rows: New
) -> None:
    """[EVT-1] It is no mistake of the feed."""
    outcomes = await worker.process([record(raw("PROJECT_CONVERSATION", 900001))])
    assert [task.event_type for task in tasks(outcomes)] == ["PROJECT_CONVERSATION"]
    assert [row["event_type"] for row in rows("claimx_events")] == ["PROJECT_CONVERSATION"]
