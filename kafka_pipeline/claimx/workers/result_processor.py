"""The last worker: the outcome of every transfer ends in the inventory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome
from kafka_pipeline.common.runtime.processor import failure_outcome

ROWS_AT_ONCE: Final = 1_000
"""Rows made before they are written: with it memory is bounded, however large the batch (I9)."""

_NO_CATEGORY: Final = "unknown"


class ClaimXResultProcessor:
    """Merges the final status of each media item into `claimx_attachments` [WRK-4, INV-1].

    The order of results matters only among failures of one file, which come in the order of their partition; success
    and failure give the same row in any order. A malformed result is dead-lettered. What the merge rules refuse (a
    failure after a success) changes nothing. Results are counted once they are durable, so each once per delivery.
    """

    name = "claimx-result-processor"
    ordering = Ordering.KEY

    def __init__(self, *, topics: Topics, writer: EntityTableWriter, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self.group = topics.group(Group.RESULT_PROCESSOR)
        self.topics = (topics.downloads_results,)
        self._writer = writer
        self._rows_at_once = rows_at_once

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done for each result once its row is merged."""
        outcomes: list[Outcome] = []
        counted: list[tuple[ResultStatus, str | None]] = []
        rows: list[AttachmentRow] = []
        for record in records:
            try:
                result = ClaimXUploadResult.from_bytes(record.value)
            except PipelineError as error:
                outcomes.append(failure_outcome(error))
                continue
            outcomes.append(Done())
            counted.append((result.status, result.error_category))
            rows.append(inventory_row(result))
            if len(rows) >= self._rows_at_once:
                await self._writer.write_attachments(rows)
                rows = []
        await self._writer.write_attachments(rows)
        _count(counted)
        return outcomes


def inventory_row(result: ClaimXUploadResult) -> AttachmentRow:
    """Map a result to its inventory row; failures carry what settled point 21 names."""
    return AttachmentRow(
        media_id=result.media_id,
        project_id=result.project_id,
        blob_path=result.blob_path,
        file_name=result.blob_path.rsplit("/", 1)[-1],
        file_type=result.file_type or None,
        media_type=result.file_type or None,
        status=AttachmentStatus(result.status.value),
        bytes_downloaded=result.bytes_uploaded if result.downloaded_at else None,
        content_type=result.content_type,
        content_sha256=result.content_sha256,
        downloaded_at=result.downloaded_at,
        error_category=result.error_category,
        error_message=result.error_message,
        source_event_id=result.source_event_id or None,
    )


def _count(results: Iterable[tuple[ResultStatus, str | None]]) -> None:
    for status, category in results:
        monitoring.TRANSFERS.labels(status=status.value).inc()
        if status is not ResultStatus.COMPLETED:
            bounded = metrics.bounded("category", category or _NO_CATEGORY)
            monitoring.TRANSFER_FAILURES.labels(status=status.value, category=bounded).inc()
