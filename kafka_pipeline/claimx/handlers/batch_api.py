"""The API as one batch sees it: a project is fetched at most once [HND-2]."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api import ClaimXApi, Reply
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import MediaList, ProjectExport, TaskAssignment, VideoCall
from kafka_pipeline.common.failures import PipelineError


class BatchApi:
    """Remembers project answers, errors too, for as long as one batch lasts; passes everything else on.

    Make one per batch, with its events: no answer about a project is older than the youngest event of that project,
    whoever asks first.
    """

    def __init__(self, api: ClaimXApi, tasks: Iterable[ClaimXEnrichmentTask]) -> None:
        self._api = api
        self._as_of: dict[str, datetime] = {}
        for task in tasks:
            self._as_of[task.project_id] = max(task.created_at, self._as_of.get(task.project_id, task.created_at))
        self._projects: dict[str, Reply[ProjectExport] | PipelineError] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Reply[ProjectExport]:
        """Read the project, or remember what became of reading it. Raises as the API does."""
        async with self._turns[project_id]:
            known = self._projects.get(project_id)
            if known is None:
                try:
                    known = await self._api.get_project(project_id, as_of=self._as_of.get(project_id, as_of))
                except PipelineError as error:
                    known = error
                self._projects[project_id] = known
            else:
                monitoring.CALLS_SAVED.labels(how="remembered").inc()
        if isinstance(known, PipelineError):
            raise known
        return known

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Reply[MediaList]:
        """Read the file list."""
        return await self._api.get_project_media(project_id, as_of=as_of)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Reply[TaskAssignment]:
        """Read the task."""
        return await self._api.get_custom_task(task_assignment_id, as_of=as_of)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Reply[VideoCall | None]:
        """Read the video call."""
        return await self._api.get_video_collaboration(video_collaboration_id, project_id, as_of=as_of)
