"""What every handler promises, shown on small ones, and which handler takes which event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import structlog

from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.claimx.handlers import CLAIMX_HANDLERS, BatchApi, build_handlers
from kafka_pipeline.claimx.handlers.base import EventHandler, Failed, HandlerResult, Rows
from kafka_pipeline.claimx.handlers.media import MediaHandler
from kafka_pipeline.claimx.schemas.entities import ENTITY_ROWS, ProjectRow
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.runtime.outcomes import Dead, Retry

SOON = datetime(2026, 3, 2, 14, 10, tzinfo=UTC)


class Recorder(EventHandler):
    """Remembers its groups; fails for events whose id says so."""

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    def __init__(self, context: Any) -> None:
        """Start with no groups."""
        super().__init__(context)
        self.groups: list[list[str]] = []

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: Any) -> list[HandlerResult]:
        """Fail, or return nothing much."""
        self.groups.append([task.event_id for task in tasks])
        for task in tasks:
            if task.event_id.startswith("bug"):
                raise KeyError("Pat Sample")
            if task.event_id.startswith("down"):
                raise PipelineError("status 500", Category.TRANSIENT)
        if tasks[0].event_id == "short":
            return []
        rows = Rows(projects=(ProjectRow(project_id=tasks[0].project_id),))
        return [HandlerResult(task=task, rows=rows) for task in tasks]


class Single(Recorder):
    """The same, one event at a time."""

    supports_batching: ClassVar[bool] = False


class MemoryWriter:
    """Remembers rows, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        """Take the error, if any."""
        self.rows: list[Row] = []
        self.error = error

    async def write(self, rows: Iterable[Row]) -> None:
        """Keep the rows."""
        if self.error is not None:
            raise self.error
        self.rows += rows


def test_every_routed_type_has_its_handler() -> None:
    """[EVT-1, EVT-3] All nine, and no other; the handler's name says what it is for."""
    assert {name: handler.__name__ for name, handler in CLAIMX_HANDLERS.items()} == {
        "PROJECT_CREATED": "ProjectHandler",
        "PROJECT_FILE_ADDED": "MediaHandler",
        "PROJECT_MFN_ADDED": "MediaHandler",
        "CUSTOM_TASK_ASSIGNED": "TaskHandler",
        "CUSTOM_TASK_COMPLETED": "TaskHandler",
        "POLICYHOLDER_INVITED": "PolicyholderHandler",
        "POLICYHOLDER_JOINED": "PolicyholderHandler",
        "VIDEO_COLLABORATION_INVITE_SENT": "VideoCollabHandler",
        "VIDEO_COLLABORATION_COMPLETED": "VideoCollabHandler",
    }
    assert set(CLAIMX_HANDLERS) == {member.value for member in EventType}


def test_types_of_one_class_share_one_instance() -> None:
    """So that their events share groups, too."""
    handlers = build_handlers()
    assert handlers["PROJECT_FILE_ADDED"] is handlers["PROJECT_MFN_ADDED"]
    assert set(handlers) == set(CLAIMX_HANDLERS)


async def test_groups_are_formed_by_the_batch_key_and_results_keep_the_order(
    api: Any, context: Any, event: Any
) -> None:
    """Interleaved events of two projects: two groups, results as the events came."""
    tasks = [event("X", event_id=f"{project}{number}", project_id=project) for number in "12" for project in "ab"]
    grouped, single = Recorder(context), Single(context)
    assert [result.task for result in await grouped.handle_batch(tasks, api)] == tasks
    assert sorted(grouped.groups) == [["a1", "a2"], ["b1", "b2"]]
    await single.handle_batch(tasks, api)
    assert sorted(single.groups) == [["a1"], ["a2"], ["b1"], ["b2"]]
    assert await grouped.handle_batch([], api) == []


async def test_a_bug_met_by_one_event_fails_that_event_alone(api: Any, context: Any, event: Any) -> None:
    """[HND-10] Its neighbours are tried again without it; the error is told without what it quoted [SEC-10]."""
    tasks = [event("X", event_id=name) for name in ("a", "bug", "b")]
    with structlog.testing.capture_logs() as logs:
        results = await Recorder(context).handle_batch(tasks, api)
    failure = results[1].failed
    assert failure is not None
    assert (
        results[0].failed,
        failure.category,
        failure.error_class,
        results[2].failed,
    ) == (None, Category.UNKNOWN, "KeyError", None)
    assert "enrich:" in failure.error_text
    assert "Pat" not in failure.error_text + repr(logs)
    assert [entry["log_level"] for entry in logs if entry["event"] == "event_not_enriched"] == ["error"]


async def test_a_reported_failure_fails_its_group_without_asking_again(api: Any, context: Any, event: Any) -> None:
    """A call that failed for the group is not repeated per event."""
    handler = Recorder(context)
    results = await handler.handle_batch([event("X", event_id=name) for name in ("a", "down", "b")], api)
    assert [result.failed and result.failed.category for result in results] == [Category.TRANSIENT] * 3
    assert len(handler.groups) == 1


async def test_a_handler_that_forgets_an_event_is_a_bug_not_a_loss(api: Any, context: Any, event: Any) -> None:
    """Every event gets a result, whatever the handler returns."""
    [result] = await Recorder(context).handle_batch([event("X", event_id="short")], api)
    assert result.failed is not None
    assert result.failed.category is Category.UNKNOWN


async def test_cancelling_ends_the_batch(context: Any, event: Any, api: Any) -> None:
    """A shutdown is not a failure of events."""
    started = asyncio.Event()

    class Waiting(Recorder):
        async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: Any) -> list[HandlerResult]:
            started.set()
            await asyncio.Event().wait()
            return []

    batch = asyncio.create_task(Waiting(context).handle_batch([event("X")], api))
    await started.wait()
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch


async def test_handle_enriches_one_event_and_writes_its_rows(api: Any, context: Any, event: Any) -> None:
    """(WP-3.1) The single form: rows through the writer, downloads for the caller."""
    writer = MemoryWriter()
    result = await MediaHandler(context).handle(event("PROJECT_FILE_ADDED", media_id="7100001"), api, writer)
    assert (
        [getattr(row, "media_id", None) for row in writer.rows],
        len(result.downloads),
        result.failed,
    ) == (["7100001", "7100002"], 2, None)


@pytest.mark.parametrize(
    ("error", "category"),
    [(PipelineError("lake away", Category.TRANSIENT), Category.TRANSIENT), (OSError("x"), Category.UNKNOWN)],
)
async def test_rows_that_cannot_be_written_fail_the_event_and_queue_nothing(
    api: Any, context: Any, event: Any, error: Exception, category: Category
) -> None:
    """No file is fetched for rows that are not there."""
    result = await MediaHandler(context).handle(event("PROJECT_FILE_ADDED"), api, MemoryWriter(error))
    assert result.failed is not None
    assert (category, ()) == (result.failed.category, result.downloads)


def test_failures_become_outcomes() -> None:
    """(7.1) Permanent is dead under its finer reason, everything else is retried, not before the service's time."""
    gone = Failed.of(PipelineError("project not found", Category.PERMANENT, reason="not_found"))
    assert gone.outcome() == Dead(reason="not_found", error_class="PipelineError", error_text="project not found")
    busy = ClaimXApiError("status 503", Category.TRANSIENT, method="GET", endpoint="/data", status=503, not_before=SOON)
    assert Failed.of(busy).outcome() == Retry(
        category=Category.TRANSIENT,
        error_class="ClaimXApiError",
        error_text="GET /data: status 503",
        reason="transient",
        not_before=SOON,
    )
    assert Category.UNKNOWN is Failed.of(ValueError("x")).category


def test_rows_have_one_place_per_entity_table() -> None:
    """A table without a field would lose its rows unnoticed."""
    row = ProjectRow(project_id="1")
    rows = Rows(projects=(row,)) + Rows(projects=(row,))
    assert ({"projects": (row, row)}, [row, row], 2) == (rows.by_table(), list(rows), len(rows))
    assert set(Rows.__dataclass_fields__) == {table.logical_table for table in ENTITY_ROWS}


async def test_a_batch_fetches_a_project_once(api: Any, api_error: Any, event: Any) -> None:
    """[HND-2] Answers and errors are remembered, also for those who ask at the same time; the rest passes.

    A project is asked for as of the youngest event that the batch has of it, whichever of them asks.
    """
    older, later = SOON - timedelta(minutes=1), SOON + timedelta(minutes=1)
    times = (("1", older), ("1", SOON), ("1", older), ("2", SOON), ("3", later))
    batch = BatchApi(api, [event("PROJECT_CREATED", project_id=project_id, created_at=at) for project_id, at in times])
    replies = await asyncio.gather(*(batch.get_project("1") for _ in range(3)))
    assert all(reply is replies[0] for reply in replies)
    api.project = api_error(Category.TRANSIENT)
    for _ in range(2):
        with pytest.raises(ClaimXApiError):
            await batch.get_project("2")
    await batch.get_project_media("1", as_of=SOON)
    await batch.get_custom_task("5", as_of=SOON)
    await batch.get_video_collaboration("6", "1", as_of=SOON)
    assert api.calls == [("project", "1"), ("project", "2"), ("media", "1"), ("task", "5"), ("video", "6", "1")]
    assert api.as_of == [SOON] * 5
