"""Direct mode: the file streams from its link straight into the lake, and never touches the disk."""

from __future__ import annotations

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.transfers.inventory import completed, stored_row
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.claimx.transfers.transfer import Fetcher
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.runtime.outcomes import Done

_log = structlog.get_logger(__name__)


class DirectTransfer:
    """Does downloader's and uploader's work in one step: the file, then its inventory row, then the result message.

    Each step may be repeated by a redelivery: the path is the same, so the file is overwritten by itself. What fails
    half-way leaves nothing that readers of the lake could see.
    """

    def __init__(
        self,
        *,
        topic: str,
        fetcher: Fetcher,
        files: ObjectStore,
        writer: EntityTableWriter,
        patience: LakePatience,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`topic` is where results go."""
        self._topic = topic
        self._fetcher = fetcher
        self._files = files
        self._writer = writer
        self._patience = patience
        self._clock = clock

    async def bring(self, task: ClaimXDownloadTask) -> Done:
        """Return the result message once the file is in the lake and in its inventory."""
        async with self._fetcher.turn(task):
            arrived = await self._fetcher.fetch(task, self._files.upload(task.blob_path))
        self._patience.stored()
        # Outside the bound: the wait for the commit is the longest step, and the commit wants company.
        await self._writer.write_attachments([stored_row(task, arrived)])
        monitoring.FILE_BYTES.observe(arrived.size_bytes)
        _log.info("file_stored", media_id=task.media_id, project_id=task.project_id, size_bytes=arrived.size_bytes)
        return Done(messages=(completed(task, arrived, topic=self._topic, now=self._clock.now()),))
