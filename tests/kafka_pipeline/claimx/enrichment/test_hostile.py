"""Hostile tasks and answers: an outcome for each, rows that the tables take, and nothing of it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.api import Answer
from kafka_pipeline.claimx.blob_path import is_blob_path
from kafka_pipeline.claimx.schemas.rows import Row
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.shapes import read_media_list, read_project_export, read_task_assignment, read_video_report
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.lake import merge
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Done, Retry, Skip
from kafka_pipeline.simulator import shapes
from tests.kafka_pipeline.fuzz.hostile import CANARY, TEXTS, often, spoiled, spoiled_bytes

PERSONAL = {"firstName": CANARY, "lastName": CANARY, "emailAddress": f"{CANARY}@example.com", "phoneNumber": CANARY}
"""What every answer gets planted, beside what spoils it."""


class HostileApi:
    """Answers any question about anything with a body that `spoil` has had its way with."""

    def __init__(self, world: Any, spoil: Callable[[Any], Any], now: datetime) -> None:
        self._project = next(each for each in world.projects.values() if each.tasks and each.calls and each.media)
        self._spoil = spoil
        self._now = now

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Export something."""
        return self._answer(shapes.project_export(self._project), read_project_export)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """List something."""
        body = shapes.media_list(self._project, _link_of_any)
        return self._answer(body, read_media_list)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Read something."""
        body = shapes.custom_task(self._project.tasks[0], "https://api.example.com", full=True)
        return self._answer(body, read_task_assignment)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Find something."""
        report = self._answer(shapes.video_report(self._project), read_video_report)
        return Answer(value=next(iter(report.value), None), requested_at=self._now)

    def _answer(self, body: Any, read: Callable[[Any], Any]) -> Any:
        spoilt = self._spoil({**body, **PERSONAL} if isinstance(body, dict) else body)
        return Answer(value=read(json.loads(json.dumps(spoilt))), requested_at=self._now)


def _link_of_any(_item: object) -> str:
    return f"https://files.example.com/{CANARY}?sig={CANARY}"


def strict(memory: Any) -> Any:
    """Return tables in memory that take only what the lake's tables take."""

    class Strict(memory):  # type: ignore[misc]  # the class comes from a fixture
        """Checks every row against the schema of its table."""

        async def write(self, rows: Iterable[Row]) -> None:
            """Make the table that would be merged, then remember the rows."""
            some = list(rows)
            await super().write(some)
            for name in {row.logical_table for row in some}:
                merge.to_arrow(TABLES[name], self.rows(name)).validate(full=True)

    return Strict()


@often(150)
@given(data=st.data())
def test_any_answer_to_any_task_has_an_outcome(tale: Any, memory: Any, data: st.DataObject) -> None:
    """No exception, no failure that nobody foresaw, no row that a table refuses, no path outside its folder.

    One hostile neighbour fails nobody else's record, and neither reasons nor log lines hold anything of a body.
    """
    sound = [json.loads(record.value or b"") for record in tale.records(tale.feed)]
    values = data.draw(st.lists(st.sampled_from(sound).flatmap(lambda task: spoiled_bytes([task])), max_size=4))
    values += [json.dumps(task).encode() for task in data.draw(st.lists(st.sampled_from(sound), max_size=3))]
    records = [
        Record(topic="t", partition=0, offset=offset, key=None, value=value) for offset, value in enumerate(values)
    ]

    def spoil(body: Any) -> Any:
        return data.draw(spoiled(body)) if data.draw(st.booleans()) else body

    now = datetime.fromisoformat("2026-03-02T19:00:00+00:00")
    worker = tale.worker(strict(memory), HostileApi(tale.world, spoil, now))
    with capture_logs() as logs:
        outcomes = asyncio.run(worker.process(records))
    assert len(outcomes) == len(records)
    for outcome in outcomes:
        if isinstance(outcome, Retry):
            assert outcome.category is not Category.UNKNOWN
        if not isinstance(outcome, Done | Skip):
            assert CANARY not in getattr(outcome, "error_text", "")
        for message in outcome.messages if isinstance(outcome, Done) else ():
            task = ClaimXDownloadTask.from_bytes(message.value)
            assert is_blob_path(task.blob_path, project_id=task.project_id, media_id=task.media_id)
    ids = {"project_id", "event_id", "media_id", "task_assignment_id", "video_collaboration_id"}
    assert CANARY not in json.dumps([{k: v for k, v in line.items() if k not in ids} for line in logs], default=str)


@pytest.mark.parametrize("field", ["project_id", "media_id", "task_assignment_id", "video_collaboration_id"])
@often(40)
@given(text=TEXTS)
def test_no_id_leads_out_of_its_place(tale: Any, memory: Any, field: str, text: str) -> None:
    """An id of any form is refused, or names a place of its own: no file of another project is written over."""
    records = (
        [
            tale.record(event_type, **{"project_id": "900001", field: text or "x"})
            for event_type in ("PROJECT_FILE_ADDED", "CUSTOM_TASK_COMPLETED", "VIDEO_COLLABORATION_COMPLETED")
        ]
        if text.strip()
        else []
    )
    now = datetime.fromisoformat("2026-03-02T19:00:00+00:00")
    worker = tale.worker(strict(memory), HostileApi(tale.world, lambda body: body, now))
    for outcome in asyncio.run(worker.process(records)):
        for message in outcome.messages if isinstance(outcome, Done) else ():
            task = ClaimXDownloadTask.from_bytes(message.value)
            assert is_blob_path(task.blob_path, project_id=task.project_id, media_id=task.media_id)
