"""Video call in, its row out [HND-9; sections 5.6 and 9.9]."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.claimx.coercion import to_text
from kafka_pipeline.claimx.handlers.project_rows import same_names
from kafka_pipeline.claimx.handlers.results import Origin
from kafka_pipeline.claimx.links import without_query
from kafka_pipeline.claimx.schemas.contact_id import full_name
from kafka_pipeline.claimx.schemas.entities import VideoCollabRow
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.shapes import JsonObject, VideoCall

_COLUMNS: Final = (
    *("claim_id", "mfn", "claim_number", "policy_number", "email_user_name", "company_id", "company_name", "guid"),
    *("claim_rep_first_name", "claim_rep_last_name", "number_of_videos", "number_of_photos", "number_of_viewers"),
    *("session_count", "total_time_seconds", "total_time", "created_date", "live_call_first_session"),
    "live_call_last_session",
)
_NOTHING: Final[JsonObject] = {}


def video_row(
    call: VideoCall | None, collaboration_id: str, event_type: str, origin: Origin, *, store_signed_links: bool = False
) -> VideoCollabRow:
    """Return the call's row; of one that the report does not list, what the event knows [HND-9].

    Where the report has no status, the event's type is one.
    """
    report = _NOTHING if call is None else call.call
    links = () if call is None else call.recording_urls
    status = to_text(report.get("status"), "status") or ""
    by_event = "COMPLETED" if event_type == EventType.VIDEO_COLLABORATION_COMPLETED else "INVITED"
    return VideoCollabRow.model_validate(
        {
            **same_names(report, _COLUMNS),
            **origin.audit(),
            "collaboration_id": collaboration_id,
            "video_collaboration_id": collaboration_id,
            "project_id": origin.project_id,
            "claim_rep_full_name": _rep_name(report),
            "status": status if status.strip() else by_event,
            "recording_urls": [link if store_signed_links else without_query(link) for link in links] or None,
        }
    )


def _rep_name(report: JsonObject) -> str | None:
    names = ("claimRepFullName", "claimRepFirstName", "claimRepLastName")
    full, first, last = (to_text(report.get(name), name) for name in names)
    return full if full and full.strip() else full_name(first, last)
