"""Cached mode: the file goes into the cache, and the uploader is told of it."""

from __future__ import annotations

import asyncio
import random
import uuid
from pathlib import Path
from typing import Final

import structlog

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.transfers.transfer import Arrived, Fetcher
from kafka_pipeline.common.clock import Sleep
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.sinks import FileSink
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.pulse import awaiting
from kafka_pipeline.common.runtime.outcomes import Done

_FIRST_PAUSE_S: Final = 0.5
_LAST_PAUSE_S: Final = 30.0
"""Pauses between attempts on a disk that takes nothing double from the first to the last."""

_log = structlog.get_logger(__name__)


class CacheTransfer:
    """Downloads files into the cache. The cache is bounded: a download waits for room.

    A disk that takes nothing is waited for: it is no fault of the file, and readiness tells of it [7.3].
    """

    def __init__(self, *, topic: str, fetcher: Fetcher, cache: FileCache, sleep: Sleep = asyncio.sleep) -> None:
        """`topic` is where the uploader takes its tasks from."""
        self._topic = topic
        self._fetcher = fetcher
        self._cache = cache
        self._sleep = sleep

    async def bring(self, task: ClaimXDownloadTask) -> Done:
        """Return the upload task once the file is in the cache."""
        name = task.blob_path.rsplit("/", 1)[-1]
        # A folder of its own for each download [WRK-3 with one level more]: of two downloads of one file neither can
        # take the other's bytes away or put its own in their place.
        relative = f"claimx/{task.media_id}/{uuid.uuid4().hex[:12]}/{name}"
        arrived = await self._into_cache(task, self._cache.path_for(relative))
        _log.info("file_cached", media_id=task.media_id, project_id=task.project_id, size_bytes=arrived.size_bytes)
        cached = task.cached(
            local_cache_path=relative,
            content_sha256=arrived.sha256,
            bytes_downloaded=arrived.size_bytes,
            downloaded_at=arrived.at,
            content_type=arrived.content_type,
        )
        return Done(messages=(Message(topic=self._topic, key=cached.media_id.encode(), value=cached.to_bytes()),))

    async def _into_cache(self, task: ClaimXDownloadTask, path: Path) -> Arrived:
        """Download once there is room; where the server told the size too late, begin again with enough of it."""
        needed_bytes, pause_s = 0, _FIRST_PAUSE_S
        while True:
            async with self._fetcher.turn(task):
                with awaiting("room"):
                    reserved = await self._cache.reserve(needed_bytes)
                with reserved as room:
                    try:
                        arrived = await self._fetcher.fetch(task, FileSink(path), room=room.try_grow)
                    except DownloadError as error:
                        if error.fault not in {Fault.NO_ROOM, Fault.CACHE_UNWRITABLE}:
                            raise
                        needed_bytes = error.needed_bytes or needed_bytes
                        self._cache.writable = error.fault is Fault.NO_ROOM
                    else:
                        self._cache.writable = True
                        room.commit(arrived.size_bytes)
                        return arrived
            if not self._cache.writable:
                _log.warning("cache_unwritable", again_in_s=pause_s)
                await self._sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)
