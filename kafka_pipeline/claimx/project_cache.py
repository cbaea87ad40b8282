"""Project answers that are as good as asking again: many events of one project, one call (issue 3; [HND-2])."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api import Answer, ClaimXApi, NotFound, Reply
from kafka_pipeline.claimx.shapes import MediaList, ProjectExport, TaskAssignment, VideoCall
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock

_MAX_WEIGHT: Final = 16_000
"""Values and characters of an answer that is kept; a usual one has 800. A monster is asked for again (I9)."""


class ProjectCache:
    """Stands before an API, and answers for projects from memory where that tells nobody anything outdated.

    An answer is given again if the request for it was sent

    - not before `as_of`, so that no event is enriched by what the service said before the event, and
    - less than `max_age_s` ago, whatever `as_of` is.

    So a backlog, whose events are all older than the first read of their project, costs one call per project, and
    an event that comes in fresh asks again. Both times are of different machines where ingester and enricher are:
    their clocks must agree, as for `last_enriched_at` [MRG-3].

    Holds the last `max_projects` answers. Errors, unknown projects and answers that hold no project, or another one,
    are not kept: whoever comes back for them must be able to meet a healed service. What is kept is personal data, so
    nothing here has a repr [SEC-10], and what is too old goes with the next question.
    """

    def __init__(self, api: ClaimXApi, *, max_projects: int, max_age_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._api = api
        self._max_projects = max_projects
        self._max_age = timedelta(seconds=max_age_s)
        self._clock = clock
        self._kept: OrderedDict[str, Answer[ProjectExport]] = OrderedDict()
        """Nearly in the order in which they were asked for."""

    @property
    def size(self) -> int:
        """How many answers are kept now."""
        return len(self._kept)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Reply[ProjectExport]:
        """Remember the project, or read it. Raises as the API does."""
        self._forget_what_is_old()
        kept = self._kept.get(project_id)
        if kept is not None and self._is_young(kept) and (as_of is None or kept.requested_at >= as_of):
            monitoring.CALLS_SAVED.labels(how="cached").inc()
            return kept
        reply = await self._api.get_project(project_id, as_of=as_of)
        self._learn(project_id, reply)
        return reply

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Reply[MediaList]:
        """Read the file list: its links are fresh only once."""
        return await self._api.get_project_media(project_id, as_of=as_of)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Reply[TaskAssignment]:
        """Read the task."""
        return await self._api.get_custom_task(task_assignment_id, as_of=as_of)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Reply[VideoCall | None]:
        """Read the video call."""
        return await self._api.get_video_collaboration(video_collaboration_id, project_id, as_of=as_of)

    def _learn(self, project_id: str, reply: Reply[ProjectExport]) -> None:
        kept = self._kept.get(project_id)
        if kept is not None and kept.requested_at > reply.requested_at:
            return  # an answer that overtook this one
        self._kept.pop(project_id, None)
        if isinstance(reply, NotFound) or not reply.value.is_of(project_id) or _is_heavy(reply.value):
            return
        self._kept[project_id] = reply
        while len(self._kept) > self._max_projects:
            self._kept.popitem(last=False)

    def _forget_what_is_old(self) -> None:
        while self._kept and not self._is_young(next(iter(self._kept.values()))):
            self._kept.popitem(last=False)

    def _is_young(self, answer: Answer[ProjectExport]) -> bool:
        return self._clock.now() - answer.requested_at < self._max_age


def _is_heavy(export: ProjectExport) -> bool:
    """Tell whether an answer is far larger than any that was seen; stops counting where it is."""
    weight, pending = 0, [export.project, export.company_name, *_texts(export)]
    while pending and weight <= _MAX_WEIGHT:
        value = pending.pop()
        weight += 1
        if isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str):
            weight += len(value)
    return weight > _MAX_WEIGHT


def _texts(export: ProjectExport) -> list[object]:
    return [text for member in export.team for text in (member.user_name, member.mfn)]
