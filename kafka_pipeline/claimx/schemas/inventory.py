"""The rows of the events table (9.2) and of the inventory of files (9.10)."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from kafka_pipeline.claimx.links import without_queries
from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage
from kafka_pipeline.claimx.schemas.rows import Day, IdText, Int, Link, Row, Text, Time
from kafka_pipeline.claimx.schemas.types import ERROR_TEXT_LIMIT, RequiredId, UtcDatetime, assembled
from kafka_pipeline.claimx.schemas.wire import encode

ShortText = Annotated[Text, AfterValidator(lambda text: text and text[:ERROR_TEXT_LIMIT])]


class AttachmentStatus(str, Enum):
    """How far a file has come."""

    UPLOADED = "uploaded"
    """In the lake; the result has still to be confirmed."""
    COMPLETED = "completed"
    """In the lake."""
    FAILED = "failed"
    """The last attempt failed; a retry follows."""
    FAILED_PERMANENT = "failed_permanent"
    """Given up: the task is in the dead letters."""


class EventRow(Row):
    """One event (9.2). Key: event_id; partition: event_date."""

    logical_table: ClassVar[str] = "events"

    event_id: RequiredId
    event_type: RequiredId
    project_id: RequiredId
    media_id: IdText = None
    task_assignment_id: IdText = None
    video_collaboration_id: IdText = None
    master_file_name: IdText = None
    media_ids: Text = None
    """JSON text of a list of ids."""
    raw_data: Text = None
    """JSON text of the payload."""
    ingested_at: UtcDatetime
    created_at: UtcDatetime
    event_date: date
    """UTC date of ingested_at."""

    @classmethod
    def from_event(cls, event: ClaimXEventMessage, created_at: datetime, *, signed_links: bool = False) -> EventRow:
        """Return the event's row. Links in its payload lose their query unless signed links are kept [SEC-8]."""
        return assembled(cls, cls.columns_of(event, created_at, signed_links=signed_links))

    @staticmethod
    def columns_of(event: ClaimXEventMessage, created_at: datetime, *, signed_links: bool = False) -> dict[str, object]:
        """Return the columns of the event's row: the hot path has no use for the row itself."""
        raw_data = encode(event.raw_data)
        if not signed_links and b"://" in raw_data:
            raw_data = encode(without_queries(event.raw_data))
        return {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "project_id": event.project_id,
            "media_id": event.media_id,
            "task_assignment_id": event.task_assignment_id,
            "video_collaboration_id": event.video_collaboration_id,
            "master_file_name": event.master_file_name,
            "media_ids": None if event.media_ids is None else encode(event.media_ids).decode(),
            "raw_data": raw_data.decode(),
            "ingested_at": event.ingested_at,
            "created_at": created_at,
            "event_date": event.ingested_at.date(),
        }


class AttachmentRow(Row):
    """One file of the inventory (9.10). Key: media_id.

    A failure carries ids, path, name and type, status and error columns [settled point 21]; `downloaded_at` belongs to
    successes alone, since it orders them [INV-1].
    """

    logical_table: ClassVar[str] = "attachments"

    media_id: RequiredId
    project_id: RequiredId
    blob_path: Text = None
    file_name: Text = None
    """The safe file name."""
    file_type: Text = None
    """The API's mediaType."""
    media_type: Text = None
    """The same value as file_type."""
    media_name: Text = None
    """The API's mediaName, as received."""
    bytes_downloaded: Int = None
    content_type: Text = None
    content_sha256: IdText = None
    download_url: Link = None
    """The writer drops its query unless signed links are to be kept [SEC-8]."""
    status: AttachmentStatus
    error_category: Text = None
    error_message: ShortText = None
    """Redacted; cut to 500 characters."""
    downloaded_at: Time = None
    source_event_id: IdText = None
    created_at: UtcDatetime | None = None
    updated_at: UtcDatetime | None = None
    created_date: Day = None
    """UTC date of created_at; the writer sets it."""
