"""Rows: foreign values come in, column values come out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.contact_id import ContactType
from kafka_pipeline.claimx.schemas.entities import (
    ENTITY_ROWS,
    ContactRow,
    ExternalLinkRow,
    InviteStatus,
    MediaMetadataRow,
    ProjectRow,
    TaskRow,
    TaskTemplateRow,
    VideoCollabRow,
)
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus, EventRow

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def test_the_seven_entities_are_complete() -> None:
    """Section 9.1, in its order."""
    assert [row.logical_table for row in ENTITY_ROWS] == [
        "projects", "contacts", "media", "tasks", "task_templates", "external_links", "video_collab",
    ]  # fmt: skip


def test_values_of_the_wire_become_values_of_columns() -> None:
    """Numbers as ids, text as numbers, text as booleans; postcodes and phones keep their zeros."""
    with capture_logs() as logs:
        row = ProjectRow(
            project_id=900001,
            year_built="1990",
            square_footage=1800.0,
            zip_postcode="01234",
            primary_phone=" (555) 010-0142 ",
            primary_phone_country_code="1",
            primary_email=" pat@example.com ",
            contents_task_sent="TRUE",
            master_file_name=" MFN-1 ",
            policyholder_invited_at="2026-03-02T14:00:00",
        ).to_row()
    assert logs == []
    expected = {
        "project_id": "900001",
        "year_built": 1990,
        "square_footage": 1800,
        "zip_postcode": "01234",
        "primary_phone": " (555) 010-0142 ",
        "primary_phone_country_code": 1,
        "primary_email": "pat@example.com",
        "contents_task_sent": True,
        "master_file_name": "MFN-1",
        "policyholder_invited_at": datetime(2026, 3, 2, 14, tzinfo=UTC),
    }
    assert expected == {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (lambda: ProjectRow(project_id="1", year_built=1990.7), "year_built"),
        (lambda: MediaMetadataRow(media_id="1", project_id="1", latitude="north"), "latitude"),
        (lambda: TaskRow(task_id="1", assignment_id="1", project_id="1", stp_enabled="maybe"), "stp_enabled"),
        (lambda: TaskTemplateRow(template_id="1", project_id="1", is_default=7), "is_default"),
        (lambda: ExternalLinkRow(link_id="1", accessed_count=True), "accessed_count"),
        (
            lambda: VideoCollabRow(
                collaboration_id="1", video_collaboration_id="1", project_id="1", total_time_seconds="long"
            ),
            "total_time_seconds",
        ),
        (
            lambda: AttachmentRow(media_id="1", project_id="1", status="failed", bytes_downloaded="x"),
            "bytes_downloaded",
        ),
    ],
)
def test_what_a_column_cannot_hold_is_null_with_a_warning(row: Any, column: str) -> None:
    """The rest of the row is kept, and the warning names the column [MRG-7, settled point 23]."""
    with capture_logs() as logs:
        assert row().to_row()[column] is None
    assert [(entry["log_level"], entry["field"]) for entry in logs] == [("warning", column)]


def test_a_video_call_keeps_its_exact_length() -> None:
    """Decimal text, whatever kind of number it came as (9.9)."""
    ids = {"collaboration_id": "1", "video_collaboration_id": "1", "project_id": "1"}
    assert [VideoCollabRow(**ids, total_time_seconds=value).total_time_seconds for value in (1234.5, 90, "0.10")] == [
        "1234.5",
        "90",
        "0.10",
    ]


def test_every_column_is_in_the_row() -> None:
    """Null means "not carried", and is said for every column [MRG-1]."""
    row = MediaMetadataRow(media_id="1", project_id="1")
    assert list(MediaMetadataRow.model_fields) == list(row.to_row())


def test_enums_become_their_text() -> None:
    """The lake holds plain text."""
    contact = ContactRow(
        contact_id="c", project_id="1", contact_type=ContactType.POLICYHOLDER, invite_status=InviteStatus.JOINED
    ).to_row()
    file = AttachmentRow(media_id="1", project_id="1", status=AttachmentStatus.UPLOADED).to_row()
    assert [type(value) for value in (contact["contact_type"], contact["invite_status"], file["status"])] == [str] * 3
    assert (contact["invite_status"], file["status"]) == ("JOINED", "uploaded")


@pytest.mark.parametrize("value", [None, "", True, 1.5, []])
def test_a_row_needs_its_keys(value: object) -> None:
    """A row without key would be nobody's."""
    with pytest.raises(ValidationError, match="project_id"):
        ProjectRow(project_id=value)


def test_a_column_that_does_not_exist_is_refused() -> None:
    """A misspelt column must not be dropped in silence (trap 4)."""
    with pytest.raises(ValidationError, match="extra"):
        ProjectRow(project_id="1", mfn="x")  # type: ignore[call-arg]  # the point of the test


def test_a_row_shows_nothing_of_a_person() -> None:
    """Neither repr nor an error's text holds names or addresses [SEC-10]."""
    row = ContactRow(contact_id="c", project_id="1", contact_type=ContactType.POLICYHOLDER, first_name="Pat")
    assert "Pat" not in f"{row} {row!r} {[row]}"
    with pytest.raises(ValidationError) as caught:
        ContactRow(contact_id="c", project_id="1", contact_type="Pat")
    assert "Pat" not in str(caught.value)


class TestMasterFileName:
    """Its own time of observation [settled point 2]."""

    def test_it_is_seen_when_the_row_is_unless_said_otherwise(self) -> None:
        """An API value at the API read, an event's at the event's time: both are last_enriched_at."""
        row = ProjectRow(project_id="1", master_file_name="M", last_enriched_at=NOW).to_row()
        assert row["master_file_name_observed_at"] == NOW

    def test_a_time_of_its_own_is_kept(self) -> None:
        """Where the caller knows better."""
        seen = datetime(2026, 1, 1, tzinfo=UTC)
        row = ProjectRow(
            project_id="1", master_file_name="M", master_file_name_observed_at=seen, last_enriched_at=NOW
        ).to_row()
        assert row["master_file_name_observed_at"] == seen

    def test_no_name_has_no_time(self) -> None:
        """A null value never competes."""
        row = ProjectRow(project_id="1", master_file_name=" ", last_enriched_at=NOW).to_row()
        assert (row["master_file_name"], row["master_file_name_observed_at"]) == (None, None)


class TestEventRow:
    """Events as the table holds them (9.2)."""

    def test_the_row_is_the_event(self, sample: Any) -> None:
        """Ids as text, lists and payload as JSON text, the day of its time."""
        event = parse_event(sample.value, record_timestamp_ms=5, now=NOW)
        row = EventRow.from_event(event, NOW).to_row()
        for name in ("event_id", "event_type", "project_id", "media_id", "master_file_name", "ingested_at"):
            assert getattr(event, name) == row[name]
        assert sample.raw == orjson.loads(str(row["raw_data"]))
        assert (event.media_ids is None) == (row["media_ids"] is None)
        assert row["created_at"] == NOW
        assert row["event_date"] == event.ingested_at.date()

    def test_the_fast_way_makes_what_validation_makes(self, sample: Any) -> None:
        """An assembled row equals a validated one, in values, types and order."""
        fast = EventRow.from_event(parse_event(sample.value, record_timestamp_ms=5, now=NOW), NOW).to_row()
        slow = EventRow(**fast).to_row()
        assert list(slow.items()) == list(fast.items())
        assert [type(value) for value in slow.values()] == [type(value) for value in fast.values()]

    def test_the_day_is_that_of_utc(self) -> None:
        """Late evening in the west is the next day."""
        raw = b'{"eventType":"X","projectId":1,"IngestionTime":"2026-03-02T23:30:00-05:00"}'
        row = EventRow.from_event(parse_event(raw, record_timestamp_ms=5, now=NOW), NOW)
        assert row.event_date == date(2026, 3, 3)

    def test_links_in_the_payload_lose_their_query_unless_they_are_kept(self) -> None:
        """[SEC-8], settled point 18."""
        raw = (
            b'{"eventType":"X","projectId":1,"n":123456789012345678901234567890,"l":["https://a.example.com/f?sig=S"]}'
        )
        event = parse_event(raw, record_timestamp_ms=5, now=NOW)
        assert '"https://a.example.com/f"' in str(EventRow.from_event(event, NOW).raw_data)
        assert "123456789012345678901234567890" in str(EventRow.from_event(event, NOW).raw_data)
        assert "sig=S" in str(EventRow.from_event(event, NOW, signed_links=True).raw_data)


def test_an_error_text_of_the_inventory_is_cut() -> None:
    """At most 500 characters (9.10)."""
    row = AttachmentRow(media_id="1", project_id="1", status="failed", error_message="x" * 600)
    assert row.error_message == "x" * 500
    assert AttachmentRow(media_id="1", project_id="1", status="failed").error_message is None
