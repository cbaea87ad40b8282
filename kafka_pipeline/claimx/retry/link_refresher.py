"""Fresh links for files whose link is past its end [LNK-5]: one call for all files of a project."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api import ClaimXApi, NotFound
from kafka_pipeline.claimx.handlers.results import MediaNotReadyError, NotFoundError
from kafka_pipeline.claimx.links import is_expired, link_expiry
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import PipelineError

KEPT_S: Final = 120.0
"""How long an answer serves the files of its project: longer than they wait between two looks at a host that is down,
each of which would ask for the same list again; far shorter than links live."""

MAX_KEPT_LINKS: Final = 20_000
"""Links kept at a time, of all projects together; 2 kB each at most, so some 40 MB (I9)."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Fresh:
    """A link as the list had it. A credential: no repr [SEC-7]."""

    link: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Listed:
    """The links of one project, and when they came."""

    links: Mapping[str, _Fresh]
    at_s: float


class LinkRefresher:
    """Asks for a project's list, takes the file's link out of it, and keeps the others for two minutes.

    Concurrent refreshes of one project share a call (the client's doing). What is kept holds credentials, and is
    bounded in time and number.
    """

    def __init__(self, api: ClaimXApi, *, clock: Clock = SYSTEM_CLOCK, kept_s: float = KEPT_S) -> None:
        self._api = api
        self._clock = clock
        self._kept_s = kept_s
        self._kept: OrderedDict[str, _Listed] = OrderedDict()
        self._kept_links = 0

    async def refreshed(self, task: ClaimXDownloadTask) -> ClaimXDownloadTask:
        """Return the task with a fresh link, its end computed anew, and one refresh more.

        Raises PipelineError: what the call raises, not_found for an unknown project, transient for a file that is not
        listed or has no link; and UnavailableError while the API is known to be down.
        """
        try:
            fresh = self._known(task) or await self._asked(task)
            if fresh.link is None:
                raise MediaNotReadyError("the file is listed without a link")
        except PipelineError as error:
            monitoring.LINK_REFRESHES.labels(result=error.category.value).inc()
            raise
        monitoring.LINK_REFRESHES.labels(result="refreshed").inc()
        _log.info("link_refreshed", media_id=task.media_id, project_id=task.project_id, before=task.refresh_count)
        return task.refreshed(download_url=fresh.link, expires_at=fresh.expires_at)

    def _known(self, task: ClaimXDownloadTask) -> _Fresh | None:
        """Return the link from an answer that is young enough, unless it is the very one that is in the way.

        Young is what has at least as long to live as it was kept: a link that is nearly over would be no help.
        """
        self._forget_what_is_old()
        listed = self._kept.get(task.project_id)
        fresh = listed.links.get(task.media_id) if listed else None
        if fresh is None or fresh.link in {None, task.download_url}:
            return None
        age = timedelta(seconds=self._clock.monotonic() - listed.at_s) if listed else timedelta()
        return None if is_expired(fresh.expires_at, now=self._clock.now(), margin=age) else fresh

    async def _asked(self, task: ClaimXDownloadTask) -> _Fresh:
        reply = await self._api.get_project_media(task.project_id)
        if isinstance(reply, NotFound):
            raise NotFoundError("project")
        links = {
            item.media_id: _Fresh(
                link=item.full_download_link, expires_at=link_expiry(item.full_download_link or "", item.expires_at)
            )
            for item in reply.value.items
        }
        self._keep(task.project_id, links)
        if task.media_id not in links:
            raise MediaNotReadyError("the file is not listed")
        return links[task.media_id]

    def _keep(self, project_id: str, links: Mapping[str, _Fresh]) -> None:
        self._forget(project_id)
        if len(links) > MAX_KEPT_LINKS:
            return
        self._kept[project_id] = _Listed(links=links, at_s=self._clock.monotonic())
        self._kept_links += len(links)
        while self._kept_links > MAX_KEPT_LINKS:
            self._forget(next(iter(self._kept)))

    def _forget_what_is_old(self) -> None:
        oldest_s = self._clock.monotonic() - self._kept_s
        while self._kept and next(iter(self._kept.values())).at_s <= oldest_s:
            self._forget(next(iter(self._kept)))

    def _forget(self, project_id: str) -> None:
        listed = self._kept.pop(project_id, None)
        if listed is not None:
            self._kept_links -= len(listed.links)
