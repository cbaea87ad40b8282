"""The video calls that the lake must hold, by section 9.9 of the reference."""

from __future__ import annotations

from collections.abc import Iterator

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.story import ASKED, Row, Story

_AS_SENT = (
    *("email_user_name", "claim_rep_first_name", "claim_rep_last_name", "number_of_videos", "number_of_photos"),
    *("number_of_viewers", "session_count", "total_time", "created_date", "live_call_first_session"),
    *("live_call_last_session", "guid"),
)


def video_collab(story: Story) -> Iterator[Row]:
    """claimx_video_collab: the report has no status, so the events decide, and a finished call stays finished."""
    projects = {project.project_id: project for project in story.projects}
    for call in story.calls:
        call_id = str(call.video_collaboration_id)
        finished = story.told_of(words.VIDEO_COLLABORATION_COMPLETED, "video_collaboration_id", call_id)
        row: Row = {
            "collaboration_id": call_id,
            "video_collaboration_id": call_id,
            "project_id": str(call.project_id),
            "claim_id": str(call.project_id),
            "mfn": projects[call.project_id].master_file_name,
            "claim_number": projects[call.project_id].project_number,
            "policy_number": None,
            "company_id": "77",
            "company_name": "Example Mutual",
            "claim_rep_full_name": f"{call.claim_rep_first_name} {call.claim_rep_last_name}",
            "total_time_seconds": repr(call.total_time_seconds),
            "status": "COMPLETED" if finished else "INVITED",
            "recording_urls": None,
            "source_event_id": story.caused_by(words.VIDEO_TYPES, "video_collaboration_id", call_id),
        }
        yield row | {column: getattr(call, column) for column in _AS_SENT} | ASKED
