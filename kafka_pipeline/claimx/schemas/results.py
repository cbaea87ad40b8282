"""What became of a file (`claimx.downloads.results`, section 3)."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field, StringConstraints

from kafka_pipeline.claimx.schemas.types import Count, ErrorText, RequiredId, UtcDatetime, WireMessage


class ResultStatus(str, Enum):
    """How an attempt ended."""

    COMPLETED = "completed"
    """The file is in the lake."""
    FAILED = "failed"
    """The attempt failed; a retry follows."""
    FAILED_PERMANENT = "failed_permanent"
    """The task went to the dead letters."""


class ClaimXUploadResult(WireMessage):
    """The outcome of one file's download and upload. Never carries a link [MSG-2]."""

    media_id: RequiredId
    project_id: RequiredId
    blob_path: Annotated[str, StringConstraints(min_length=1)] = Field(repr=False)
    status: ResultStatus
    file_type: str = ""
    file_name: str = Field(default="", repr=False)
    source_event_id: str = ""
    bytes_uploaded: Count = 0
    retry_count: Count = 0
    content_type: str | None = None
    content_sha256: str | None = None
    downloaded_at: UtcDatetime | None = None
    error_category: str | None = None
    error_message: ErrorText | None = None
    """Redacted by whoever wrote it; cut to 500 characters here."""
    created_at: UtcDatetime
