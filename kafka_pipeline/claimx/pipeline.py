"""Puts the workers of one process together: from configuration to running loops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from enum import Enum
from types import TracebackType
from typing import Self

import structlog

from kafka_pipeline.claimx.api_client import ClaimXApiClient, ClaimXApiSettings
from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.failures import ClaimXFailureRouter
from kafka_pipeline.claimx.idle import wait_until_idle
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.claimx.workers.download_worker import ClaimXDownloadWorker
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.claimx.workers.result_processor import ClaimXResultProcessor
from kafka_pipeline.claimx.workers.upload_worker import ClaimXUploadWorker
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy
from kafka_pipeline.common.lake.location import LakeLocation, check_writable
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.messaging import Broker, Producer
from kafka_pipeline.common.runtime.loop import LoopSettings, WorkerLoop
from kafka_pipeline.common.runtime.processor import Processor
from kafka_pipeline.config import PipelineConfig

_BROKER_CHECK_S = 10.0
"""Long enough for a slow TLS handshake; a person waits for the answer."""

_log = structlog.get_logger(__name__)


class WorkerKind(str, Enum):
    """The five workers, by the name of their command."""

    INGESTER = "claimx-ingester"
    ENRICHER = "claimx-enricher"
    DOWNLOADER = "claimx-downloader"
    UPLOADER = "claimx-uploader"
    RESULT_PROCESSOR = "claimx-result-processor"


_DEAD_LETTERS = {
    WorkerKind.INGESTER: DeadLetterKind.EVENTS,
    WorkerKind.ENRICHER: DeadLetterKind.ENRICHMENT,
    WorkerKind.DOWNLOADER: DeadLetterKind.DOWNLOADS,
    WorkerKind.UPLOADER: DeadLetterKind.DOWNLOADS,
    WorkerKind.RESULT_PROCESSOR: DeadLetterKind.DOWNLOADS,
}


class Pipeline:
    """The chosen workers, with everything they share: broker, producer, lake, API client, cache.

    As a context manager it checks every dependency before anything is consumed, and frees everything afterwards, also
    when the start fails half-way. Entering raises ConfigError, MessagingError or PipelineError, each one sentence.
    """

    def __init__(
        self,
        config: PipelineConfig,
        kinds: Sequence[WorkerKind],
        *,
        environ: Mapping[str, str],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._config = config
        self._kinds = tuple(kinds)
        self._environ = environ
        self._clock = clock
        self._stack = AsyncExitStack()
        self.topics = Topics.from_config(config)
        self._broker: Broker
        self._producer: Producer
        self._loops: list[WorkerLoop] = []

    async def __aenter__(self) -> Self:
        """Check and open everything that the chosen workers need."""
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free everything, in the reverse order."""
        await self._stack.aclose()

    async def run(self, stop: asyncio.Event, *, exit_when_idle_s: float | None = None) -> None:
        """Work until `stop` is set, or until nothing was left to do for `exit_when_idle_s` seconds; then drain.

        If one worker fails, the others drain and its error is raised.
        """
        watcher = asyncio.create_task(self._stop_when_idle(stop, exit_when_idle_s), name="idle-watch")
        loops = [asyncio.create_task(loop.run(stop)) for loop in self._loops]
        try:
            await asyncio.wait([*loops, watcher], return_when=asyncio.FIRST_EXCEPTION)
        finally:
            stop.set()
            watcher.cancel()
            results = await asyncio.gather(*loops, watcher, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _stop_when_idle(self, stop: asyncio.Event, idle_s: float | None) -> None:
        if idle_s is None:
            await stop.wait()
            return
        admin = self._broker.admin()
        try:
            await wait_until_idle(admin, self.topics, idle_s=idle_s, clock=self._clock)
            _log.info("idle", seconds=idle_s)
        finally:
            await admin.close()
        stop.set()

    # -- opening -------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._broker = open_broker(self._config, self._environ)
        self._stack.push_async_callback(self._broker.close)
        await self._broker.check(_BROKER_CHECK_S)
        await ensure_topics(self._broker, self.topics, self._config)
        location = LakeLocation.from_url(self._config.lake_location)
        await check_writable(location)
        self._producer = self._broker.producer()
        self._stack.push_async_callback(self._producer.close)
        entities = await self._stack.enter_async_context(
            EntityTableWriter(
                location,
                flush_seconds=self._config.delta_flush_seconds,
                flush_rows=self._config.delta_flush_rows,
                clock=self._clock,
            )
        )
        for kind in self._kinds:
            processor, settings = await self._processor(kind, location, entities)
            self._loops.append(
                WorkerLoop(
                    processor,
                    consumer=self._broker.consumer(processor.group),
                    producer=self._producer,
                    failures=ClaimXFailureRouter(kind=_DEAD_LETTERS[kind], topics=self.topics, clock=self._clock),
                    settings=settings,
                    clock=self._clock,
                )
            )

    async def _processor(
        self, kind: WorkerKind, location: LakeLocation, entities: EntityTableWriter
    ) -> tuple[Processor, LoopSettings]:
        config = self._config
        match kind:
            case WorkerKind.INGESTER:
                events = await self._stack.enter_async_context(
                    ClaimXEventsWriter(
                        location,
                        flush_seconds=config.delta_flush_seconds,
                        flush_rows=config.delta_flush_rows,
                        clock=self._clock,
                    )
                )
                return ClaimXEventIngesterWorker(
                    topics=self.topics, writer=events, max_event_bytes=config.max_event_bytes, clock=self._clock
                ), self._batched()
            case WorkerKind.ENRICHER:
                api = await self._stack.enter_async_context(self._api_client())
                await api.check()
                return ClaimXEnrichmentWorker(
                    topics=self.topics, api=api, writer=entities, clock=self._clock
                ), self._batched()
            case WorkerKind.DOWNLOADER:
                downloader = await self._stack.enter_async_context(Downloader(self._download_policy()))
                return ClaimXDownloadWorker(
                    topics=self.topics,
                    downloader=downloader,
                    cache=await self._cache(),
                    writer=entities,
                    settings=config,
                    clock=self._clock,
                ), self._single(config.download_concurrency)
            case WorkerKind.UPLOADER:
                return ClaimXUploadWorker(
                    topics=self.topics,
                    files=ObjectStore.for_files(location),
                    cache=await self._cache(),
                    writer=entities,
                    clock=self._clock,
                ), self._single(config.upload_concurrency)
            case WorkerKind.RESULT_PROCESSOR:
                return ClaimXResultProcessor(topics=self.topics, writer=entities), self._batched()

    def _batched(self) -> LoopSettings:
        config = self._config
        return LoopSettings(
            max_batch_records=config.worker_batch_records,
            linger_s=config.worker_batch_seconds,
            max_in_flight_records=config.worker_max_in_flight_records,
            max_waiting_records=config.worker_max_in_flight_records,
            revoke_timeout_s=config.revoke_timeout_seconds,
            shutdown_timeout_s=config.shutdown_timeout_seconds,
        )

    def _single(self, concurrency: int) -> LoopSettings:
        """Return settings for files: one record a batch, so that a large file keeps none waiting but itself."""
        return LoopSettings(
            max_batch_records=1,
            linger_s=0.0,
            max_in_flight_records=concurrency,
            max_waiting_records=4 * concurrency,
            revoke_timeout_s=self._config.revoke_timeout_seconds,
            shutdown_timeout_s=self._config.shutdown_timeout_seconds,
        )
