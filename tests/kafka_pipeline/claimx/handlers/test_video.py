"""A video report becomes the row of the call that was meant, column by column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from kafka_pipeline.claimx.handlers.base import HandlerResult, Origin
from kafka_pipeline.claimx.handlers.video import VideoCollabHandler
from kafka_pipeline.claimx.handlers.video_rows import video_row
from kafka_pipeline.claimx.schemas.entities import VideoCollabRow
from kafka_pipeline.claimx.shapes import read_video_report
from kafka_pipeline.common.failures import Category

ASKED = datetime(2026, 3, 2, 14, 5, 12, tzinfo=UTC)
ORIGIN = Origin(event_id="e-1", project_id="900001", requested_at=ASKED)
INVITED = "VIDEO_COLLABORATION_INVITE_SENT"
COMPLETED = "VIDEO_COLLABORATION_COMPLETED"


def category_of(result: HandlerResult) -> Category | None:
    """Return the category of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.category


def reason_of(result: HandlerResult) -> str | None:
    """Return the reason of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.reason


def test_every_column_comes_from_its_field(api: Any) -> None:
    """(9.9) The sample, whole, with recordings, their links without query [SEC-8]."""
    api.video["data"][0]["recordingUrls"] = ["https://x.example.com/r.mp4?X-Amz-Signature=SECRET#t"]
    [call] = read_video_report(api.video)
    assert video_row(call, "9300001", COMPLETED, ORIGIN).to_row() == {
        "source_event_id": "e-1",
        "created_at": None,
        "updated_at": None,
        "last_enriched_at": ASKED,
        "collaboration_id": "9300001",
        "video_collaboration_id": "9300001",
        "project_id": "900001",
        "claim_id": "900001",
        "mfn": "MFN-EXAMPLE-01",
        "claim_number": "CLM-0000-TEST",
        "policy_number": "POL-0000-TEST",
        "email_user_name": "rep@example.com",
        "company_id": "77",
        "company_name": "Example Mutual",
        "guid": "00000000-0000-4000-8000-000000000001",
        "claim_rep_first_name": "Robin",
        "claim_rep_last_name": "Example",
        "claim_rep_full_name": "Robin Example",
        "number_of_videos": 1,
        "number_of_photos": 4,
        "number_of_viewers": 2,
        "session_count": 1,
        "total_time_seconds": "1234.5",
        "total_time": "20:34",
        "created_date": "2026-03-02T15:00:00.000+00:00",
        "live_call_first_session": "2026-03-02T15:30:00.000+00:00",
        "live_call_last_session": "2026-03-02T15:51:00.000+00:00",
        "status": "COMPLETED",
        "recording_urls": ["https://x.example.com/r.mp4"],
    }


def test_signed_links_are_stored_only_on_demand(api: Any) -> None:
    """[SEC-8] claimx_store_signed_links."""
    [call] = read_video_report([{"id": 1, "recordingUrl": "https://x.example.com/r.mp4?sig=1"}])
    row = video_row(call, "1", COMPLETED, ORIGIN, store_signed_links=True)
    assert row.recording_urls == ["https://x.example.com/r.mp4?sig=1"]


@pytest.mark.parametrize(
    ("said", "event_type", "expected"),
    [
        ("STARTED", INVITED, "STARTED"),
        (None, INVITED, "INVITED"),
        (" ", COMPLETED, "COMPLETED"),
        ({"odd": 1}, COMPLETED, "COMPLETED"),
    ],
)
def test_the_status_is_the_report_s_else_the_event_s(said: object, event_type: str, expected: str) -> None:
    """[HND-9] One of them is always there."""
    [call] = read_video_report([{"id": 1, "status": said}])
    assert expected == video_row(call, "1", event_type, ORIGIN).status


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"claimRepFullName": "R. Example", "claimRepFirstName": "Robin"}, "R. Example"),
        ({"claimRepFullName": " ", "claimRepLastName": "Example"}, "Example"),
        ({}, None),
    ],
)
def test_the_representative_s_full_name_is_put_together(names: dict[str, str], expected: str | None) -> None:
    """(9.9) Its own, else first and last."""
    [call] = read_video_report([{"id": 1, **names}])
    assert expected == video_row(call, "1", INVITED, ORIGIN).claim_rep_full_name


@pytest.mark.parametrize("report", [{"data": []}, {}, {"data": [{"videoCollaborationId": 1, "guid": "other"}]}])
async def test_a_call_that_the_report_lacks_still_has_its_row(
    api: Any, context: Any, event: Any, report: object
) -> None:
    """[HND-9] Ids, project and status; never another call's facts."""
    api.video = report
    [result] = await VideoCollabHandler(context).handle_batch([event(INVITED, video_collaboration_id="9300001")], api)
    assert result.rows.video_collab == (
        VideoCollabRow(
            collaboration_id="9300001",
            video_collaboration_id="9300001",
            project_id="900001",
            status="INVITED",
            source_event_id=f"event-{INVITED}",
            last_enriched_at=ASKED,
        ),
    )
    assert result.failed is None


async def test_each_event_of_a_call_has_its_row_and_the_call_is_asked_for_once(
    api: Any, context: Any, event: Any
) -> None:
    """The status may be the event's own, so both rows are needed; an event without an id fails alone [EVT-7]."""
    tasks = [
        event(INVITED, video_collaboration_id="9300001"),
        event(COMPLETED, video_collaboration_id="9300001"),
        event(COMPLETED),
    ]
    invited, completed, bad = await VideoCollabHandler(context).handle_batch(tasks, api)
    assert api.calls == [("video", "9300001", "900001")]
    assert (
        invited.rows.video_collab[0].status,
        completed.rows.video_collab[0].status,
    ) == ("INVITED", "COMPLETED")
    assert (category_of(bad), len(bad.rows)) == (Category.PERMANENT, 0)


async def test_only_missing_ids_ask_nothing(api: Any, context: Any, event: Any) -> None:
    """[EVT-7] Permanent without a call."""
    [bad] = await VideoCollabHandler(context).handle_batch([event(COMPLETED)], api)
    assert (category_of(bad), api.calls) == (Category.PERMANENT, [])


async def test_a_refused_report_is_permanent(api: Any, context: Any, event: Any) -> None:
    """[7.2] 404 is a not-found only for projects and tasks."""
    api.video = None
    [result] = await VideoCollabHandler(context).handle_batch([event(COMPLETED, video_collaboration_id="1")], api)
    assert (category_of(result), reason_of(result)) == (Category.PERMANENT, "permanent")
