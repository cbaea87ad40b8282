"""Entities in a real Delta table: what wins, what stays, what is never lost (I3, I4, I6)."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.schemas.contact_id import ContactType
from kafka_pipeline.claimx.schemas.entities import (
    ContactRow,
    ExternalLinkRow,
    MediaMetadataRow,
    ProjectRow,
    TaskRow,
    TaskTemplateRow,
    VideoCollabRow,
)
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.claimx.writers.tables import (
    ATTACHMENTS,
    CONTACTS,
    EXTERNAL_LINKS,
    MEDIA,
    PROJECTS,
    TABLES,
    TASK_TEMPLATES,
    TASKS,
    VIDEO_COLLAB,
)
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter

T0 = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
LINK = "https://media.s3.example.com/f/7.mp4?X-Amz-Signature=SECRET#x"
CUT = "https://media.s3.example.com/f/7.mp4"


def at(minutes: float) -> datetime:
    """Return a time of observation."""
    return T0 + timedelta(minutes=minutes)


def contact(**columns: Any) -> ContactRow:
    """Return the policyholder's row."""
    return ContactRow(**({"contact_id": "c1", "project_id": "1", "contact_type": ContactType.POLICYHOLDER} | columns))


def call(**columns: Any) -> VideoCollabRow:
    """Return a video call's row."""
    return VideoCollabRow(**({"collaboration_id": "9", "video_collaboration_id": "9", "project_id": "1"} | columns))


def success(minutes: float, status: str, **columns: Any) -> AttachmentRow:
    """Return the row of a file that is in the lake."""
    row = {"media_id": "7", "project_id": "1", "blob_path": "claimx/1/7/a.mp4", "content_sha256": "ab"}
    return AttachmentRow(**(row | {"status": status, "downloaded_at": at(minutes)} | columns))


def failure(status: str = "failed", **columns: Any) -> AttachmentRow:
    """Return the row of a file that could not be stored."""
    row = {"media_id": "7", "project_id": "1", "blob_path": "claimx/1/7/b.mp4", "error_category": "transient"}
    return AttachmentRow(**(row | {"status": status, "error_message": "it failed"} | columns))


async def orders(
    writer: EntityTableWriter, look: Any, spec: TableSpec, table: str, rows: list[Any], columns: list[str]
) -> list[Any]:
    """Write rows in every order, one write after the other and all in one; return the distinct outcomes.

    Each order uses keys of its own, so that a few writes serve all of them.
    """
    permutations = [
        [row.model_copy(update={key: f"{getattr(row, key)}-{number:03}" for key in spec.keys}) for row in order]
        for number, order in enumerate(itertools.permutations(rows))
    ]
    for step in zip(*permutations, strict=True):
        await writer.merge_rows(table, step)
    together = [
        row.model_copy(update={key: f"{getattr(row, key)}-together" for key in spec.keys})
        for order in permutations
        for row in order
    ]
    await writer.merge_rows(table, together)
    outcomes = {tuple(row[column] for column in columns) for row in look(spec)}
    return sorted(outcomes, key=repr)


class TestEveryTable:
    """What holds for all of them."""

    ROWS = (
        ("write_projects", PROJECTS, ProjectRow(project_id="1", last_enriched_at=T0)),
        ("write_contacts", CONTACTS, contact(last_enriched_at=T0)),
        ("write_media", MEDIA, MediaMetadataRow(media_id="7", project_id="1", latitude=1.5, last_enriched_at=T0)),
        ("write_tasks", TASKS, TaskRow(task_id="8", assignment_id="8", project_id="1", last_enriched_at=T0)),
        ("write_task_templates", TASK_TEMPLATES, TaskTemplateRow(template_id="4", project_id="1")),
        ("write_external_links", EXTERNAL_LINKS, ExternalLinkRow(link_id="5", url=LINK)),
        ("write_video_collab", VIDEO_COLLAB, call(recording_urls=[LINK])),
        ("write_attachments", ATTACHMENTS, success(0, "uploaded")),
    )

    @pytest.mark.parametrize(("method", "spec", "row"), ROWS, ids=[name for name, _, _ in ROWS])
    async def test_a_row_is_written_once_and_keeps_its_birth(
        self, writer: EntityTableWriter, clock: Any, look: Any, method: str, spec: TableSpec, row: Any
    ) -> None:
        """Written again it stays one row; created_at survives, updated_at is the last accepted write (I4, I6)."""
        born = clock.now()
        await getattr(writer, method)([row])
        again = clock.go_on(days=1)
        await getattr(writer, method)([row, row])
        (stored,) = look(spec)
        assert stored["created_at"] == born
        if spec is TASK_TEMPLATES:
            assert stored["updated_at"] == born
        else:
            assert stored["updated_at"] == again

    @pytest.mark.parametrize(("method", "spec", "row"), ROWS, ids=[name for name, _, _ in ROWS])
    async def test_a_row_comes_back_as_it_was_given(
        self, writer: EntityTableWriter, look: Any, method: str, spec: TableSpec, row: Any
    ) -> None:
        """Every column, but for what the writer stamps and cuts."""
        await getattr(writer, method)([row])
        (stored,) = look(spec)
        for name, value in row.to_row().items():
            if name not in {"created_at", "updated_at", "created_date", "url", "recording_urls"}:
                assert (name, stored[name]) == (name, value)

    @pytest.mark.parametrize(("method", "spec", "row"), ROWS, ids=[name for name, _, _ in ROWS])
    async def test_nothing_is_no_write(
        self, writer: EntityTableWriter, tmp_path: Path, method: str, spec: TableSpec, row: Any
    ) -> None:
        """Empty input does not even create the table [MRG-7]."""
        await getattr(writer, method)([])
        assert not (tmp_path / "Tables" / spec.name).exists()

    async def test_rows_of_many_tables_go_each_to_its_own(self, writer: EntityTableWriter, look: Any) -> None:
        """One call, all tables, all durable when it returns."""
        await writer.write([row for _, _, row in self.ROWS])
        assert [len(look(spec)) for _, spec, _ in self.ROWS] == [1] * 8

    async def test_a_table_that_refuses_does_not_stop_the_others(self, writer: EntityTableWriter, look: Any) -> None:
        """The others are durable, and the failure is told."""
        bad = TaskRow(task_id="8", assignment_id="8", project_id="1").model_copy(update={"task_id": None})
        with pytest.raises(PipelineError) as caught:
            await writer.write([bad, ProjectRow(project_id="1"), contact()])
        assert caught.value.category is Category.PERMANENT
        assert len(look(PROJECTS)) == len(look(CONTACTS)) == 1

    async def test_the_keys_guard_against_a_mistaken_table(self, writer: EntityTableWriter, look: Any) -> None:
        """merge_keys must be the table's own (WP-4.1, WP-4.2)."""
        await writer.merge_rows("projects", [{"project_id": "1", "status": "Active"}], ["project_id"])
        assert look(PROJECTS)[0]["status"] == "Active"
        with pytest.raises(ValueError, match="project_id"):
            await writer.merge_rows("projects", [{"project_id": "1"}], ["media_id"])
        for name in ("events", "claimx_projects", ""):
            with pytest.raises(ValueError, match="no entity table"):
                await writer.merge_rows(name, [{"project_id": "1"}])

    async def test_a_column_that_is_new_is_added(self, writer: EntityTableWriter, tmp_path: Path, look: Any) -> None:
        """A table made before a column existed gains it, and keeps those that we do not know [MRG-7]."""
        older = PROJECTS.schema.remove(PROJECTS.names.index("company_name")).append(
            PROJECTS.schema.field("company_name").with_name("of_someone_else")
        )
        (tmp_path / "Tables").mkdir()
        DeltaTable.create(str(tmp_path / "Tables" / PROJECTS.name), older)
        await writer.write_projects([ProjectRow(project_id="1", company_name="Example Mutual")])
        (stored,) = look(PROJECTS)
        assert stored["company_name"] == "Example Mutual"
        assert "of_someone_else" in stored

    async def test_created_date_is_the_day_of_birth(self, writer: EntityTableWriter, clock: Any, look: Any) -> None:
        """Contacts and attachments: UTC date of created_at, kept (9.4, 9.10)."""
        for _ in range(2):
            await writer.write([contact(), success(0, "uploaded")])
            clock.go_on(days=1)
        assert look(CONTACTS)[0]["created_date"] == look(ATTACHMENTS)[0]["created_date"] == date(2026, 3, 4)

    async def test_the_date_of_a_call_stays_claimxs_own(self, writer: EntityTableWriter, look: Any) -> None:
        """created_date of calls, projects and links is text of the API [CNV-3]."""
        await writer.write_video_collab([call(created_date="2026-03-02T15:00:00.000+00:00")])
        assert look(VIDEO_COLLAB)[0]["created_date"] == "2026-03-02T15:00:00.000+00:00"


class TestObservations:
    """Older never overwrites newer, partial never empties (I4)."""

    async def test_a_partial_row_never_empties_a_column(self, writer: EntityTableWriter, look: Any) -> None:
        """Null means "not carried" [MRG-1]."""
        await writer.write_projects([ProjectRow(project_id="1", status="Active", city="Town", last_enriched_at=at(0))])
        await writer.write_projects([ProjectRow(project_id="1", status="Closed", last_enriched_at=at(1))])
        stored = look(PROJECTS)[0]
        assert (stored["status"], stored["city"], stored["last_enriched_at"]) == ("Closed", "Town", at(1))

    async def test_an_older_row_only_fills_gaps(self, writer: EntityTableWriter, look: Any) -> None:
        """[MRG-2]: and does not take the credit."""
        newer = ProjectRow(project_id="1", status="Closed", last_enriched_at=at(1), source_event_id="new")
        older = ProjectRow(project_id="1", status="Active", city="Town", last_enriched_at=at(0), source_event_id="old")
        outcomes = await orders(
            writer, look, PROJECTS, "projects", [newer, older],
            ["status", "city", "last_enriched_at", "source_event_id"],
        )  # fmt: skip
        assert outcomes == [("Closed", "Town", at(1), "new")]

    async def test_invitations_keep_the_earliest_time(self, writer: EntityTableWriter, look: Any) -> None:
        """In any order, whatever the guard says [MRG-4]."""
        rows = [
            ProjectRow(project_id="1", policyholder_invited_at=at(5)),
            ProjectRow(project_id="1", policyholder_invited_at=at(3), policyholder_joined_at=at(9)),
            ProjectRow(project_id="1", status="Active", last_enriched_at=at(7)),
        ]
        outcomes = await orders(
            writer, look, PROJECTS, "projects", rows, ["policyholder_invited_at", "policyholder_joined_at", "status"]
        )
        assert outcomes == [(at(3), at(9), "Active")]

    async def test_the_latest_master_file_name_wins_in_any_order(self, writer: EntityTableWriter, look: Any) -> None:
        """By its own time: a later API read that carries none does not age it [settled point 2]."""
        rows = [
            ProjectRow(project_id="1", master_file_name="M-event", last_enriched_at=at(5)),
            ProjectRow(project_id="1", master_file_name="M-api", city="Town", last_enriched_at=at(3)),
            ProjectRow(project_id="1", status="Active", last_enriched_at=at(9)),
        ]
        outcomes = await orders(
            writer, look, PROJECTS, "projects", rows,
            ["master_file_name", "master_file_name_observed_at", "status", "last_enriched_at"],
        )  # fmt: skip
        assert outcomes == [("M-event", at(5), "Active", at(9))]

    async def test_joined_never_returns_to_invited(self, writer: EntityTableWriter, look: Any) -> None:
        """In any order and batching [CON-4, MRG-4]."""
        rows = [
            contact(invite_status="INVITED", last_enriched_at=at(9)),
            contact(invite_status="JOINED", last_enriched_at=at(1)),
            contact(first_name="Pat", last_enriched_at=at(5)),
        ]
        outcomes = await orders(writer, look, CONTACTS, "contacts", rows, ["invite_status", "first_name"])
        assert outcomes == [("JOINED", "Pat")]

    async def test_a_finished_call_never_returns_to_invited(self, writer: EntityTableWriter, look: Any) -> None:
        """In any order [MRG-4]; other values follow the guard."""
        rows = [
            call(status="INVITED", last_enriched_at=at(9)),
            call(status="COMPLETED", number_of_videos=1, last_enriched_at=at(1)),
        ]
        outcomes = await orders(writer, look, VIDEO_COLLAB, "video_collab", rows, ["status", "number_of_videos"])
        assert outcomes == [("COMPLETED", 1)]

    async def test_the_primary_policyholder_stays_primary(self, writer: EntityTableWriter, look: Any) -> None:
        """A's true wins over C's false in any order [settled point 3]."""
        rows = [
            contact(is_primary_contact=True, last_enriched_at=at(1)),
            contact(is_primary_contact=False, last_enriched_at=at(9)),
            contact(invite_status="JOINED", last_enriched_at=at(5)),
        ]
        assert await orders(writer, look, CONTACTS, "contacts", rows, ["is_primary_contact"]) == [(True,)]

    async def test_a_representative_can_cease_to_be_primary(self, writer: EntityTableWriter, look: Any) -> None:
        """B follows the guard: the later export is right."""
        rep = ContactType.CLAIM_REP
        rows = [
            contact(contact_type=rep, is_primary_contact=True, last_enriched_at=at(1)),
            contact(contact_type=rep, is_primary_contact=False, last_enriched_at=at(9)),
        ]
        assert await orders(writer, look, CONTACTS, "contacts", rows, ["is_primary_contact"]) == [(False,)]

    async def test_a_contact_is_one_per_project(self, writer: EntityTableWriter, look: Any) -> None:
        """The key has two parts."""
        await writer.write_contacts([contact(), contact(project_id="2"), contact()])
        assert [(row["contact_id"], row["project_id"]) for row in look(CONTACTS)] == [("c1", "1"), ("c1", "2")]

    async def test_templates_are_inserted_and_never_changed(self, writer: EntityTableWriter, look: Any) -> None:
        """The first one stays, also within a batch (9.1)."""
        first, second = (TaskTemplateRow(template_id="4", project_id="1", name=name) for name in ("one", "two"))
        await writer.write_task_templates([first, second])
        await writer.write_task_templates([second])
        assert [row["name"] for row in look(TASK_TEMPLATES)] == ["one"]

    async def test_a_file_of_two_projects_stays_with_the_first(self, writer: EntityTableWriter, look: Any) -> None:
        """The project of its first row [settled point 22]."""
        await writer.write_media([MediaMetadataRow(media_id="7", project_id="1", last_enriched_at=at(0))])
        await writer.write_media([MediaMetadataRow(media_id="7", project_id="2", last_enriched_at=at(1))])
        assert [row["project_id"] for row in look(MEDIA)] == ["1"]

    async def test_a_count_of_visits_is_not_set_back(self, writer: EntityTableWriter, look: Any) -> None:
        """accessed_count is zero on insert only (9.8)."""
        await writer.write_external_links([ExternalLinkRow(link_id="5")])
        assert look(EXTERNAL_LINKS)[0]["accessed_count"] == 0
        await writer.write_external_links([ExternalLinkRow(link_id="6", accessed_count=3)])
        await writer.write_external_links([ExternalLinkRow(link_id="6")])
        assert look(EXTERNAL_LINKS)[1]["accessed_count"] == 3


class TestInventory:
    """What is known of a file [INV-1]."""

    COLUMNS = ("status", "error_category", "error_message", "blob_path", "content_sha256", "downloaded_at")

    def state(self, look: Any) -> tuple[Any, ...]:
        """Return the columns that the rule is about."""
        (row,) = look(ATTACHMENTS)
        return tuple(row[name] for name in self.COLUMNS)

    async def test_uploaded_never_replaces_completed_of_the_same_download(
        self, writer: EntityTableWriter, look: Any
    ) -> None:
        """In any order."""
        rows = [success(0, "uploaded"), success(0, "completed")]
        assert await orders(writer, look, ATTACHMENTS, "attachments", rows, ["status"]) == [("completed",)]

    async def test_a_later_download_replaces_an_earlier_one(self, writer: EntityTableWriter, look: Any) -> None:
        """In any order: the later one's status and hash."""
        rows = [success(0, "completed"), success(5, "uploaded", content_sha256="cd")]
        outcomes = await orders(
            writer, look, ATTACHMENTS, "attachments", rows, ["status", "content_sha256", "downloaded_at"]
        )
        assert outcomes == [("uploaded", "cd", at(5))]

    @pytest.mark.parametrize("status", ["uploaded", "completed"])
    @pytest.mark.parametrize("failed", ["failed", "failed_permanent"])
    async def test_a_failure_changes_nothing_of_a_success(
        self, writer: EntityTableWriter, look: Any, status: str, failed: str
    ) -> None:
        """Neither before nor after, neither apart nor together: status, errors, path."""
        rows = [success(0, status), failure(failed, media_name="late")]
        outcomes = await orders(writer, look, ATTACHMENTS, "attachments", rows, list(self.COLUMNS))
        assert outcomes == [(status, None, None, "claimx/1/7/a.mp4", "ab", at(0))]

    async def test_a_late_failure_fills_no_gap_of_a_success(self, writer: EntityTableWriter, look: Any) -> None:
        """A failure changes status and error columns only."""
        await writer.write_attachments([success(0, "completed")])
        await writer.write_attachments([failure(media_name="late", file_type="mp4")])
        stored = look(ATTACHMENTS)[0]
        assert (stored["media_name"], stored["file_type"]) == (None, None)

    async def test_a_failure_is_recorded_and_followed(self, writer: EntityTableWriter, look: Any) -> None:
        """It inserts; a later failure changes it; a success clears it."""
        await writer.write_attachments([failure()])
        assert self.state(look)[:3] == ("failed", "transient", "it failed")
        await writer.write_attachments([failure("failed_permanent", error_category="permanent", error_message=None)])
        assert self.state(look)[:3] == ("failed_permanent", "permanent", None)
        await writer.write_attachments([success(9, "uploaded")])
        assert self.state(look) == ("uploaded", None, None, "claimx/1/7/a.mp4", "ab", at(9))


class TestLinks:
    """Tables hold links without query [SEC-8, settled point 18]."""

    ROWS = (
        (MEDIA, "full_download_link", MediaMetadataRow(media_id="7", project_id="1", full_download_link=LINK)),
        (TASKS, "task_url", TaskRow(task_id="8", assignment_id="8", project_id="1", task_url=LINK)),
        (EXTERNAL_LINKS, "url", ExternalLinkRow(link_id="5", url=LINK)),
        (ATTACHMENTS, "download_url", success(0, "uploaded", download_url=LINK)),
        (VIDEO_COLLAB, "recording_urls", call(recording_urls=[LINK, CUT])),
    )

    async def test_queries_are_dropped(self, writer: EntityTableWriter, look: Any) -> None:
        """Whatever the caller gives."""
        await writer.write([row for _, _, row in self.ROWS])
        assert [look(spec)[0][column] for spec, column, _ in self.ROWS] == [CUT, CUT, CUT, CUT, [CUT, CUT]]

    async def test_queries_are_kept_where_the_setting_says_so(self, lake: LakeWriter, clock: Any, look: Any) -> None:
        """`claimx_store_signed_links`."""
        await EntityTableWriter(lake, clock=clock, signed_links=True).write([row for _, _, row in self.ROWS])
        assert [look(spec)[0][column] for spec, column, _ in self.ROWS] == [LINK, LINK, LINK, LINK, [LINK, CUT]]


class TestQuestions:
    """What handlers ask before they call the API."""

    async def test_known_projects_are_found(self, writer: EntityTableWriter) -> None:
        """Those of the ids, and no others [HND-1]."""
        assert await writer.existing_projects(["1"]) == set()
        await writer.write_projects([ProjectRow(project_id=str(n)) for n in range(1, 6)])
        assert await writer.existing_projects(["2", "4", "77", "it's"]) == {"2", "4"}
        assert await writer.existing_projects([]) == set()

    async def test_stored_files_are_found(self, writer: EntityTableWriter) -> None:
        """Status, path, hash, time, size and type of the download, by media id [HND-5]."""
        assert await writer.stored_media(["7"]) == {}
        done = success(0, "completed", bytes_downloaded=9, content_type="video/mp4")
        await writer.write_attachments([done, failure(media_id="8")])
        assert await writer.stored_media({"7", "8", "9"}) == {
            "7": StoredMedia("completed", "claimx/1/7/a.mp4", "ab", done.downloaded_at, 9, "video/mp4"),
            "8": StoredMedia("failed", "claimx/1/7/b.mp4", None, None),
        }


def test_every_entity_table_can_be_written() -> None:
    """The convenience methods are complete (WP-4.2)."""
    assert {f"write_{name}" for name in TABLES if name != "events"} <= set(dir(EntityTableWriter))
