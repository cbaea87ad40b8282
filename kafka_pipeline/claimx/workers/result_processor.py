"""The last worker: the outcome of every transfer ends in the inventory."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome
from kafka_pipeline.common.runtime.processor import failure_outcome


class ClaimXResultProcessor:
    """Merges the final status of each media item into `claimx_attachments` [WRK-4, INV-1].

    A malformed result is dead-lettered. What the merge rules refuse (a failure after a success) changes nothing.
    """

    name = "claimx-result-processor"
    ordering = Ordering.KEY

    def __init__(self, *, topics: Topics, writer: EntityTableWriter) -> None:
        self.group = topics.group(Group.RESULT_PROCESSOR)
        self.topics = (topics.downloads_results,)
        self._writer = writer

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done for each result once its row is merged."""
        outcomes: list[Outcome] = []
        rows: list[AttachmentRow] = []
        for record in records:
            try:
                result = ClaimXUploadResult.from_bytes(record.value)
            except PipelineError as error:
                outcomes.append(failure_outcome(error))
                continue
            rows.append(inventory_row(result))
            outcomes.append(Done())
            monitoring.TRANSFERS.labels(status=result.status.value).inc()
        await self._writer.write_attachments(rows)
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
