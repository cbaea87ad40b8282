"""Media list in, rows and download tasks out [HND-4; sections 9.5, 6 and 11]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from kafka_pipeline.claimx.blob_path import blob_path, is_safe_id, safe_file_name
from kafka_pipeline.claimx.coercion import observation_time
from kafka_pipeline.claimx.handlers.results import Failed, HandlerResult, MediaNotReadyError, Origin, Rows
from kafka_pipeline.claimx.links import link_expiry, without_query
from kafka_pipeline.claimx.schemas.entities import MediaMetadataRow, ProjectRow
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import MediaItem, MediaList
from kafka_pipeline.common.failures import Category, PipelineError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Share:
    """What of the list is one event's."""

    media: list[MediaMetadataRow] = field(default_factory=list)
    downloads: list[ClaimXDownloadTask] = field(default_factory=list)


def media_results(
    tasks: Sequence[ClaimXEnrichmentTask],
    media: MediaList,
    *,
    requested_at: datetime,
    now: datetime,
    store_signed_links: bool,
) -> list[HandlerResult]:
    """Return one result per event of one project, in order.

    Every listed file has its row, and its download task if it has a link, exactly once: with the event that names
    it, else with the last event that succeeds (the last one of all if none does). An event fails alone if the file
    that it names is not listed or has no link.
    """
    if media.dropped or media.replaced:
        log.warning(
            "media_items_unusable",
            project_id=tasks[-1].project_id,
            dropped=media.dropped,
            replaced=media.replaced,
        )
    listed = {item.media_id: item for item in media.items}
    failures = [_failure(task, listed) for task in tasks]
    lead = max((index for index, failure in enumerate(failures) if failure is None), default=len(tasks) - 1)
    named = {task.media_id: index for index, task in enumerate(tasks) if _names_a_file(task)}
    shares = [_Share() for _ in tasks]
    for item in media.items:
        owner = named.get(item.media_id, lead)
        origin = Origin.of(tasks[owner], requested_at)
        shares[owner].media.append(media_row(item, origin, store_signed_links=store_signed_links))
        if (download := download_task(item, origin)) is not None:
            shares[owner].downloads.append(download)
    return [
        HandlerResult(
            task=task,
            rows=Rows(projects=master_file_name_rows(task, now), media=tuple(share.media)),
            downloads=tuple(share.downloads),
            failed=failure,
        )
        for task, share, failure in zip(tasks, shares, failures, strict=True)
    ]


def media_row(item: MediaItem, origin: Origin, *, store_signed_links: bool = False) -> MediaMetadataRow:
    """Return the file's row (9.5), its link without query and fragment unless signed links are kept [SEC-8]."""
    link = item.full_download_link
    return MediaMetadataRow.model_validate(
        {
            **origin.audit(),
            "media_id": item.media_id,
            "project_id": origin.project_id,
            "task_assignment_id": item.task_assignment_id,
            "file_type": item.media_type,
            "file_name": item.media_name,
            "media_description": item.media_description,
            "media_comment": item.media_comment,
            "gps_source": item.gps_source,
            "taken_date": item.taken_date,
            "latitude": item.latitude,
            "longitude": item.longitude,
            "full_download_link": link if link is None or store_signed_links else without_query(link),
            "expires_at": link_expiry(link or "", item.expires_at),
        }
    )


def download_task(item: MediaItem, origin: Origin) -> ClaimXDownloadTask | None:
    """Return the task to fetch the file; None where it has no link, or an id that no path may hold."""
    link = item.full_download_link
    if link is None or not is_safe_id(item.media_id):
        return None
    file_name = safe_file_name(item.media_name, item.media_type, link)
    return ClaimXDownloadTask(
        media_id=item.media_id,
        project_id=origin.project_id,
        download_url=link,
        blob_path=blob_path(project_id=origin.project_id, media_id=item.media_id, file_name=file_name),
        file_type=item.media_type or "",
        file_name=item.media_name or "",
        source_event_id=origin.event_id,
        expires_at=link_expiry(link, item.expires_at),
    )


def master_file_name_rows(task: ClaimXEnrichmentTask, now: datetime) -> tuple[ProjectRow, ...]:
    """Return the partial project row of PROJECT_MFN_ADDED [HND-6], none for other events or without a name.

    The name counts as observed at the event's time, not at the read (settled points 2 and 24). The row itself has no
    time of observation: it says nothing of the other columns, and an event whose clock goes ahead would else make the
    next answers of the API count as older (I4).
    """
    if task.event_type != EventType.PROJECT_MFN_ADDED or task.master_file_name is None:
        return ()
    observed_at = observation_time(task.ingested_at or task.created_at, now)
    row = ProjectRow(
        project_id=task.project_id,
        master_file_name=task.master_file_name,
        master_file_name_observed_at=observed_at,
        source_event_id=task.event_id,
    )
    return (row,)


def _names_a_file(task: ClaimXEnrichmentTask) -> bool:
    return task.event_type == EventType.PROJECT_FILE_ADDED and task.media_id is not None


def _failure(task: ClaimXEnrichmentTask, listed: dict[str, MediaItem]) -> Failed | None:
    """Judge an event by the file that it names; one without an id reads the whole list and is content [EVT-7]."""
    if not _names_a_file(task) or task.media_id is None:
        return None
    item = listed.get(task.media_id)
    if item is None:
        return Failed.of(MediaNotReadyError("the media id is not listed"))
    if not is_safe_id(item.media_id):
        return Failed.of(PipelineError("the media id has no form that a path may hold", Category.PERMANENT))
    if item.full_download_link is None:
        return Failed.of(MediaNotReadyError("the media id is listed without a link"))
    return None
