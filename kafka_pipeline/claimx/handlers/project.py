"""A project was created: read it, and know its people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from kafka_pipeline.claimx.api import ClaimXApi, NotFound
from kafka_pipeline.claimx.handlers.base import (
    EventHandler,
    HandlerResult,
    NotFoundError,
    Origin,
    Rows,
    youngest,
)
from kafka_pipeline.claimx.handlers.project_rows import project_rows
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask


async def read_project(api: ClaimXApi, task: ClaimXEnrichmentTask, *, as_of: datetime | None = None) -> Rows:
    """Return the rows of the event's project: itself and contacts A and B [HND-3]; for the pre-flight [HND-1].

    Raises PipelineError (section 7.2), NotFoundError for a project that the service does not know.
    """
    reply = await api.get_project(task.project_id, as_of=as_of or task.created_at)
    if isinstance(reply, NotFound):
        raise NotFoundError("project")
    return project_rows(reply.value, Origin.of(task, reply.requested_at))


class ProjectHandler(EventHandler):
    """PROJECT_CREATED. An existing project is merged, not an error [HND-3]."""

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the project once; its rows are the last event's."""
        rows = await read_project(api, tasks[-1], as_of=youngest(tasks))
        return [*(HandlerResult(task=task) for task in tasks[:-1]), HandlerResult(task=tasks[-1], rows=rows)]
