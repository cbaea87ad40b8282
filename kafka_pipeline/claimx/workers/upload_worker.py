"""The fourth worker: files go from the cache into the lake, and into its inventory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.blob_path import is_blob_path
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.transfers.inventory import completed, stored_row
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.claimx.transfers.transfer import Arrived
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.lake.lookup import GroupedLookup
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.pulse import awaiting, within
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome, Skip
from kafka_pipeline.common.runtime.processor import failure_outcome

_HASH_S = 3_600.0
"""Longest time to hash a cached file: of the largest one on a slow disk, with company."""

_log = structlog.get_logger(__name__)


class CacheLostError(PipelineError):
    """The file is not in the cache as it was downloaded: it must be downloaded again [7.4]."""

    def __init__(self, what: str) -> None:
        super().__init__(f"cached file {what}", Category.TRANSIENT, reason="cache_lost")


class RefusedPathError(PipelineError):
    """An upload task asks for another file's place [BLB-1]."""

    def __init__(self) -> None:
        super().__init__("the blob path is not that of its project and media", Category.PERMANENT)


class ClaimXUploadWorker:
    """Uploads each cached file: the file, then its inventory row, then the result message, then the cache file goes.

    Each step may be repeated by a redelivery. What the inventory already has with the same path and hash is not
    uploaded again [HND-5]; that also covers a crash after the cache file went and before the offset was committed.
    """

    name = "claimx-uploader"
    ordering = Ordering.KEY

    def __init__(
        self,
        *,
        topics: Topics,
        files: ObjectStore,
        cache: FileCache,
        writer: EntityTableWriter,
        patience: LakePatience,
        concurrency: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.group = topics.group(Group.UPLOADER)
        self.topics = (topics.downloads_cached,)
        self._results_topic = topics.downloads_results
        self._files = files
        self._cache = cache
        self._writer = writer
        self._transfers = asyncio.Semaphore(concurrency)
        self._patience = patience
        self._stored = GroupedLookup(self._read_stored)
        self._clock = clock

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done with the result of each file once its inventory row is durable."""
        return [await self._upload(record) for record in records]

    async def _read_stored(self, media_ids: Collection[str]) -> Mapping[str, StoredMedia]:
        return await self._writer.stored_media(media_ids)

    async def _upload(self, record: Record) -> Outcome:
        try:
            task = ClaimXCachedDownload.from_bytes(record.value)
            if not is_blob_path(task.blob_path, project_id=task.project_id, media_id=task.media_id):
                raise RefusedPathError
            local = self._cache.path_for(task.local_cache_path)
            stored = await self._stored.get(task.media_id)
            if stored is not None and stored.holds(task.blob_path, task.content_sha256):
                _log.info("file_already_stored", media_id=task.media_id)
            else:
                await self._transfer(task, local)
        except CacheLostError as error:
            return await self._lost(task, error)
        except PipelineError as error:
            return failure_outcome(error)
        return Done(messages=(self._result(task),), cleanup=partial(self._cache.release, local))

    async def _lost(self, task: ClaimXCachedDownload, error: CacheLostError) -> Outcome:
        """Decide about a file that is not in the cache: whoever took it may have stored it meanwhile.

        That is another owner of the partition before a rebalance, or a later download of the same media.
        """
        try:
            stored = await self._stored.get(task.media_id)
        except PipelineError as unreadable:
            return failure_outcome(unreadable)
        if stored is not None and stored.holds(task.blob_path, task.content_sha256):
            return Done(messages=(self._result(task),))
        if stored is not None and stored.supersedes(task.downloaded_at):
            return Skip(reason="superseded")
        return failure_outcome(error)

    async def _transfer(self, task: ClaimXCachedDownload, local: Path) -> None:
        with awaiting("turn"):
            await self._transfers.acquire()
        try:
            await _check_cached(task, local)
            await self._put(task, local)
        finally:
            self._transfers.release()
        # Outside the bound: the wait for the commit is the longest step, and the commit wants company.
        await self._writer.write_attachments([stored_row(task, _arrived(task))])
        monitoring.FILE_BYTES.observe(task.bytes_downloaded)
        _log.info("file_stored", media_id=task.media_id, project_id=task.project_id, size_bytes=task.bytes_downloaded)

    async def _put(self, task: ClaimXCachedDownload, local: Path) -> None:
        """Upload, however long the lake is away: that is no fault of the file (I7)."""
        patience = self._patience.with_file(task.media_id)
        while True:
            try:
                with awaiting("lake"):
                    await self._files.put_file(task.blob_path, local)
            except PipelineError as error:
                await patience.after(error)
                await _check_cached(task, local)  # another owner of the partition may have taken it meanwhile
            else:
                self._patience.stored()
                return

    def _result(self, task: ClaimXCachedDownload) -> Message:
        return completed(task, _arrived(task), topic=self._results_topic, now=self._clock.now())


async def _check_cached(task: ClaimXCachedDownload, local: Path) -> None:
    try:
        with within(_HASH_S):
            digest = await asyncio.to_thread(_sha256, local)
    except FileNotFoundError:
        raise CacheLostError("is gone") from None
    if digest != task.content_sha256:
        raise CacheLostError("has changed")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _arrived(task: ClaimXCachedDownload) -> Arrived:
    return Arrived(
        size_bytes=task.bytes_downloaded,
        sha256=task.content_sha256,
        content_type=task.content_type,
        at=task.downloaded_at,
    )
