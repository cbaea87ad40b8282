"""The third worker: files come from their short-lived links into the local cache."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import structlog
from yarl import URL

from kafka_pipeline.claimx.links import is_expired
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloaded, Downloader
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.guard import Credential, Origin
from kafka_pipeline.common.lake.lookup import GroupedLookup
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome, Skip
from kafka_pipeline.common.runtime.processor import failure_outcome

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an id may look like before it becomes a folder [7.3]."""

_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
"""Pauses between attempts on a disk that takes nothing double from the first to the last."""

_FILE_SERVICE = "/cxfileservice/"

_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,10})\Z")

_log = structlog.get_logger(__name__)


class RefusedFileError(PipelineError):
    """A download task asks for something that is never fetched [7.3]."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Category.PERMANENT)


class LinkExpiredError(PipelineError):
    """The link's time is over; no request was made with it [LNK-4]."""

    def __init__(self) -> None:
        super().__init__("the download link has expired", Category.URL_EXPIRED)


class ClaimXDownloadWorker:
    """Downloads each file into the cache and tells the uploader.

    What the inventory already has under the same path is not fetched again [HND-5]. The cache is bounded: a download
    waits for room, and with it, in the end, the partitions it comes from.
    """

    name = "claimx-downloader"
    ordering = Ordering.KEY

    def __init__(
        self,
        *,
        topics: Topics,
        downloader: Downloader,
        cache: FileCache,
        writer: EntityTableWriter,
        allowed_extensions: Collection[str],
        expiry_margin_s: float,
        concurrency: int,
        credential: Credential | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.group = topics.group(Group.DOWNLOADER)
        self.topics = (topics.downloads_pending,)
        self._cached_topic = topics.downloads_cached
        self._downloader = downloader
        self._cache = cache
        self._writer = writer
        self._allowed_extensions = frozenset(extension.lower() for extension in allowed_extensions)
        self._expiry_margin = timedelta(seconds=expiry_margin_s)
        self._transfers = asyncio.Semaphore(concurrency)
        self._credential = credential
        self._stored = GroupedLookup(self._read_stored)
        self._clock = clock

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done with the upload task of each file once the file is in the cache."""
        return [await self._download(record) for record in records]

    async def _read_stored(self, media_ids: Collection[str]) -> Mapping[str, StoredMedia]:
        return await self._writer.stored_media(media_ids)

    async def _download(self, record: Record) -> Outcome:
        try:
            task = ClaimXDownloadTask.from_bytes(record.value)
            self._check(task)
            stored = await self._stored.get(task.media_id)
            if stored is not None and stored.holds(task.blob_path):
                return Skip(reason="already_stored")
            if is_expired(task.expires_at, now=self._clock.now(), margin=self._expiry_margin):
                raise LinkExpiredError
            cached = await self._fetch(task)
        except PipelineError as error:
            return failure_outcome(error)
        return Done(messages=(self._upload_task(cached),))

    def _check(self, task: ClaimXDownloadTask) -> None:
        if not (_SAFE_ID.fullmatch(task.media_id) and _SAFE_ID.fullmatch(task.project_id)):
            raise RefusedFileError("the media or project id is not a plain word")
        extension = _EXTENSION.search(task.blob_path)
        if extension is not None and extension[1].lower() not in self._allowed_extensions:
            raise RefusedFileError("the file extension is not among allowed_file_extensions")

    async def _fetch(self, task: ClaimXDownloadTask) -> ClaimXCachedDownload:
        name = task.blob_path.rsplit("/", 1)[-1]
        # A folder of its own for each download [WRK-3 with one level more]: of two downloads of one file neither can
        # take the other's bytes away or put its own in their place.
        relative = f"claimx/{task.media_id}/{uuid.uuid4().hex[:12]}/{name}"
        downloaded = await self._into_cache(task.download_url, self._cache.path_for(relative))
        _log.info(
            "file_cached", media_id=task.media_id, project_id=task.project_id, size_bytes=downloaded.bytes_downloaded
        )
        return task.cached(
            local_cache_path=relative,
            content_sha256=downloaded.sha256,
            bytes_downloaded=downloaded.bytes_downloaded,
            downloaded_at=self._clock.now(),
            content_type=downloaded.content_type,
        )

    async def _into_cache(self, url: str, path: Path) -> Downloaded:
        """Download once there is room; where the server told the size too late, begin again with enough of it.

        A disk that takes nothing is waited for: it is no fault of the file, and readiness tells of it [7.3].
        """
        needed_bytes, pause_s = 0, _FIRST_PAUSE_S
        while True:
            async with self._transfers:
                with await self._cache.reserve(needed_bytes) as room:
                    try:
                        downloaded = await self._downloader.download(
                            url, path, credential=self._credential, room=room.try_grow
                        )
                    except DownloadError as error:
                        if error.fault not in {Fault.NO_ROOM, Fault.CACHE_UNWRITABLE}:
                            raise
                        needed_bytes = error.needed_bytes or needed_bytes
                        self._cache.writable = error.fault is Fault.NO_ROOM
                    else:
                        self._cache.writable = True
                        room.commit(downloaded.bytes_downloaded)
                        return downloaded
            if not self._cache.writable:
                _log.warning("cache_unwritable", again_in_s=pause_s)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    def _upload_task(self, cached: ClaimXCachedDownload) -> Message:
        return Message(topic=self._cached_topic, key=cached.media_id.encode(), value=cached.to_bytes())


def leads_to_login(api: Origin | None, url: URL) -> bool:
    """Tell whether a redirect leads to the service's login page: its own origin, and not the file service there.

    Settled point 12.
    """
    return api is not None and Origin.parse(str(url.origin())) == api and _FILE_SERVICE not in url.path
