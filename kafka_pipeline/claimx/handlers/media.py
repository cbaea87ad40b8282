"""Files were added: read the project's list once, and fetch what is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kafka_pipeline.claimx.api import ClaimXApi, NotFound
from kafka_pipeline.claimx.handlers.base import EventHandler, HandlerResult, NotFoundError, youngest
from kafka_pipeline.claimx.handlers.media_rows import media_results
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask


class MediaHandler(EventHandler):
    """PROJECT_FILE_ADDED and PROJECT_MFN_ADDED: ten events of one project are one call [HND-4].

    Files already stored are among the downloads: the worker, which can ask the inventory, takes them out by
    media_id and blob_path [HND-5].
    """

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the list, once for all; share it out. Raises PipelineError where the list cannot be read."""
        reply = await api.get_project_media(tasks[0].project_id, as_of=youngest(tasks))
        if isinstance(reply, NotFound):
            raise NotFoundError("project")
        return media_results(
            tasks,
            reply.value,
            requested_at=reply.requested_at,
            now=self.context.clock.now(),
            store_signed_links=self.context.store_signed_links,
        )
