"""Puts the workers of one process together: from configuration to running loops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from enum import Enum
from types import TracebackType
from typing import Self

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api_client import ClaimXApiClient, ClaimXApiSettings
from kafka_pipeline.claimx.api_health import ApiHealth
from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.failures import IN_PLACE, InPlaceFailures
from kafka_pipeline.claimx.idle import readers, wait_until_idle
from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.claimx.project_cache import ProjectCache
from kafka_pipeline.claimx.record_ids import described
from kafka_pipeline.claimx.retry.download_handler import DownloadRetryHandler
from kafka_pipeline.claimx.retry.enrichment_handler import EnrichmentRetryHandler
from kafka_pipeline.claimx.topics import DeadLetterKind, Group, Topics
from kafka_pipeline.claimx.tracing import open_tracer
from kafka_pipeline.claimx.transfers.assembly import FileWorkers
from kafka_pipeline.claimx.workers.enrichment_worker import ClaimXEnrichmentWorker
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.claimx.workers.result_processor import ClaimXResultProcessor
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.objects import check_writable
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Broker, Producer
from kafka_pipeline.common.observability.health import Findings
from kafka_pipeline.common.observability.tracing import Tracer
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.common.resilience.flood import FloodLimits
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.loop import LoopSettings, WorkerLoop
from kafka_pipeline.common.runtime.processor import FailureRouter, Processor, RetriesOf
from kafka_pipeline.config import PipelineConfig

_BROKER_CHECK_S = 10.0
"""Long enough for a slow TLS handshake; a person waits for the answer."""

_CLEAN_EVERY_S = 3_600.0

_PROBE_MARGIN_S = 5.0
"""How much longer than a call may last its place as a probe is kept."""

_IN_FLIGHT_PER_TRANSFER = 32
"""Files in flight for each that is being transferred: enough to fill a commit, few enough to drain at a stop."""

_log = structlog.get_logger(__name__)


class WorkerKind(str, Enum):
    """The five workers, by the name of their command."""

    INGESTER = "claimx-ingester"
    ENRICHER = "claimx-enricher"
    DOWNLOADER = "claimx-downloader"
    UPLOADER = "claimx-uploader"
    RESULT_PROCESSOR = "claimx-result-processor"


_RETRIES = {WorkerKind.ENRICHER: Group.ENRICHER_RETRIES, WorkerKind.DOWNLOADER: Group.DOWNLOADER_RETRIES}
"""Workers with retry topics, and the groups they read them in."""


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
        tracer: Tracer | None = None,
    ) -> None:
        """Without a `tracer` the setting `tracing` decides."""
        self._config = config
        self._tracer = tracer
        self._kinds = tuple(kinds)
        self._environ = environ
        self._clock = clock
        self._stack = AsyncExitStack()
        self.topics = Topics.from_config(config)
        self._broker: Broker
        self._producer: Producer
        self._loops: list[WorkerLoop] = []
        self._watch: monitoring.BrokerWatch
        self._files: FileWorkers
        self._client: ClaimXApiClient | None = None
        self._lake: LakeWriter

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
        cleaner = asyncio.create_task(self._keep_cache_clean(), name="cache-cleaner")
        broker_watch = asyncio.create_task(self._watch.run(), name="broker-watch")
        loops = [asyncio.create_task(loop.run(stop), name=loop.name) for loop in self._loops]
        try:
            await asyncio.wait([*loops, watcher], return_when=asyncio.FIRST_EXCEPTION)
        finally:
            stop.set()
            watcher.cancel()
            cleaner.cancel()
            broker_watch.cancel()
            results = await asyncio.gather(*loops, watcher, cleaner, broker_watch, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    @property
    def begun(self) -> bool:
        """Whether every worker has begun and none has ended."""
        return not any(loop.signs.drains for loop in self._loops)

    def liveness(self) -> Findings:
        """Return why only a restart can help. An outage of a dependency is no reason: restarting would not end it."""
        return monitoring.liveness(self._loops, self._services())

    def readiness(self) -> Findings:
        """Return what stands in the way of work, in words of [WRK-5] where it has them."""
        return monitoring.readiness(
            self._loops, self._services(), connected=self._watch.connected, ignoring=frozenset({IN_PLACE})
        )

    def _services(self) -> dict[str, monitoring.Service]:
        services: dict[str, monitoring.Service] = {"lake": self._lake}
        if self._client is not None:
            services["claimx_api"] = self._client
        if self._files.cache is not None:
            services["cache"] = self._files.cache
        return services

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

    async def _keep_cache_clean(self) -> None:
        """Remove forgotten files now and then [WRK-3], but not while the lake is away and uploads wait for it."""
        while (cache := self._files.cache) is not None:
            if self._lake.healthy:
                try:
                    cleaned = await cache.clean(self._clock.now())
                    _log.info("cache_cleaned", files=cleaned.files, freed_bytes=cleaned.freed_bytes)
                except PipelineError as error:  # the downloads that need the cache say the same, with consequences
                    _log.warning("cache_not_cleaned", error=error.text)
            await asyncio.sleep(_CLEAN_EVERY_S)

    # -- opening -------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        tracer = self._tracer or open_tracer(self._config, self._environ, self._stack)
        self._broker = open_broker(self._config, self._environ)
        self._stack.push_async_callback(self._broker.close)
        self._watch = monitoring.BrokerWatch(self._broker, self._loops, clock=self._clock)
        await self._broker.check(_BROKER_CHECK_S)
        await ensure_topics(self._broker, self.topics, self._config)
        location = lake_location(self._config, self._environ, clock=self._clock)
        await check_writable(location)
        self._producer = self._broker.producer()
        self._stack.push_async_callback(self._producer.close)
        lake = LakeWriter.at(
            location,
            flush_rows=self._config.delta_flush_rows,
            flush_seconds=self._config.delta_flush_seconds,
            # Rows of one commit that is made, and as many that gather meanwhile, are all that may be in flight.
            due_rows=max(1, self._config.worker_max_in_flight_records // 2),
        )
        self._stack.push_async_callback(lake.close)
        self._lake = lake
        self._files = FileWorkers(
            self._config,
            topics=self.topics,
            environ=self._environ,
            location=location,
            stack=self._stack,
            clock=self._clock,
        )
        for kind in self._kinds:
            processor, settings = await self._processor(kind, lake)
            self._loops.append(self._loop(kind, processor, settings, tracer))
            if kind in _RETRIES:
                retries = RetriesOf(processor, self.topics.group(_RETRIES[kind]))
                topics = [topic for topic, group in readers(self.topics).items() if group is _RETRIES[kind]]
                self._loops.append(self._loop(kind, retries, settings, tracer, delayed_topics=topics))

    def _loop(
        self,
        kind: WorkerKind,
        processor: Processor,
        settings: LoopSettings,
        tracer: Tracer,
        *,
        delayed_topics: Sequence[str] = (),
    ) -> WorkerLoop:
        return WorkerLoop(
            processor,
            consumer=self._broker.consumer(processor.group),
            producer=self._producer,
            failures=self._failures(kind),
            delayed_topics=delayed_topics,
            settings=settings,
            clock=self._clock,
            tracer=tracer,
            describe=described,
        )

    def _failures(self, kind: WorkerKind) -> FailureRouter:
        policy = RetryPolicy(delays_s=self._config.claimx_retry_delays_seconds)
        match kind:
            case WorkerKind.INGESTER:
                return InPlaceFailures(DeadLetterKind.EVENTS, self.topics, self._clock)
            case WorkerKind.ENRICHER:
                return EnrichmentRetryHandler(topics=self.topics, policy=policy, clock=self._clock)
            case WorkerKind.DOWNLOADER | WorkerKind.UPLOADER:
                return DownloadRetryHandler(topics=self.topics, policy=policy, clock=self._clock)
            case WorkerKind.RESULT_PROCESSOR:
                return InPlaceFailures(DeadLetterKind.DOWNLOADS, self.topics, self._clock)

    async def _processor(self, kind: WorkerKind, lake: LakeWriter) -> tuple[Processor, LoopSettings]:
        config = self._config
        signed_links = config.claimx_store_signed_links
        entities = EntityTableWriter(lake, clock=self._clock, signed_links=signed_links)
        match kind:
            case WorkerKind.INGESTER:
                events = ClaimXEventsWriter(lake, clock=self._clock, signed_links=signed_links)
                return ClaimXEventIngesterWorker(
                    topics=self.topics, writer=events, max_event_bytes=config.max_event_bytes, clock=self._clock
                ), self._batched()
            case WorkerKind.ENRICHER:
                api = await self._api()
                await self._check_api(api)
                cached = ProjectCache(
                    api,
                    max_projects=config.claimx_project_cache_size,
                    max_age_s=config.claimx_project_cache_seconds,
                    clock=self._clock,
                )
                return ClaimXEnrichmentWorker(
                    topics=self.topics, api=cached, writer=entities, store_signed_links=signed_links, clock=self._clock
                ), self._batched()
            case WorkerKind.DOWNLOADER:
                # Not checked at the start: files whose links are good need no API.
                return await self._files.downloader(await self._api(), entities), self._single(
                    config.download_concurrency
                )
            case WorkerKind.UPLOADER:
                return await self._files.uploader(entities), self._single(config.upload_concurrency)
            case WorkerKind.RESULT_PROCESSOR:
                return ClaimXResultProcessor(topics=self.topics, writer=entities), self._batched()

    def _batched(self) -> LoopSettings:
        config = self._config
        return LoopSettings(
            max_batch_records=config.worker_batch_records,
            linger_s=config.worker_batch_seconds,
            max_in_flight_records=config.worker_max_in_flight_records,
            max_waiting_records=config.worker_max_in_flight_records,
            revoke_timeout_s=_revoke_timeout_s(config),
            shutdown_timeout_s=config.shutdown_timeout_seconds,
            flood=_flood_limits(config),
        )

    def _single(self, concurrency: int) -> LoopSettings:
        """Return settings for files: one record a batch, so that a large file keeps none waiting but itself.

        The workers bound the transfers themselves; far more records may be in flight, since most of them wait for the
        commit of their inventory row.
        """
        return LoopSettings(
            max_batch_records=1,
            linger_s=0.0,
            max_in_flight_records=_IN_FLIGHT_PER_TRANSFER * concurrency,
            max_waiting_records=_IN_FLIGHT_PER_TRANSFER * concurrency,
            revoke_timeout_s=_revoke_timeout_s(self._config),
            shutdown_timeout_s=self._config.shutdown_timeout_seconds,
            flood=_flood_limits(self._config),
        )

    async def _check_api(self, api: ClaimXApiClient) -> None:
        """Raise PipelineError with a remedy unless the API answers and accepts the token."""
        try:
            await api.check()
        except PipelineError as error:
            where = self._config.require_claimx_api_url()
            if error.category is Category.AUTH:
                variable = self._config.claimx_api_token_env
                what = f"refuses the token: check the variable {variable}, a newly issued key replaces the old one"
            else:
                what = f"does not answer as it should ({error.text}): check claimx_api_url and the network"
            raise PipelineError(f"the ClaimX API at {where} {what}", error.category) from None

    # -- parts ---------------------------------------------------------------------------------------------------

    async def _api(self) -> ClaimXApiClient:
        """Return the process's one client: its limits are the service's, whoever asks."""
        if self._client is None:
            health = ApiHealth(self._breaker_settings(), clock=self._clock)
            client = ClaimXApiClient(self._api_settings(), health=health, clock=self._clock)
            self._client = await self._stack.enter_async_context(client)
        return self._client

    def _api_settings(self) -> ClaimXApiSettings:
        config = self._config
        return ClaimXApiSettings(
            url=config.require_claimx_api_url(),
            token=config.claimx_api_token(self._environ),
            max_concurrent=config.claimx_api_max_concurrent,
            min_concurrent=config.claimx_api_min_concurrent,
            timeout_s=config.claimx_api_timeout_seconds,
            quick_retries=config.claimx_api_quick_retries,
            rate_limit_per_second=config.claimx_api_rate_limit_per_second,
            sender_username=(
                config.require_claimx_api_sender_username()
                if WorkerKind.ENRICHER in self._kinds
                else config.claimx_api_sender_username
            ),
        )

    def _breaker_settings(self) -> CircuitSettings:
        config = self._config
        return CircuitSettings(
            failure_threshold=config.claimx_breaker_failure_threshold,
            reset_s=config.claimx_breaker_reset_seconds,
            probe_lease_s=config.claimx_api_timeout_seconds + _PROBE_MARGIN_S,
        )


def _revoke_timeout_s(config: PipelineConfig) -> float:
    """Return a time below the consumer's own budget, a fifth of the poll interval: late answers are not heard."""
    return min(30.0, config.kafka_max_poll_interval_seconds / 10)


def _flood_limits(config: PipelineConfig) -> FloodLimits:
    return FloodLimits(
        window_s=config.dead_letter_window_seconds,
        max_share=config.dead_letter_max_share,
        min_dead=config.dead_letter_min_records,
    )
