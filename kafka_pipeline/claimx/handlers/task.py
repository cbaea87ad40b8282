"""A form was assigned or submitted: read the assignment with its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kafka_pipeline.claimx.api import ClaimXApi, NotFound
from kafka_pipeline.claimx.handlers.base import (
    EventHandler,
    HandlerResult,
    MissingIdError,
    NotFoundError,
    Origin,
    WrongAnswerError,
    youngest,
)
from kafka_pipeline.claimx.handlers.task_rows import task_rows
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask


class TaskHandler(EventHandler):
    """CUSTOM_TASK_ASSIGNED and CUSTOM_TASK_COMPLETED [HND-7]; files of a form come with the media list."""

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "task_assignment_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the task once; its rows are the last event's. Raises PipelineError."""
        assignment_id = tasks[0].task_assignment_id
        if assignment_id is None:
            raise MissingIdError("task_assignment_id")
        reply = await api.get_custom_task(assignment_id, as_of=youngest(tasks))
        if isinstance(reply, NotFound):
            raise NotFoundError("task")
        if not reply.value.task:
            raise WrongAnswerError("the answer holds no task")
        if reply.value.assignment_id not in {None, assignment_id}:
            raise WrongAnswerError("the answer is about another task")
        last = tasks[-1]
        rows = task_rows(
            reply.value,
            assignment_id,
            Origin.of(last, reply.requested_at),
            store_signed_links=self.context.store_signed_links,
        )
        return [*(HandlerResult(task=task) for task in tasks[:-1]), HandlerResult(task=last, rows=rows)]
