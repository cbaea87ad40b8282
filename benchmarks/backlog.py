"""Keeps more in the topics than the workers can finish: invented records of each kind, on top of what workers write.

Events name projects and files that the simulated ClaimX has. Files and results have ids of their own, which nothing
else brings about.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import orjson

from benchmarks.site import Site
from kafka_pipeline.claimx.blob_path import blob_path
from kafka_pipeline.claimx.idle import progress
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload
from kafka_pipeline.common.messaging import Message, Producer
from kafka_pipeline.simulator.world import LinkForm, Project

FILE_BYTES = 30_000
"""About the median of the files that the simulated ClaimX serves."""

_START = datetime(2026, 3, 2, tzinfo=UTC)
_STEP = timedelta(milliseconds=1)
_FIRST_FILE, _FIRST_RESULT = 600_000_000, 700_000_000
_CHUNK = 1_000


@dataclass(slots=True)
class Backlog:
    """Tops up the topics of events, cached files and results whenever less than `least` waits in one."""

    site: Site
    producer: Producer
    least: Mapping[str, int]
    """Records by topic; twice as much is put there."""
    lag: dict[str, int] = field(default_factory=dict)
    """Records that were not finished at the last look, by topic."""
    done: dict[str, int] = field(default_factory=dict)
    """Records finished by then, by topic."""
    _sources: dict[str, Iterator[Message]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        topics = self.site.topics
        sources: Mapping[str, Callable[[Site], Iterator[Message]]] = {
            topics.events: _events,
            topics.downloads_cached: _cached,
            topics.downloads_results: _results,
        }
        self._sources = {topic: sources[topic](self.site) for topic in self.least}

    async def look(self) -> None:
        """See what waits."""
        seen = await progress(self.site.admin, self.site.topics)
        self.lag = {each.topic: each.total - each.done for each in seen}
        self.done = {each.topic: each.done for each in seen}

    async def top_up(self) -> None:
        """Put there what is missing, as of the last look."""
        for topic, least in self.least.items():
            missing = 2 * least - self.lag[topic] if self.lag[topic] < least else 0
            while missing > 0:
                some = await asyncio.to_thread(list, islice(self._sources[topic], min(missing, _CHUNK)))
                await self.producer.send(some)
                missing -= len(some)


def _events(site: Site) -> Iterator[Message]:
    """Yield events for ever, of one project after the other: seven of ten about files."""
    projects = list(site.simulator.world.projects.values())
    for number in count():
        project = projects[number % len(projects)]
        payload = _told(project, number // len(projects)) | {
            "projectId": project.project_id,
            "IngestionTime": (_START + number * _STEP).isoformat(),
        }
        yield Message(topic=site.topics.events, key=str(project.project_id).encode(), value=orjson.dumps(payload))


def _told(project: Project, turn: int) -> dict[str, object]:
    files = [item.media_id for item in project.media if item.link is not LinkForm.NONE]
    kind = (project.project_id + turn) % 10
    if kind < 7 and files:
        return {"eventType": "PROJECT_FILE_ADDED", "mediaId": files[turn % len(files)]}
    if kind == 8 and project.tasks:
        return {"eventType": "CUSTOM_TASK_ASSIGNED", "taskAssignmentId": project.tasks[0].assignment_id}
    if kind == 9 and project.calls:
        return {
            "eventType": "VIDEO_COLLABORATION_COMPLETED",
            "videoCollaborationId": project.calls[0].video_collaboration_id,
        }
    return {"eventType": "PROJECT_MFN_ADDED", "masterFileName": f"MFN-EXAMPLE-{turn}"}


def _cached(site: Site) -> Iterator[Message]:
    """Yield upload tasks for ever; the files are in the cache by then."""
    content = bytes(FILE_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    for number in count(_FIRST_FILE):
        relative = f"claimx/{number}/{number:012x}/photo.jpg"
        path = site.config.cache_location / relative
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        task = ClaimXCachedDownload(
            **_ids(number),
            download_url="https://www.claimxperience.com/example",
            local_cache_path=relative,
            content_sha256=digest,
            bytes_downloaded=FILE_BYTES,
            downloaded_at=datetime.now(UTC),
        )
        yield Message(topic=site.topics.downloads_cached, key=str(number).encode(), value=task.to_bytes())


def _results(site: Site) -> Iterator[Message]:
    """Yield results of files for ever."""
    for number in count(_FIRST_RESULT):
        now = datetime.now(UTC)
        result = ClaimXUploadResult(
            **_ids(number),
            status=ResultStatus.COMPLETED,
            bytes_uploaded=FILE_BYTES,
            content_sha256=f"{number:064x}",
            downloaded_at=now,
            created_at=now,
        )
        yield Message(topic=site.topics.downloads_results, key=str(number).encode(), value=result.to_bytes())


def _ids(number: int) -> dict[str, str]:
    media_id, project_id = str(number), str(number // 10)
    path = blob_path(project_id=project_id, media_id=media_id, file_name="photo.jpg")
    return {"media_id": media_id, "project_id": project_id, "blob_path": path, "file_type": "jpg"}
