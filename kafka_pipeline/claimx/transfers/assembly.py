"""Puts downloader and uploader together: from configuration to workers, each shared part made once per process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from kafka_pipeline.claimx.api import ClaimXApi, ClaimXApiSettings
from kafka_pipeline.claimx.retry.link_refresher import LinkRefresher
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.transfers.cached import CacheTransfer
from kafka_pipeline.claimx.transfers.direct import DirectTransfer
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.claimx.transfers.transfer import Fetcher, Transfer
from kafka_pipeline.claimx.workers.download_worker import ClaimXDownloadWorker, leads_to_login
from kafka_pipeline.claimx.workers.upload_worker import ClaimXUploadWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.clock import Clock
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import Credential, DownloadPolicy, Origin
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.config import PipelineConfig

_LEASE_BEYOND_TIMEOUT_S: Final = 30.0
"""A probe is given up so long after the attempt must have ended by itself."""


class FileWorkers:
    """Makes the workers that move files. What it opens is closed by the stack that was handed in."""

    def __init__(
        self,
        config: PipelineConfig,
        *,
        topics: Topics,
        environ: Mapping[str, str],
        location: LakeLocation,
        stack: AsyncExitStack,
        clock: Clock,
    ) -> None:
        self._config = config
        self._topics = topics
        self._environ = environ
        self._stack = stack
        self._clock = clock
        self._location = location
        self._patience = LakePatience()
        self.cache: FileCache | None = None
        """None in a process whose workers need none."""

    async def downloader(self, api: ClaimXApi, writer: EntityTableWriter) -> ClaimXDownloadWorker:
        """Return the downloader, of the kind that `transfer_mode` names. Raises DownloadError if there is no cache."""
        config = self._config
        return ClaimXDownloadWorker(
            topics=self._topics,
            transfer=await self._transfer(await self._fetcher(), writer),
            links=LinkRefresher(api, clock=self._clock),
            writer=writer,
            patience=self._patience,
            allowed_extensions=config.allowed_file_extensions,
            expiry_margin_s=config.claimx_url_expiry_margin_seconds,
            clock=self._clock,
        )

    async def uploader(self, writer: EntityTableWriter) -> ClaimXUploadWorker:
        """Return the uploader. In direct mode it works off what an earlier cached mode has left."""
        return ClaimXUploadWorker(
            topics=self._topics,
            files=ObjectStore.at(self._location),
            cache=await self._shared_cache(),
            writer=writer,
            patience=self._patience,
            concurrency=self._config.upload_concurrency,
            clock=self._clock,
        )

    async def _transfer(self, fetcher: Fetcher, writer: EntityTableWriter) -> Transfer:
        if self._config.transfer_mode == "direct":
            return DirectTransfer(
                topic=self._topics.downloads_results,
                fetcher=fetcher,
                files=ObjectStore.at(self._location),
                writer=writer,
                patience=self._patience,
                clock=self._clock,
            )
        cache = await self._shared_cache()
        return CacheTransfer(topic=self._topics.downloads_cached, fetcher=fetcher, cache=cache)

    async def _fetcher(self) -> Fetcher:
        config = self._config
        credential = self._credential()
        policy = DownloadPolicy(
            allowed_hosts=frozenset(config.allowed_download_hosts),
            private_hosts=frozenset(config.allow_private_download_hosts),
            max_bytes=config.claimx_max_file_bytes,
            total_timeout_s=config.claimx_download_timeout_seconds,
        )
        downloader = Downloader(
            policy,
            is_login_page=partial(leads_to_login, credential.origin),
            max_connections=config.download_concurrency,
            clock=self._clock,
        )
        gates = HostGates(
            (*config.allowed_download_hosts, *config.allow_private_download_hosts),
            CircuitSettings(
                failure_threshold=config.claimx_breaker_failure_threshold,
                reset_s=config.claimx_breaker_reset_seconds,
                probe_lease_s=config.claimx_download_timeout_seconds + _LEASE_BEYOND_TIMEOUT_S,
            ),
            places=config.download_concurrency_per_host,
            clock=self._clock,
        )
        opened = await self._stack.enter_async_context(downloader)
        return Fetcher(opened, gates, concurrency=config.download_concurrency, credential=credential, clock=self._clock)

    def _credential(self) -> Credential:
        """Return the API token for the origin of the API alone (settled point 19)."""
        config = self._config
        api = ClaimXApiSettings(url=config.require_claimx_api_url(), token=config.claimx_api_token(self._environ))
        return Credential(origin=Origin.parse(api.url), headers={"Authorization": api.authorization})

    async def _shared_cache(self) -> FileCache:
        """Return the process's one cache: downloader and uploader must count the same bytes."""
        if self.cache is None:
            cache = FileCache(self._config.cache_location, self._config.cache_max_bytes)
            await cache.start()
            self.cache = cache
        return self.cache
