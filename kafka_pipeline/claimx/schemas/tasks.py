"""What our workers ask of each other: enrich this event, download this file, upload that one (section 3)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from kafka_pipeline.claimx.links import without_queries
from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage
from kafka_pipeline.claimx.schemas.types import (
    Count,
    OptionalId,
    RawData,
    RequiredId,
    UtcDatetime,
    WireMessage,
    assembled,
)

DownloadT = TypeVar("DownloadT", bound="ClaimXDownloadTask")

Path = Annotated[str, StringConstraints(min_length=1)]

_OF_THE_CACHE: Final = frozenset(
    {"local_cache_path", "content_sha256", "bytes_downloaded", "downloaded_at", "content_type"}
)
"""What an upload task adds to its download task."""

SecretLink = Annotated[str, StringConstraints(min_length=1)]
"""A signed link: whoever holds it can read the file [SEC-7]."""


class ClaimXEnrichmentTask(WireMessage):
    """Enrich one event (`claimx.enrichment.pending`). Carries what the event carried [MSG-1]."""

    event_id: RequiredId
    event_type: RequiredId
    project_id: RequiredId
    retry_count: Count = 0
    created_at: UtcDatetime
    ingested_at: UtcDatetime | None = None
    media_id: OptionalId = None
    media_ids: list[str] | None = None
    task_assignment_id: OptionalId = None
    video_collaboration_id: OptionalId = None
    master_file_name: OptionalId = None
    raw_data: RawData | None = Field(default=None, repr=False)

    @classmethod
    def from_event(cls, event: ClaimXEventMessage, now: datetime) -> ClaimXEnrichmentTask:
        """Return the task that follows from an event. Links in its payload lose their query [SEC-8]."""
        return assembled(
            cls,
            {
                "schema_version": 1,
                "event_id": event.event_id,
                "event_type": event.event_type,
                "project_id": event.project_id,
                "retry_count": 0,
                "created_at": now,
                "ingested_at": event.ingested_at,
                "media_id": event.media_id,
                "media_ids": event.media_ids,
                "task_assignment_id": event.task_assignment_id,
                "video_collaboration_id": event.video_collaboration_id,
                "master_file_name": event.master_file_name,
                "raw_data": without_queries(event.raw_data),
            },
        )

    def retried(self) -> ClaimXEnrichmentTask:
        """Return the copy that goes to a retry topic [RTY-1]."""
        return self.model_copy(update={"retry_count": self.retry_count + 1})


class ClaimXDownloadTask(WireMessage):
    """Download one file (`claimx.downloads.pending`). Holds a signed link: neither repr nor errors show it [SEC-7]."""

    media_id: RequiredId
    project_id: RequiredId
    download_url: SecretLink = Field(repr=False)
    blob_path: Path = Field(repr=False)
    file_type: str = ""
    """The API's mediaType."""
    file_name: str = Field(default="", repr=False)
    """The API's mediaName, as received."""
    source_event_id: str = ""
    retry_count: Count = 0
    refresh_count: Count = 0
    expires_at: UtcDatetime | None = None
    """None: unknown, treated as valid [LNK-1]."""

    @model_validator(mode="after")
    def _without_the_cache(self) -> Self:
        """Forget where the file lay, if this was an upload task [DLQ-3]: it is no field of a newer version."""
        for name in _OF_THE_CACHE & self.unknown_fields.keys():
            del self.unknown_fields[name]
        return self

    def retried(self) -> Self:
        """Return the copy that goes to a retry topic [RTY-1]."""
        return self.model_copy(update={"retry_count": self.retry_count + 1})

    def refreshed(self, *, download_url: str, expires_at: datetime | None) -> Self:
        """Return the task with a fresh link, counted as a refresh, not as an attempt [LNK-5]."""
        changes = {
            "download_url": download_url,
            "expires_at": expires_at,
            "refresh_count": self.refresh_count + 1,
        }
        return self.model_copy(update=changes)

    def cached(
        self,
        *,
        local_cache_path: str,
        content_sha256: str,
        bytes_downloaded: int,
        downloaded_at: datetime,
        content_type: str | None,
    ) -> ClaimXCachedDownload:
        """Return the upload task for the file, now in the cache."""
        return ClaimXCachedDownload(
            **_as_download(self),
            local_cache_path=local_cache_path,
            content_sha256=content_sha256,
            bytes_downloaded=bytes_downloaded,
            downloaded_at=downloaded_at,
            content_type=content_type,
        )


class ClaimXCachedDownload(ClaimXDownloadTask):
    """Upload one file from the cache (`claimx.downloads.cached`). Can become a download task again."""

    local_cache_path: Path = Field(repr=False)
    content_sha256: RequiredId
    """Hex."""
    bytes_downloaded: Count
    downloaded_at: UtcDatetime
    content_type: str | None = None

    def download_task(self) -> ClaimXDownloadTask:
        """Return the download task this came from."""
        return ClaimXDownloadTask(**_as_download(self))


def _as_download(task: ClaimXDownloadTask) -> dict[str, Any]:
    """Return what a task says of its download, in this version's fields and in those of a newer one."""
    return {**task.unknown_fields, **{name: getattr(task, name) for name in ClaimXDownloadTask.model_fields}}
