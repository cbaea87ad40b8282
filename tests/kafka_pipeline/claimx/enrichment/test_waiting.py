"""While the API is known to be down its events wait, and nobody else's (I7, [CBR-5]).

The loop gives the worker again what waited, alone or beside new events. These tests are that loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.failures import UnavailableError
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Done, Outcome, Wait
from kafka_pipeline.simulator.vocabulary import MEDIA_TYPES, POLICYHOLDER_TYPES


class DownAtTimes:
    """An API before which a breaker refuses everything about some projects."""

    def __init__(self, tale: Any) -> None:
        self.down: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._api = tale.api()
        self._world = tale.world

    async def again(self) -> None:
        """Return when another try is worth it: what `Wait` carries to the loop."""

    def _about(self, project_id: str) -> Any:
        if project_id in self.down:
            raise UnavailableError("the ClaimX API is taken for down", self.again, reason="circuit_open")
        self.asked[project_id] += 1
        return self._api

    async def get_project(self, project_id: str, **more: Any) -> Any:
        """Export the project, unless it is down."""
        return await self._about(project_id).get_project(project_id, **more)

    async def get_project_media(self, project_id: str, **more: Any) -> Any:
        """List the files."""
        return await self._about(project_id).get_project_media(project_id, **more)

    async def get_custom_task(self, task_assignment_id: str, **more: Any) -> Any:
        """Read the task."""
        project_id = self._world.tasks[int(task_assignment_id)].project_id
        return await self._about(str(project_id)).get_custom_task(task_assignment_id, **more)

    async def get_video_collaboration(self, video_collaboration_id: str, project_id: str, **more: Any) -> Any:
        """Find the call."""
        return await self._about(project_id).get_video_collaboration(video_collaboration_id, project_id, **more)


def enriched() -> float:
    """Return how many events were counted, whatever became of them."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "claimx_events_enriched_total"
    )


async def acknowledged(outcomes: Sequence[Outcome]) -> list[str]:
    """Do what the loop does with what is done; return the files that it queued."""
    files = []
    for outcome in outcomes:
        if isinstance(outcome, Done):
            files += [ClaimXDownloadTask.from_bytes(message.value).media_id for message in outcome.messages]
            if outcome.cleanup is not None:
                await outcome.cleanup()
    return files


async def test_the_events_of_what_is_down_wait_and_the_others_go_on(tale: Any, memory: Any) -> None:
    """[HND-1] Refused in the pre-flight: nothing of it is written, queued or counted, and its log is one line.

    Given again alone, the events that waited lead to what they would have led to.
    """
    api, tables = DownAtTimes(tale), memory()
    worker = tale.worker(tables, api)
    up, down = (str(project_id) for project_id in list(tale.world.projects)[:2])
    api.down.add(down)
    records = [tale.record("PROJECT_FILE_ADDED", project) for project in (up, down, up, down)]
    counted = enriched()
    with capture_logs() as logs:
        outcomes = await worker.process(records)
    assert [type(outcome) for outcome in outcomes] == [Done, Wait, Done, Wait]
    for outcome in outcomes:
        if isinstance(outcome, Wait):
            assert (outcome.reason, outcome.until, outcome.alone) == ("circuit_open", api.again, False)
    assert {row["project_id"] for name in ("projects", "media") for row in tables.rows(name)} == {up}
    assert enriched() == counted + 2
    assert [entry["event"] for entry in logs if "circuit_open" in entry.values()] == ["projects_wait"]
    await acknowledged(outcomes)
    api.down.clear()
    again = await worker.process([records[1], records[3]])
    assert [type(outcome) for outcome in again] == [Done, Done]
    listed = {row["media_id"] for row in tables.rows("media") if row["project_id"] == down}
    linked = {row["media_id"] for row in tables.rows("media") if row["full_download_link"]}
    assert sorted(await acknowledged(again)) == sorted(listed & linked), "each file of it once"
    assert enriched() == counted + 4


@pytest.mark.parametrize("event_type", ["PROJECT_CREATED", "POLICYHOLDER_JOINED"])
async def test_a_project_that_waits_is_not_known(tale: Any, memory: Any, event_type: str) -> None:
    """[HND-1] As long as its row is not there, every event of it asks again."""
    api, tables = DownAtTimes(tale), memory()
    worker = tale.worker(tables, api)
    project = str(next(iter(tale.world.projects)))
    api.down.add(project)
    for _ in range(2):
        [outcome] = await worker.process([tale.record(event_type, project)])
        assert isinstance(outcome, Wait)
    assert tables.rows("projects") == []
    api.down.clear()
    [outcome] = await worker.process([tale.record("PROJECT_MFN_ADDED", project)])
    assert isinstance(outcome, Done)
    assert len(tables.rows("projects")) == 1


async def test_an_event_that_needs_no_call_does_not_wait(tale: Any, memory: Any) -> None:
    """An invitation that names its person, of a project that has its row; the nameless one beside it waits."""
    api, tables = DownAtTimes(tale), memory()
    worker = tale.worker(tables, api)
    project = str(next(iter(tale.world.projects)))
    await worker.process([tale.record("PROJECT_CREATED", project)])
    api.down.add(project)
    batch = [
        tale.record("POLICYHOLDER_INVITED", project, raw_data={"email": "kim@example.com"}),
        tale.record("POLICYHOLDER_JOINED", project),
    ]
    outcomes = await worker.process(batch)
    assert [type(outcome) for outcome in outcomes] == [Done, Wait]
    [row] = tables.rows("projects")
    assert row["policyholder_invited_at"] is not None
    assert row["policyholder_joined_at"] is None


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_down_and_when_everything_is_done_once_in_the_end(
    tale: Any, memory: Any, data: st.DataObject
) -> None:
    """Events of what is up are done at once; those that wait come again, in any company, as often as they must.

    At the end the tables are what the events mean, every file was queued once, every event was counted once.
    """
    picked = data.draw(st.lists(st.sampled_from(tale.feed), min_size=1, max_size=20))
    projects = sorted({item.event.project_id for item in picked})
    api, tables = DownAtTimes(tale), memory()
    worker = tale.worker(tables, api)

    async def work() -> list[str]:
        files: list[str] = []
        waiting: list[tuple[Any, Record]] = []
        rest = list(zip(picked, tale.records(picked), strict=True))
        while rest or waiting:
            api.down = data.draw(st.sets(st.sampled_from(projects))) if rest else set()
            size = data.draw(st.integers(1, 8))
            returning = waiting if data.draw(st.booleans()) or not rest else []
            waiting = [] if returning else waiting
            batch, rest = [*returning, *rest[:size]], rest[size:]
            outcomes = await worker.process([record for _, record in batch])
            for (item, record), outcome in zip(batch, outcomes, strict=True):
                assert isinstance(outcome, Done | Wait)
                if isinstance(outcome, Wait):
                    assert item.event.project_id in api.down
                    waiting.append((item, record))
                elif item.event.project_id in api.down:
                    assert item.event_type in POLICYHOLDER_TYPES, "only who needs no call goes on"
            files += await acknowledged(outcomes)
        return files

    counted = enriched()
    files = asyncio.run(work())
    assert tale.differences(picked, tables.tables()) == []
    listed = {item.event.project_id for item in picked if item.event_type in MEDIA_TYPES}
    meant = [
        row["media_id"]
        for row in tables.rows("media")
        if row["project_id"] in listed and row["full_download_link"] is not None
    ]
    assert sorted(files) == sorted(meant)
    assert enriched() == counted + len(picked)
