"""A batch costs as few calls as it can: the real worker with the real client, calls counted by the service itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.project_cache import ProjectCache
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.runtime.outcomes import Done
from kafka_pipeline.simulator.feed import FeedItem
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.vocabulary import MEDIA_TYPES, ROUTED_TYPES, TASK_TYPES, VIDEO_TYPES

BASE = "/service/cxedirest"
PROJECT, MEDIA = f"GET {BASE}/export/project/{{id}}", f"GET {BASE}/export/project/{{id}}/media"
TASK, REPORT = f"GET {BASE}/customTasks/assignment/{{id}}", f"POST {BASE}/data"


def total(name: str) -> float:
    """Return a metric, summed over its labels."""
    return sum(sample.value for metric in REGISTRY.collect() for sample in metric.samples if sample.name == name)


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Give a simulated ClaimX."""
    settings = SimulatorSettings(projects=12, media_per_project=8, events=400, malformed_share=0.0)
    async with Simulator(settings) as simulator:
        yield simulator


async def test_ten_file_events_of_a_project_in_a_batch_are_one_media_call(
    simulator: Simulator, enricher: Callable[..., Any], tale: Any
) -> None:
    """[HND-4] Each of them is done, and every listed file has its row."""
    worker, lake = await enricher(simulator.api_url, token=simulator.token)
    events = [item for item in simulator.feed() if item.event_type == "PROJECT_FILE_ADDED" and item.event]
    project_id = max(
        (item.event.project_id for item in events if item.event),
        key=lambda one: sum(1 for item in events if item.event and item.event.project_id == one),
    )
    of_one = [item for item in events if item.event and item.event.project_id == project_id]
    ten = (of_one * 10)[:10]
    outcomes = await worker.process(tale.records(ten))
    assert [type(outcome) for outcome in outcomes] == [Done] * 10
    assert (simulator.calls[MEDIA], simulator.calls[PROJECT], simulator.calls.total()) == (1, 1, 2)
    listed = simulator.world.projects[int(project_id)].media
    assert {row["media_id"] for row in lake.rows("media")} == {str(item.media_id) for item in listed}


@pytest.mark.parametrize("size", [30, 400])
async def test_events_over_some_projects_cost_at_most_as_many_project_calls(
    simulator: Simulator, enricher: Callable[..., Any], tale: Any, size: int
) -> None:
    """[HND-1, HND-2] Whatever their types; nor more media lists, tasks or reports than are talked about."""
    worker, _ = await enricher(simulator.api_url, token=simulator.token)
    items = [item for item in simulator.feed() if item.event_type in ROUTED_TYPES][:size]
    await worker.process(tale.records(items))
    events = [item.event for item in items if item.event]
    assert simulator.calls[PROJECT] == len({event.project_id for event in events})
    assert simulator.calls[MEDIA] == len({event.project_id for event in events if event.event_type in MEDIA_TYPES})
    assert simulator.calls[TASK] == len(
        {event.task_assignment_id for event in events if event.event_type in TASK_TYPES}
    )
    assert simulator.calls[REPORT] == len({event.project_id for event in events if event.event_type in VIDEO_TYPES})


@pytest.mark.parametrize("size", [1, 7, 40])
async def test_a_backlog_costs_one_project_call_per_project_however_it_is_cut(
    simulator: Simulator, enricher: Callable[..., Any], tale: Any, size: int
) -> None:
    """The events are older than the first read of their project, so that no later batch needs another.

    Without the cache every creation and invitation of a later batch costs a call; the tables are the same.
    """
    items = [item for item in simulator.feed() if item.event_type in ROUTED_TYPES]
    plain, tables = await enricher(simulator.api_url, token=simulator.token, in_memory=True)
    _, others = await enricher(simulator.api_url, token=simulator.token, in_memory=True)
    cached = tale.worker(others, ProjectCache(plain._api, max_projects=100, max_age_s=600.0))
    calls = []
    for worker in (plain, cached):
        before = simulator.calls[PROJECT]
        records = tale.records(items)
        for start in range(0, len(records), size):
            outcomes = await worker.process(records[start : start + size])
            assert {type(outcome) for outcome in outcomes} == {Done}
        calls.append(simulator.calls[PROJECT] - before)
    projects = len({item.event.project_id for item in items if item.event})
    assert calls[1] == projects < calls[0]
    for name in ENTITIES:
        assert sorted(map(_facts, tables.rows(name))) == sorted(map(_facts, others.rows(name)))


ENTITIES = ("projects", "contacts", "media", "tasks", "task_templates", "external_links", "video_collab")
CLOCKS = {"created_at", "updated_at", "created_date", "last_enriched_at", "expires_at"}


def _facts(row: dict[str, Any]) -> str:
    """Return a row without what depends on when the API was asked."""
    return str({name: value for name, value in row.items() if name not in CLOCKS and not name.endswith("_observed_at")})


async def test_an_event_that_comes_after_the_last_read_is_not_enriched_by_it(
    simulator: Simulator, enricher: Callable[..., Any], tale: Any
) -> None:
    """What the service said before the event is outdated by the event; in one batch, only its own project is."""
    worker, lake = await enricher(simulator.api_url, token=simulator.token)
    cached = tale.worker(lake.writer, ProjectCache(worker._api, max_projects=100, max_age_s=600.0))
    first, second = list(simulator.world.projects)[:2]
    created = [tale.record("PROJECT_CREATED", project) for project in (first, second)]
    await cached.process(created)
    assert simulator.calls[PROJECT] == 2
    fresh = tale.record("PROJECT_CREATED", first, created_at=datetime.now(UTC))
    await cached.process([fresh, created[1]])
    assert simulator.calls[PROJECT] == 3


async def test_handlers_ask_side_by_side(tale: Any, memory: Any) -> None:
    """The files, the task and the call of one batch: each answer comes only after all three were asked for."""
    api, asked, all_asked = tale.api(), set[str](), asyncio.Event()

    def patiently(name: str) -> Any:
        answer = getattr(api, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            asked.add(name)
            if len(asked) == len(names):
                all_asked.set()
            await all_asked.wait()
            return await answer(*args, **kwargs)

        return ask

    names = ("get_project_media", "get_custom_task", "get_video_collaboration")
    for name in names:
        setattr(api, name, patiently(name))
    project = next(each for each in tale.world.projects.values() if each.tasks and each.calls)
    task, call = project.tasks[0].assignment_id, project.calls[0].video_collaboration_id
    batch = [
        tale.record("PROJECT_FILE_ADDED", project.project_id),
        tale.record("CUSTOM_TASK_ASSIGNED", project.project_id, task_assignment_id=str(task)),
        tale.record("VIDEO_COLLABORATION_COMPLETED", project.project_id, video_collaboration_id=str(call)),
    ]
    async with asyncio.timeout(30):
        outcomes = await tale.worker(memory(), api).process(batch)
    assert [type(outcome) for outcome in outcomes] == [Done] * 3


async def test_what_is_saved_and_written_is_counted(
    simulator: Simulator, enricher: Callable[..., Any], tale: Any
) -> None:
    """Calls that events needed not make, files queued, rows of every table: the numbers move by what happened.

    Every project of this feed is created in it, so that an event that costs no call of its own is a call saved; those
    that bring their own person along are left out, since they need none.
    """
    names = ("claimx_enrichment_calls_saved_total", "lake_rows_written_total", "claimx_downloads_queued_total")
    before = {name: total(name) for name in names}
    worker, lake = await enricher(simulator.api_url, token=simulator.token)
    items = [item for item in simulator.feed() if item.event_type in ROUTED_TYPES and not _names_somebody(item)]
    outcomes = await worker.process(tale.records(items))
    moved = {name: total(name) - before[name] for name in names}
    assert moved["claimx_enrichment_calls_saved_total"] == len(items) - simulator.calls.total() > 0
    queued = sum(len(outcome.messages) for outcome in outcomes)
    assert moved["claimx_downloads_queued_total"] == queued > 0
    for name, rows in lake.tables().items():
        if name not in {"events", "attachments"}:
            written = REGISTRY.get_sample_value("lake_rows_written_total", {"table": f"claimx_{name}"}) or 0.0
            assert written >= len(rows) > 0, name


def _names_somebody(item: FeedItem) -> bool:
    event = item.event
    return event is not None and event.invitee is not None and event.invitee.contact_id(event.project_id) is not None


async def test_a_file_of_two_projects_is_fetched_for_the_first_alone(
    tale: Any, crooked: Any, enricher: Callable[..., Any], said: Any
) -> None:
    """[Settled point 22] It keeps the project of its first row; the other is counted, and its event succeeds.

    In one batch, and where another enricher with a memory of its own meets the second list.
    """

    def listing(*media_ids: int) -> Any:
        items = b",".join(b'{"mediaID":%d,"fullDownloadLink":"https://example.com/%d.jpg"}' % (n, n) for n in media_ids)
        return said(body=b'{"data":[' + items + b"]}")

    def counted() -> float:
        labels = {"decision": "of_another_project"}
        return REGISTRY.get_sample_value("claimx_downloads_queued_total", labels) or 0.0

    first, second, third = list(tale.world.projects)[:3]
    for project_id, media_ids in {first: (71, 72), second: (72, 73), third: (71,)}.items():
        crooked.says[f"/export/project/{project_id}/media"] = listing(*media_ids)
    before = counted()
    worker, lake = await enricher(crooked.url)
    outcomes = await worker.process(
        [tale.record("PROJECT_FILE_ADDED", first), tale.record("PROJECT_FILE_ADDED", second, media_id="72")]
    )
    tasks = [ClaimXDownloadTask.from_bytes(message.value) for outcome in outcomes for message in outcome.messages]
    assert {(task.media_id, task.project_id) for task in tasks} == {
        ("71", str(first)),
        ("72", str(first)),
        ("73", str(second)),
    }
    assert counted() == before + 1
    outcomes = await tale.worker(lake.writer, worker._api).process([tale.record("PROJECT_FILE_ADDED", third)])
    assert [(type(outcome), outcome.messages) for outcome in outcomes] == [(Done, ())]
    assert counted() == before + 2
    assert {row["media_id"]: row["project_id"] for row in lake.rows("media")} == {
        "71": str(first),
        "72": str(first),
        "73": str(second),
    }
