"""What follows from a stored file: its row of the inventory, and the message that tells of it."""

from __future__ import annotations

from datetime import datetime

from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.transfers.transfer import Arrived
from kafka_pipeline.claimx.writers.entities import StoredMedia
from kafka_pipeline.common.messaging import Message


def stored_row(task: ClaimXDownloadTask, arrived: Arrived) -> AttachmentRow:
    """Return the row of a file that is in the lake [WRK-4]; the writer keeps its link without the query."""
    return AttachmentRow(
        media_id=task.media_id,
        project_id=task.project_id,
        blob_path=task.blob_path,
        file_name=task.blob_path.rsplit("/", 1)[-1],
        file_type=task.file_type or None,
        media_type=task.file_type or None,
        media_name=task.file_name or None,
        bytes_downloaded=arrived.size_bytes,
        content_type=arrived.content_type,
        content_sha256=arrived.sha256,
        download_url=task.download_url,
        status=AttachmentStatus.UPLOADED,
        downloaded_at=arrived.at,
        source_event_id=task.source_event_id or None,
    )


def arrived_before(stored: StoredMedia) -> Arrived | None:
    """Return the file as its row tells of it; None where the row does not tell enough, and is none of `stored_row`."""
    if stored.bytes_downloaded is None or stored.content_sha256 is None or stored.downloaded_at is None:
        return None
    return Arrived(
        size_bytes=stored.bytes_downloaded,
        sha256=stored.content_sha256,
        content_type=stored.content_type,
        at=stored.downloaded_at,
    )


def completed(task: ClaimXDownloadTask, arrived: Arrived, *, topic: str, now: datetime) -> Message:
    """Return the result message of a file that is in the lake. It carries no link [MSG-2]."""
    result = ClaimXUploadResult(
        media_id=task.media_id,
        project_id=task.project_id,
        blob_path=task.blob_path,
        status=ResultStatus.COMPLETED,
        file_type=task.file_type,
        file_name=task.file_name,
        source_event_id=task.source_event_id,
        bytes_uploaded=arrived.size_bytes,
        retry_count=task.retry_count,
        content_type=arrived.content_type,
        content_sha256=arrived.sha256,
        downloaded_at=arrived.at,
        created_at=now,
    )
    return Message(topic=topic, key=task.media_id.encode(), value=result.to_bytes())
