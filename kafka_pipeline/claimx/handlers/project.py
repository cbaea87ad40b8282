"""A project was created: read it, and know its people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from kafka_pipeline.claimx.api import Answer, ClaimXApi, NotFound
from kafka_pipeline.claimx.handlers.base import (
    EventHandler,
    HandlerResult,
    NotFoundError,
    Origin,
    Rows,
    WrongAnswerError,
    youngest,
)
from kafka_pipeline.claimx.handlers.project_rows import project_rows
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import ProjectExport


async def read_project(api: ClaimXApi, task: ClaimXEnrichmentTask, *, as_of: datetime | None = None) -> Rows:
    """Return the rows of the event's project: itself and contacts A and B [HND-3]; for the pre-flight [HND-1].

    Raises as `ask_project` does.
    """
    answer = await ask_project(api, task.project_id, as_of=as_of or task.created_at)
    return project_rows(answer.value, Origin.of(task, answer.requested_at))


async def ask_project(api: ClaimXApi, project_id: str, *, as_of: datetime) -> Answer[ProjectExport]:
    """Return the export of the project that was asked for; an id may be missing in it, but not be another one.

    Raises PipelineError (section 7.2), NotFoundError for a project that the service does not know, WrongAnswerError.
    """
    reply = await api.get_project(project_id, as_of=as_of)
    if isinstance(reply, NotFound):
        raise NotFoundError("project")
    if not reply.value.is_of(project_id):
        what = "is about another project" if reply.value.project else "holds no project"
        raise WrongAnswerError(f"the answer {what}")
    return reply


class ProjectHandler(EventHandler):
    """PROJECT_CREATED. An existing project is merged, not an error [HND-3]."""

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the project once; its rows are the last event's."""
        rows = await read_project(api, tasks[-1], as_of=youngest(tasks))
        return [*(HandlerResult(task=task) for task in tasks[:-1]), HandlerResult(task=tasks[-1], rows=rows)]
