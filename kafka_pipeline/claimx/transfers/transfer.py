"""What every way of a file has in common: who may be asked for it, and what it is when it has come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from kafka_pipeline.claimx.links import host_of, is_expired
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.http import metrics
from kafka_pipeline.common.http.download import Downloaded, Downloader
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.guard import Credential
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.http.sinks import Sink
from kafka_pipeline.common.observability.tracing import span
from kafka_pipeline.common.pulse import awaiting
from kafka_pipeline.common.runtime.outcomes import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A file that has come as a whole."""

    size_bytes: int
    sha256: str
    """Hex."""
    content_type: str | None
    at: datetime


class Transfer(Protocol):
    """Brings one file on its way. The downloader has one of these."""

    async def bring(self, task: ClaimXDownloadTask) -> Done:
        """Return what follows from the file once it is durable. Raises PipelineError; then nothing of it is left."""


class Fetcher:
    """Streams the file of a task into a sink: with the credential that its host may see, past the gate of that host."""

    def __init__(
        self,
        downloader: Downloader,
        gates: HostGates,
        *,
        concurrency: int,
        credential: Credential | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._downloader = downloader
        self._gates = gates
        self._places = asyncio.Semaphore(concurrency)
        self._credential = credential
        self._clock = clock

    @asynccontextmanager
    async def turn(self, task: ClaimXDownloadTask) -> AsyncIterator[None]:
        """Wait for a place, and hold it: first among the files of the host, so that its queue keeps no others out."""
        async with AsyncExitStack() as held:
            with awaiting("turn"):
                await held.enter_async_context(self._gates.place(task.download_url))
                await held.enter_async_context(self._places)
            yield

    async def fetch(
        self, task: ClaimXDownloadTask, sink: Sink, *, room: Callable[[int], bool] | None = None
    ) -> Arrived:
        """Return what came. Raises DownloadError, and UnavailableError while the host is known to be down.

        A link that went past its end while its file waited for a turn or for room is not asked [LNK-4].
        """
        if is_expired(task.expires_at, now=self._clock.now(), margin=timedelta()):
            raise DownloadError(Fault.EXPIRED, host=host_of(task.download_url), detail="not asked")
        async with self._gates.passing(task.download_url, file_id=task.media_id):
            with span("download", **{"server.address": host_of(task.download_url) or "unknown"}):
                downloaded = await self._measured(task, sink, room)
        return Arrived(
            size_bytes=downloaded.bytes_downloaded,
            sha256=downloaded.sha256,
            content_type=downloaded.content_type,
            at=self._clock.now(),
        )

    async def _measured(self, task: ClaimXDownloadTask, sink: Sink, room: Callable[[int], bool] | None) -> Downloaded:
        started_s, result = self._clock.monotonic(), "cancelled"
        try:
            downloaded = await self._downloader.stream(
                task.download_url,
                sink,
                file_name=task.blob_path.rsplit("/", 1)[-1],
                credential=self._credential,
                room=room,
            )
        except DownloadError as error:
            result = error.fault.value
            raise
        else:
            result = "success"
            metrics.DOWNLOAD_SECONDS.observe(self._clock.monotonic() - started_s)
            return downloaded
        finally:
            metrics.DOWNLOADS.labels(result).inc()
