"""Promises of the enricher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip, Wait

New = Callable[..., Any]


@pytest.fixture
def watched_worker(topics: Topics, api: Any, watched: Any, clock: Any) -> ClaimXEnrichmentWorker:
    """Return a worker on that writer and clock."""
    return ClaimXEnrichmentWorker(topics=topics, api=api, writer=watched, clock=clock)


@pytest.fixture
def worker(topics: Topics, api: Any, entities: EntityTableWriter) -> ClaimXEnrichmentWorker:
    """Return the worker."""
    return ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities)


def downloads(outcomes: Sequence[Outcome]) -> list[ClaimXDownloadTask]:
    """Return the download tasks that follow, those of failed events included."""
    messages = [message for outcome in outcomes if not isinstance(outcome, Skip | Wait) for message in outcome.messages]
    return [ClaimXDownloadTask.from_bytes(message.value) for message in messages]


def queued(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the media ids of these download tasks."""
    return [task.media_id for task in downloads(outcomes)]


def counts(name: str, label: str, *values: str) -> list[float]:
    """Return a counter's samples."""
    return [REGISTRY.get_sample_value(name, {label: value}) or 0.0 for value in values]


async def acknowledge(outcomes: Sequence[Outcome]) -> None:
    """Do what the loop does once the messages are acknowledged."""
    for outcome in outcomes:
        if isinstance(outcome, Done) and outcome.cleanup is not None:
            await outcome.cleanup()


async def test_ten_file_events_of_a_project_are_one_call(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New
) -> None:
    """[HND-4] One media call, one project call; a row and one download for every file; all durable on return."""
    api.files["900001"] = [str(7100000 + number) for number in range(10)]
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 900001, mediaId=7100000 + n) for n in range(10)])
    assert [type(outcome) for outcome in outcomes] == [Done] * 10
    assert (api.count("media"), api.count("project")) == (1, 1)
    assert sorted(queued(outcomes)) == api.files["900001"]
    assert sorted(row["media_id"] for row in rows("claimx_media")) == api.files["900001"]
    assert [row["project_id"] for row in rows("claimx_projects")] == ["900001"]


async def test_events_of_some_projects_cost_one_project_call_each(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[HND-2] However many events, of whatever types; and none for projects that are known."""
    batch = [task(kind, project) for project in (1, 2, 3) for kind in ("PROJECT_CREATED", "PROJECT_FILE_ADDED") * 4]
    await worker.process(batch)
    assert api.count("project") == 3
    await worker.process([task("PROJECT_FILE_ADDED", project) for project in (1, 2, 3)])
    assert api.count("project") == 3


async def test_a_project_with_a_row_is_not_fetched(
    topics: Topics, api: Any, entities: EntityTableWriter, task: New
) -> None:
    """[HND-1] A new worker asks the table, not the API."""
    await ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities).process([task("PROJECT_CREATED", 1)])
    fresh = ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities)
    await fresh.process([task("PROJECT_FILE_ADDED", 1)])
    assert api.count("project") == 1


@pytest.mark.parametrize(
    ("category", "outcome"),
    [
        (Category.TRANSIENT, Retry),
        (Category.AUTH, Retry),
        (Category.CIRCUIT_OPEN, Retry),
        (Category.PERMANENT, Dead),
    ],
)
async def test_a_project_that_cannot_be_fetched_fails_its_own_events_alone(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New, category: Category, outcome: type[Outcome]
) -> None:
    """[HND-1] By the category of the failure; the neighbours have their rows."""
    api.failing["2"] = category
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", project) for project in (1, 2, 3)])
    assert [type(each) for each in outcomes] == [Done, outcome, Done]
    assert isinstance(outcomes[1], Retry | Dead)
    assert outcomes[1].reason == category.value
    assert not isinstance(outcomes[1], Retry) or outcomes[1].category is category
    assert {row["project_id"] for row in rows("claimx_projects")} == {"1", "3"}


async def test_the_pre_flight_looks_once_and_asks_for_what_is_missing(
    watched_worker: ClaimXEnrichmentWorker, watched: Any, worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[HND-1, HND-2] One look at the table for all projects, one call per missing one; later, neither."""
    await worker.process([task("PROJECT_CREATED", project) for project in (1, 2)])
    api.calls.clear()
    batch = [task("PROJECT_FILE_ADDED", project) for project in (1, 2, 3, 4)] * 3
    before = counts("claimx_preflight_projects_total", "found", "memory", "table", "api")
    await watched_worker.process(batch)
    assert watched.looked_up == [{"1", "2", "3", "4"}]
    assert {asked for asked in api.calls.items() if asked[0][0] == "project"} == {
        (("project", "3"), 1),
        (("project", "4"), 1),
    }
    after = counts("claimx_preflight_projects_total", "found", "memory", "table", "api")
    assert [new - old for old, new in zip(before, after, strict=True)] == [0, 2, 2]
    await watched_worker.process(batch)
    assert len(watched.looked_up) == 1
    assert api.count("project") == 2
    assert counts("claimx_preflight_projects_total", "found", "memory", "table", "api")[0] == after[0] + 4


async def test_a_created_project_is_left_to_its_handler(
    watched_worker: ClaimXEnrichmentWorker, watched: Any, api: Any, task: New, rows: New
) -> None:
    """[HND-1] No look-up, one call, also with other events of the project in the batch; then it is known."""
    api.files["1"] = ["71"]
    await watched_worker.process([task("PROJECT_FILE_ADDED", 1), task("PROJECT_CREATED", 1)])
    await watched_worker.process([task("PROJECT_FILE_ADDED", 1)])
    assert watched.looked_up == []
    assert api.count("project") == 1
    assert [row["project_id"] for row in rows("claimx_projects")] == ["1"]


async def test_a_known_project_is_looked_up_again_after_half_an_hour(
    watched_worker: ClaimXEnrichmentWorker, watched: Any, clock: Any, api: Any, task: New
) -> None:
    """[HND-2] In the table; its row is still there, so the API is not asked."""
    for minutes, lookups in ((0, 1), (29, 1), (1, 2)):
        clock.time += timedelta(minutes=minutes)
        await watched_worker.process([task("PROJECT_FILE_ADDED", 1)])
        assert len(watched.looked_up) == lookups
    assert api.count("project") == 1


@pytest.mark.parametrize("event_type", ["PROJECT_CREATED", "PROJECT_FILE_ADDED"])
async def test_a_project_that_could_not_be_fetched_is_not_known(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New, event_type: str
) -> None:
    """[HND-1] The next event of the project asks again."""
    api.failing["1"] = Category.TRANSIENT
    [failed] = await worker.process([task(event_type, 1)])
    assert isinstance(failed, Retry)
    api.failing.clear()
    assert isinstance((await worker.process([task("PROJECT_FILE_ADDED", 1)]))[0], Done)
    assert [row["project_id"] for row in rows("claimx_projects")] == ["1"]


@pytest.mark.parametrize("event_type", ["PROJECT_CREATED", "PROJECT_FILE_ADDED"])
async def test_a_project_whose_row_could_not_be_written_is_not_known(
    watched_worker: ClaimXEnrichmentWorker, watched: Any, task: New, rows: New, event_type: str
) -> None:
    """[HND-1] Known means that the row is durable: else the project's later events would be done without it."""
    watched.failures = 1
    with pytest.raises(PipelineError, match="cannot go in"):
        await watched_worker.process([task(event_type, 1)])
    await watched_worker.process([task("PROJECT_FILE_ADDED", 1)])
    assert [row["project_id"] for row in rows("claimx_projects")] == ["1"]


@pytest.mark.parametrize("event_type", ["PROJECT_CREATED", "PROJECT_FILE_ADDED"])
async def test_what_nobody_foresaw_fails_the_events_of_its_project_alone(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, event_type: str
) -> None:
    """[HND-10] Raised in a handler or in the pre-flight: it is reported, and the neighbours need no second call."""
    api.broken.add("2")
    outcomes = await worker.process([task(event_type, project) for project in (1, 2, 3)])
    assert [type(each) for each in outcomes] == [Done, Retry, Done]
    assert isinstance(outcomes[1], Retry)
    assert outcomes[1].category is Category.UNKNOWN
    assert api.count("project") == 3


async def test_a_failed_pre_flight_is_logged(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """Without it nobody would learn which project keeps its events waiting."""
    api.failing["2"] = Category.AUTH
    with capture_logs() as logs:
        await worker.process([task("PROJECT_FILE_ADDED", project) for project in (1, 2, 2)])
    [entry] = [entry for entry in logs if entry["event"] == "project_not_fetched"]
    assert (entry["project_id"], entry["category"], entry["log_level"]) == ("2", "auth", "warning")


async def test_outcomes_wait_for_their_rows(
    watched_worker: ClaimXEnrichmentWorker, watched: Any, api: Any, task: New, rows: New
) -> None:
    """(I1) While rows are on their way there is no outcome, so nothing is committed."""
    api.files["1"] = ["71"]
    watched.free.clear()
    batch = asyncio.create_task(watched_worker.process([task("PROJECT_CREATED", 1), task("PROJECT_FILE_ADDED", 1)]))
    await watched.called.wait()
    assert not batch.done()
    assert rows("claimx_media") == rows("claimx_projects") == []
    watched.free.set()
    assert [type(outcome) for outcome in await batch] == [Done, Done]
    assert len(rows("claimx_media")) == len(rows("claimx_projects")) == 1


async def test_a_file_event_of_a_project_that_nobody_knows_is_not_found(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[7.2] The pre-flight names it as the handler does, and its file list is not asked for."""
    api.unknown.add("2")
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 2), task("PROJECT_MFN_ADDED", 2, masterFileName="M")])
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Dead)] == ["not_found", "not_found"]
    assert (api.count("project"), api.count("media")) == (1, 0)


async def test_what_the_service_does_not_know_is_named_so(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """404 is permanent, with a reason of its own [7.2]."""
    api.unknown.add("2")
    [outcome] = await worker.process([task("PROJECT_CREATED", 2)])
    assert isinstance(outcome, Dead)
    assert outcome.reason == "not_found"


async def test_types_without_a_handler_are_skipped_without_a_call(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[EVT-1] And they cost no pre-flight either (settled point 24)."""
    assert await worker.process([task("PROJECT_CONVERSATION", 1)]) == [Skip(reason="unsupported_event_type")]
    assert not api.calls


async def test_a_task_that_cannot_be_read_fails_alone(worker: ClaimXEnrichmentWorker, record: New, task: New) -> None:
    """Its neighbours are enriched."""
    outcomes = await worker.process([record(b"{}"), task("PROJECT_CREATED", 1), record(None)])
    assert [type(outcome) for outcome in outcomes] == [Dead, Done, Dead]


async def test_a_file_that_is_not_listed_yet_fails_its_event_and_the_others_are_fetched(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, rows: New
) -> None:
    """[HND-4] What is true beside the failure is kept: rows and downloads of the files that are there."""
    api.files["1"] = ["71", "72"]
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 1, mediaId=99)])
    [outcome] = outcomes
    assert isinstance(outcome, Retry)
    assert outcome.category is Category.TRANSIENT
    assert sorted(queued(outcomes)) == ["71", "72"]
    assert len(rows("claimx_media")) == 2


async def test_a_burst_of_events_queues_each_file_once(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """[HND-5] Once per batch; and not again in the next one, as soon as the first is acknowledged."""
    api.files["1"] = ["71", "72"]
    first = await worker.process([task("PROJECT_FILE_ADDED", 1), task("PROJECT_MFN_ADDED", 1, masterFileName="M")])
    assert sorted(queued(first)) == ["71", "72"]
    unacknowledged = await worker.process([task("PROJECT_FILE_ADDED", 1)])
    assert sorted(queued(unacknowledged)) == ["71", "72"], "what is not acknowledged may be lost, so it is queued again"
    await acknowledge(first)
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == []
    api.files["1"].append("73")
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["73"]


async def test_a_file_beside_a_missing_one_is_queued_once_and_by_one_event(
    worker: ClaimXEnrichmentWorker, topics: Topics, api: Any, task: New
) -> None:
    """[HND-4, HND-5] Three events of a project, one of which waits for its file: its neighbours are done."""
    api.files["1"] = ["71", "72"]
    outcomes = await worker.process([task("PROJECT_FILE_ADDED", 1, mediaId=each) for each in (71, 99, 72)])
    assert [type(outcome) for outcome in outcomes] == [Done, Retry, Done]
    assert sorted(queued(outcomes)) == ["71", "72"]
    messages = [message for outcome in outcomes if isinstance(outcome, Done | Retry) for message in outcome.messages]
    assert {(message.topic, message.key) for message in messages} == {
        (topics.downloads_pending, b"71"),
        (topics.downloads_pending, b"72"),
    }


async def test_a_file_that_a_list_names_twice_is_queued_once(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[HND-5] A crooked list costs no second download."""
    api.files["1"] = ["71", "72", "71"]
    assert sorted(queued(await worker.process([task("PROJECT_FILE_ADDED", 1)]))) == ["71", "72"]


async def test_a_queued_file_that_is_not_stored_is_queued_again_after_ten_minutes(
    watched_worker: ClaimXEnrichmentWorker, clock: Any, api: Any, task: New
) -> None:
    """[HND-5] The memory is short: it spares work, and the inventory says what is stored."""
    api.files["1"] = ["71"]
    await acknowledge(await watched_worker.process([task("PROJECT_FILE_ADDED", 1)]))
    clock.time += timedelta(minutes=9)
    assert queued(await watched_worker.process([task("PROJECT_FILE_ADDED", 1)])) == []
    clock.time += timedelta(minutes=1)
    assert queued(await watched_worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["71"]


async def test_a_file_that_is_renamed_just_after_it_was_queued_is_queued_again(
    worker: ClaimXEnrichmentWorker, api: Any, task: New
) -> None:
    """[HND-5] A changed name is the only change that can be seen before the download."""
    api.files["1"] = ["71", "72"]
    await acknowledge(await worker.process([task("PROJECT_FILE_ADDED", 1)]))
    api.names["71"] = "renamed.jpg"
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["71"]


async def test_a_file_that_two_projects_list_is_queued_for_the_one_that_has_its_row(
    worker: ClaimXEnrichmentWorker, topics: Topics, api: Any, entities: EntityTableWriter, task: New, rows: New
) -> None:
    """[settled point 22] Else each event of either would fetch it again; a new worker decides the same."""
    api.files |= {"1": ["71"], "2": ["71"]}
    batch = [task("PROJECT_FILE_ADDED", project) for project in (1, 2)]
    [before] = counts("claimx_downloads_queued_total", "decision", "of_another_project")
    outcomes = await worker.process(batch)
    assert [type(outcome) for outcome in outcomes] == [Done, Done]
    [download] = downloads(outcomes)
    [row] = rows("claimx_media")
    assert download.project_id == row["project_id"]
    assert counts("claimx_downloads_queued_total", "decision", "of_another_project") == [before + 1]
    again = await ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities).process(batch[::-1])
    assert [each.project_id for each in downloads(again)] == [download.project_id]


async def test_a_redelivered_batch_adds_no_row(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, topics: Topics, entities: EntityTableWriter, rows: New
) -> None:
    """(I6) To the same worker, and to one that starts anew."""
    api.files["1"] = ["71", "72"]
    batch = [task("PROJECT_CREATED", 1), task("PROJECT_FILE_ADDED", 1), task("PROJECT_FILE_ADDED", 2)]
    for each in (worker, worker, ClaimXEnrichmentWorker(topics=topics, api=api, writer=entities)):
        await each.process(batch)
        assert sorted(row["project_id"] for row in rows("claimx_projects")) == ["1", "2"]
        assert sorted(row["media_id"] for row in rows("claimx_media")) == ["71", "72"]


async def test_every_file_is_counted_by_what_was_decided(
    worker: ClaimXEnrichmentWorker, api: Any, task: New, entities: EntityTableWriter
) -> None:
    """[HND-5] queued, already_stored and queued_before are told apart."""
    api.files["1"] = ["71", "72", "73"]
    stored_at = datetime(2026, 3, 2, tzinfo=UTC)
    row = AttachmentRow(
        media_id="71",
        project_id="1",
        blob_path="claimx/1/71/71.jpg",
        status=AttachmentStatus.UPLOADED,
        downloaded_at=stored_at,
    )
    await entities.write_attachments([row])
    decisions = ("queued", "already_stored", "queued_before")
    before = counts("claimx_downloads_queued_total", "decision", *decisions)
    await acknowledge(await worker.process([task("PROJECT_FILE_ADDED", 1)]))
    first = counts("claimx_downloads_queued_total", "decision", *decisions)
    await worker.process([task("PROJECT_FILE_ADDED", 1)])
    second = counts("claimx_downloads_queued_total", "decision", *decisions)
    assert [new - old for old, new in zip(before, first, strict=True)] == [2, 1, 0]
    assert [new - old for old, new in zip(first, second, strict=True)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("status", "again"),
    [
        (AttachmentStatus.UPLOADED, []),
        (AttachmentStatus.COMPLETED, []),
        (AttachmentStatus.FAILED, ["71"]),
        (AttachmentStatus.FAILED_PERMANENT, ["71"]),
    ],
)
async def test_a_file_in_the_inventory_is_not_fetched_again(
    worker: ClaimXEnrichmentWorker,
    api: Any,
    task: New,
    entities: EntityTableWriter,
    status: AttachmentStatus,
    again: list[str],
) -> None:
    """[HND-5] Stored means uploaded or completed, under the same path; a renamed file is another file."""
    api.files["1"] = ["71"]
    stored_at = datetime(2026, 3, 2, tzinfo=UTC) if not again else None
    await entities.write_attachments(
        [
            AttachmentRow(
                media_id="71", project_id="1", blob_path="claimx/1/71/71.jpg", status=status, downloaded_at=stored_at
            )
        ]
    )
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == again
    api.names["71"] = "renamed.jpg"
    assert queued(await worker.process([task("PROJECT_FILE_ADDED", 1)])) == ["71"]


async def test_every_event_is_counted_by_type_and_outcome(worker: ClaimXEnrichmentWorker, api: Any, task: New) -> None:
    """[HND-10] success, skipped, not_found, retry and dead_letter are told apart."""

    def count(event_type: str, outcome: str) -> float:
        labels = {"event_type": event_type, "outcome": outcome}
        return REGISTRY.get_sample_value("claimx_events_enriched_total", labels) or 0.0

    expected = [
        ("PROJECT_CREATED", "success"),
        ("other", "skipped"),
        ("PROJECT_CREATED", "not_found"),
        ("PROJECT_CREATED", "retry"),
        ("PROJECT_CREATED", "dead_letter"),
    ]
    before = [count(*labels) for labels in expected]
    api.unknown.add("2")
    api.failing["3"] = Category.TRANSIENT
    api.failing["4"] = Category.PERMANENT
    batch = [task("PROJECT_CREATED", number) for number in (1, 2, 3, 4)]
    await worker.process([*batch, task("PROJECT_CONVERSATION", 5)])
    assert [count(*labels) for labels in expected] == [value + 1 for value in before]


EXPORT = ("PROJECT_CREATED", "POLICYHOLDER_JOINED")
"""The types whose handlers read the project's export, known or not."""
MEDIA = ("PROJECT_FILE_ADDED", "PROJECT_MFN_ADDED")
UNROUTED = "PROJECT_CONVERSATION"

EVENTS = st.tuples(st.sampled_from((*EXPORT, *MEDIA, UNROUTED, "malformed")), st.sampled_from("1234"))
BATCHES = st.lists(st.tuples(st.lists(EVENTS, max_size=8), st.booleans()), max_size=4)
"""Batches of event type and project, and whether the batch is acknowledged."""


@pytest.mark.parametrize("ill", [{}, {"3": "failing", "4": "unknown"}, {"1": "broken", "2": "failing"}])
def test_whatever_the_batches_no_call_is_wasted_and_no_event_fails_another(
    new_api: New, memory_tables: New, topics: Topics, task: New, record: New, ill: dict[str, str]
) -> None:
    """[HND-1, 2, 4, 5, 10] A model of what each event must become, and of what may be asked and queued for it."""

    async def run(batches: list[tuple[list[tuple[str, str]], bool]]) -> None:
        api, tables = new_api(), memory_tables()
        api.files = {project: [f"{project}1", f"{project}2"] for project in "1234"}
        api.failing = {project: Category.TRANSIENT for project, how in ill.items() if how == "failing"}
        api.unknown = {project for project, how in ill.items() if how == "unknown"}
        api.broken = {project for project, how in ill.items() if how == "broken"}
        worker = ClaimXEnrichmentWorker(topics=topics, api=api, writer=tables)
        acknowledged: set[str] = set()
        for events, acknowledges in batches:
            had_row = set(tables.projects)
            api.calls.clear()
            outcomes = await worker.process(
                [record(b"{") if kind == "malformed" else task(kind, project) for kind, project in events]
            )
            assert [type(outcome) for outcome in outcomes] == [expected(*event, ill) for event in events]
            asked = {project for kind, project in events if kind in EXPORT + MEDIA}
            exports = {project for kind, project in events if kind in EXPORT}
            media = {project for kind, project in events if kind in MEDIA}
            calls = {project: api.calls["project", project] for project in "1234" if api.calls["project", project]}
            assert set(calls) == (asked - had_row) | exports
            # What nobody foresaw is tried again event by event, to find the event that causes it.
            assert all(count == 1 for project, count in calls.items() if project not in api.broken)
            assert all(api.calls["media", project] <= 1 for project in "1234" if project not in api.broken)
            assert {project for project in "1234" if api.calls["media", project]} - set(ill) == media - set(ill)
            assert tables.projects >= asked - set(ill)
            listed = {media_id for project in media - set(ill) for media_id in api.files[project]}
            assert sorted(queued(outcomes)) == sorted(listed - acknowledged)
            if acknowledges:
                await acknowledge(outcomes)
                acknowledged |= listed

    @settings(deadline=None, max_examples=60)
    @given(BATCHES)
    def check(batches: list[tuple[list[tuple[str, str]], bool]]) -> None:
        asyncio.run(run(batches))

    check()


def expected(kind: str, project: str, ill: dict[str, str]) -> type[Outcome]:
    """Return what must become of an event: by its own kind and its own project, whatever stands beside it."""
    if kind == "malformed":
        return Dead
    if kind == UNROUTED:
        return Skip
    return {"failing": Retry, "broken": Retry, "unknown": Dead}.get(ill.get(project, ""), Done)
