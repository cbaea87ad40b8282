"""Promises of the result processor: the inventory ends with each file's final status, and each result counts once."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.result_processor import ClaimXResultProcessor
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Dead, Done
from kafka_pipeline.config import PipelineConfig

New = Callable[..., Any]

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
SHA = "ab" * 32


def result(status: ResultStatus, **changes: Any) -> bytes:
    """Return a result message."""
    success = status is ResultStatus.COMPLETED
    fields = {
        "media_id": "71",
        "project_id": "1",
        "blob_path": "claimx/1/71/leak.jpg",
        "status": status,
        "downloaded_at": NOW if success else None,
        "content_sha256": SHA if success else None,
        "bytes_uploaded": 18_000 if success else 0,
        "error_category": None if success else "transient",
        "error_message": None if success else "status 503",
        "created_at": NOW,
    }
    return ClaimXUploadResult(**fields | changes).to_bytes()


def stored(media_id: str = "71", downloaded_at: datetime = NOW) -> AttachmentRow:
    """Return the row that the uploader writes."""
    return AttachmentRow(
        media_id=media_id,
        project_id="1",
        blob_path=f"claimx/1/{media_id}/leak.jpg",
        media_name="leak?.jpg",
        content_sha256=SHA,
        status=AttachmentStatus.UPLOADED,
        downloaded_at=downloaded_at,
    )


def counted(name: str, **labels: str) -> float:
    """Return the value of a counter."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_the_inventory_gets_the_final_status(
    topics: Topics, entities: EntityTableWriter, record: New, rows: New
) -> None:
    """[WRK-4] Uploaded becomes completed; what the row held stays."""
    worker = ClaimXResultProcessor(topics=topics, writer=entities)
    await entities.write_attachments([stored()])
    assert await worker.process([record(result(ResultStatus.COMPLETED))]) == [Done()]
    [row] = rows("claimx_attachments")
    assert (row["status"], row["content_sha256"], row["media_name"]) == ("completed", SHA, "leak?.jpg")


async def test_a_failure_tells_its_reason_and_how_it_goes_on(
    topics: Topics, entities: EntityTableWriter, record: New, rows: New
) -> None:
    """[Settled point 21] A retry follows, then the dead letters: the row has the last of it."""
    worker = ClaimXResultProcessor(topics=topics, writer=entities)
    for status, category, expected in [
        (ResultStatus.FAILED, "transient", ("failed", "transient", "status 503")),
        (ResultStatus.FAILED_PERMANENT, "not_found", ("failed_permanent", "not_found", "status 503")),
    ]:
        await worker.process([record(result(status, error_category=category))])
        [row] = rows("claimx_attachments")
        assert (row["status"], row["error_category"], row["error_message"]) == expected
        assert (row["blob_path"], row["downloaded_at"]) == ("claimx/1/71/leak.jpg", None)


async def test_a_failure_never_changes_a_success_and_a_success_ends_a_failure(
    topics: Topics, entities: EntityTableWriter, record: New, rows: New
) -> None:
    """[INV-1] In either order the file is there in the end."""
    worker = ClaimXResultProcessor(topics=topics, writer=entities)
    for status, expected in [
        (ResultStatus.FAILED_PERMANENT, ("failed_permanent", "transient")),
        (ResultStatus.COMPLETED, ("completed", None)),
        (ResultStatus.FAILED_PERMANENT, ("completed", None)),
    ]:
        await worker.process([record(result(status))])
        [row] = rows("claimx_attachments")
        assert (row["status"], row["error_category"]) == expected


async def test_a_result_that_cannot_be_read_fails_alone(
    topics: Topics, entities: EntityTableWriter, record: New, rows: New
) -> None:
    """Its neighbours are recorded."""
    worker = ClaimXResultProcessor(topics=topics, writer=entities)
    outcomes = await worker.process([record(b"?"), record(result(ResultStatus.COMPLETED)), record(None)])
    assert [type(outcome) for outcome in outcomes] == [Dead, Done, Dead]
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Dead)} == {"malformed"}
    assert len(rows("claimx_attachments")) == 1


async def test_each_result_counts_once_per_delivery_and_only_when_it_is_durable(
    topics: Topics, entities: EntityTableWriter, record: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that fails is given again record by record: nothing of it was counted before."""
    worker = ClaimXResultProcessor(topics=topics, writer=entities, rows_at_once=1)
    write, failures = entities.write_attachments, [PipelineError("cannot go in", Category.PERMANENT)]

    async def second_fails(rows: Sequence[AttachmentRow]) -> None:
        if failures and rows and rows[0].media_id == "72":
            raise failures.pop()
        await write(rows)

    monkeypatch.setattr(entities, "write_attachments", second_fails)
    batch = [
        record(result(ResultStatus.COMPLETED)),
        record(result(ResultStatus.FAILED_PERMANENT, media_id="72", error_category="not_found")),
    ]
    watched: list[tuple[str, dict[str, str]]] = [
        ("claimx_transfers_total", {"status": "completed"}),
        ("claimx_transfers_total", {"status": "failed_permanent"}),
        ("claimx_transfer_failures_total", {"status": "failed_permanent", "category": "not_found"}),
    ]
    before = [counted(name, **labels) for name, labels in watched]
    with pytest.raises(PipelineError):
        await worker.process(batch)
    assert [counted(name, **labels) for name, labels in watched] == before
    for each in batch:
        await worker.process([each])
    assert [counted(name, **labels) for name, labels in watched] == [value + 1 for value in before]


async def test_a_batch_of_any_size_needs_bounded_memory(topics: Topics, record: New) -> None:
    """I9: rows are made a slice at a time; what grows with the batch is an outcome and a count for each."""

    class Bounded(EntityTableWriter):
        def __init__(self) -> None:
            self.most = 0

        async def write_attachments(self, rows: Sequence[AttachmentRow]) -> None:
            self.most = max(self.most, len(rows))

    writer = Bounded()
    worker = ClaimXResultProcessor(topics=topics, writer=writer, rows_at_once=100)
    value = result(ResultStatus.FAILED, error_message="x" * 500)
    batch = [record(value) for _ in range(5_000)]
    tracemalloc.start()
    try:
        outcomes = await worker.process(batch)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(outcomes), writer.most) == (5_000, 100)
    assert peak_bytes < 3 * 2**20, "5,000 rows at once would be some 10 MiB"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["71", "72"]),
        st.sampled_from([ResultStatus.COMPLETED, ResultStatus.FAILED, ResultStatus.FAILED_PERMANENT, None]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)
"""Media id, what happened to it (None: the uploader wrote its row), and when."""


@given(events=EVENTS, cuts=st.sets(st.integers(1, 7)), again=st.integers(0, 8), seed=st.integers())
@settings(max_examples=12, deadline=None)
def test_success_and_failure_give_the_same_row_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, ResultStatus | None, int]],
    cuts: set[int],
    again: int,
    seed: int,
) -> None:
    """[INV-1] In any batches, with any part of it delivered again: the latest success, else the last failure."""
    delivered = events[:]
    random.Random(seed).shuffle(delivered)
    delivered += delivered[:again]
    folder = tmp_path_factory.mktemp("lake")
    asyncio.run(_deliver(folder, delivered, cuts))
    rows = DeltaTable(LakeLocation.parse(folder).table_uri("claimx_attachments")).to_pyarrow_table().to_pylist()
    for row in rows:
        mine = [(status, minute) for media_id, status, minute in delivered if media_id == row["media_id"]]
        successes = [(minute, status is not None) for status, minute in mine if not _failed(status)]
        if successes:
            minute, confirmed = max(successes)
            assert row["status"] == ("completed" if confirmed else "uploaded")
            assert row["downloaded_at"] == NOW + timedelta(minutes=minute)
            assert (row["error_category"], row["error_message"]) == (None, None)
        else:
            last = next(status for status, _ in reversed(mine) if status is not None)
            assert row["status"] == last.value
            assert row["error_category"] == "transient"


async def _deliver(folder: Path, events: Sequence[tuple[str, ResultStatus | None, int]], cuts: set[int]) -> None:
    lake = LakeWriter.at(LakeLocation.parse(folder), flush_rows=1_000, flush_seconds=0.0)
    writer = EntityTableWriter(lake)
    worker = ClaimXResultProcessor(topics=Topics.from_config(PipelineConfig()), writer=writer)
    batch: list[Record] = []
    for number, (media_id, status, minute) in enumerate(events):
        at = NOW + timedelta(minutes=minute)
        if number in cuts or status is None:
            await worker.process(batch)
            batch = []
        if status is None:
            await writer.write_attachments([stored(media_id, at)])
            continue
        downloaded_at = None if _failed(status) else at
        value = result(status, media_id=media_id, downloaded_at=downloaded_at)
        batch.append(Record(topic="t", partition=0, offset=number, key=None, value=value, timestamp_ms=0))
    await worker.process(batch)
    await lake.close()


def _failed(status: ResultStatus | None) -> bool:
    return status in {ResultStatus.FAILED, ResultStatus.FAILED_PERMANENT}
