"""A video call was arranged or ended: read the project's report, and find the call in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from kafka_pipeline.claimx.api import ClaimXApi, NotFound, Reply
from kafka_pipeline.claimx.handlers.base import (
    EventHandler,
    Failed,
    HandlerResult,
    MissingIdError,
    Origin,
    Rows,
    youngest,
)
from kafka_pipeline.claimx.handlers.video_rows import video_row
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import VideoCall
from kafka_pipeline.common.failures import Category, PipelineError


class VideoCollabHandler(EventHandler):
    """VIDEO_COLLABORATION_INVITE_SENT and VIDEO_COLLABORATION_COMPLETED [HND-9]."""

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the project's report, once; every event has a row, for its status may be its own.

        Raises PipelineError where the report cannot be read; an event without an id fails alone [EVT-7].
        """
        call_ids = list(dict.fromkeys(task.video_collaboration_id for task in tasks if task.video_collaboration_id))
        as_of = youngest(tasks)
        # Side by side, so that the client shares one request among them all.
        replies = await asyncio.gather(
            *(api.get_video_collaboration(call_id, tasks[0].project_id, as_of=as_of) for call_id in call_ids)
        )
        found = dict(zip(call_ids, replies, strict=True))
        return [self._result(task, found) for task in tasks]

    def _result(self, task: ClaimXEnrichmentTask, found: dict[str, Reply[VideoCall | None]]) -> HandlerResult:
        call_id = task.video_collaboration_id
        if call_id is None:
            return HandlerResult(task=task, failed=Failed.of(MissingIdError("video_collaboration_id")))
        reply = found[call_id]
        if isinstance(reply, NotFound):
            # A report is neither a project nor a task: for it 404 is one of the other 4xx [7.2].
            refused = PipelineError("the video report was refused with status 404", Category.PERMANENT)
            return HandlerResult(task=task, failed=Failed.of(refused))
        row = video_row(
            reply.value,
            call_id,
            task.event_type,
            Origin.of(task, reply.requested_at),
            store_signed_links=self.context.store_signed_links,
        )
        return HandlerResult(task=task, rows=Rows(video_collab=(row,)))
