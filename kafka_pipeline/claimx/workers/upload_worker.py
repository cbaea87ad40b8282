"""The fourth worker: files go from the cache into the lake, and into its inventory."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.lake.lookup import GroupedLookup
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome, Skip
from kafka_pipeline.common.runtime.processor import failure_outcome

_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
"""Pauses between attempts on a lake that does not take a file double from the first to the last."""

_TRIES_BESIDE_SUCCESSES = 5
"""Attempts on one file while others are stored: enough for a passing 503, too few to block a partition."""

_log = structlog.get_logger(__name__)


class CacheLostError(PipelineError):
    """The file is not in the cache as it was downloaded: it must be downloaded again [7.4]."""

    def __init__(self, what: str) -> None:
        super().__init__(f"cached file {what}", Category.TRANSIENT, reason="cache_lost")


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
        self._stored_files = 0
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
        async with self._transfers:
            await _check_cached(task, local)
            await self._put(task, local)
        # Outside the bound: the wait for the commit is the longest step, and the commit wants company.
        await self._writer.write_attachments([_inventory_row(task)])
        monitoring.FILE_BYTES.observe(task.bytes_downloaded)
        _log.info("file_stored", media_id=task.media_id, project_id=task.project_id, size_bytes=task.bytes_downloaded)

    async def _put(self, task: ClaimXCachedDownload, local: Path) -> None:
        """Upload, however long the lake is away: that is no fault of the file (I7).

        A file that fails again and again while others succeed is the fault, not the lake: it is failed, or it would
        hold its partition up for ever.
        """
        delay_s, failures, since = _FIRST_PAUSE_S, 0, self._stored_files
        while True:
            try:
                await self._files.put_file(task.blob_path, local)
            except PipelineError as error:
                failures += 1
                alone = failures >= _TRIES_BESIDE_SUCCESSES and self._stored_files > since
                if alone or error.category not in {Category.TRANSIENT, Category.AUTH}:
                    raise
                await _check_cached(task, local)
                _log.warning("upload_repeated", media_id=task.media_id, error=error.text, again_in_s=delay_s)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(delay_s * 2, _LAST_PAUSE_S)
            else:
                self._stored_files += 1
                return

    def _result(self, task: ClaimXCachedDownload) -> Message:
        result = ClaimXUploadResult(
            media_id=task.media_id,
            project_id=task.project_id,
            blob_path=task.blob_path,
            status=ResultStatus.COMPLETED,
            file_type=task.file_type,
            file_name=task.file_name,
            source_event_id=task.source_event_id,
            bytes_uploaded=task.bytes_downloaded,
            retry_count=task.retry_count,
            content_type=task.content_type,
            content_sha256=task.content_sha256,
            downloaded_at=task.downloaded_at,
            created_at=self._clock.now(),
        )
        return Message(topic=self._results_topic, key=task.media_id.encode(), value=result.to_bytes())


async def _check_cached(task: ClaimXCachedDownload, local: Path) -> None:
    try:
        digest = await asyncio.to_thread(_sha256, local)
    except FileNotFoundError:
        raise CacheLostError("is gone") from None
    if digest != task.content_sha256:
        raise CacheLostError("has changed")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inventory_row(task: ClaimXCachedDownload) -> AttachmentRow:
    return AttachmentRow(
        media_id=task.media_id,
        project_id=task.project_id,
        blob_path=task.blob_path,
        file_name=task.blob_path.rsplit("/", 1)[-1],
        file_type=task.file_type or None,
        media_type=task.file_type or None,
        media_name=task.file_name or None,
        bytes_downloaded=task.bytes_downloaded,
        content_type=task.content_type,
        content_sha256=task.content_sha256,
        download_url=task.download_url,  # the writer keeps it without its query
        status=AttachmentStatus.UPLOADED,
        downloaded_at=task.downloaded_at,
        source_event_id=task.source_event_id or None,
    )
