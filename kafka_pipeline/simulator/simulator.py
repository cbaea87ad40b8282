"""A ClaimX one can run: the API, the storage behind its links, the event feed, and the truth about all of it.

async with Simulator(SimulatorSettings(seed=7)) as claimx:
config = {"claimx_api_url": claimx.api_url, "allow_private_download_hosts": claimx.download_hosts}
for item in claimx.feed():
...
report = verify(lake_root, claimx.truth())
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from aiohttp import web

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.simulator.api_server import API_PATH, ApiServer
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import Truth
from kafka_pipeline.simulator.feed import FeedItem, build_feed
from kafka_pipeline.simulator.links import Signer
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.storage_server import StorageServer
from kafka_pipeline.simulator.traffic import Traffic
from kafka_pipeline.simulator.truth import build_truth
from kafka_pipeline.simulator.world import World

SHUTDOWN_TIMEOUT_S = 1.0
"""How long open answers may take when the simulator ends."""


class Simulator:
    """Serves while it is entered. World and feed are there before; links and the truth need the ports, so not.

    `clock` decides when links expire. Raises ValueError for settings that cannot be met, OSError for a port in use,
    RuntimeError where something needs the ports and there are none yet.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings
        self._traffic = Traffic(settings.latency_ms, settings.seed)
        self._clock = clock
        self._stack = AsyncExitStack()
        self._api_host = ""
        self._storage_host = ""

    @cached_property
    def world(self) -> World:
        """Everything there is."""
        return build_world(self.settings)

    @cached_property
    def _feed(self) -> tuple[FeedItem, ...]:
        return build_feed(self.settings, self.world)

    @cached_property
    def _truth(self) -> Truth:
        api_origin, storage_origin = f"http://{self._bound(self._api_host)}", f"http://{self._storage_host}"
        return build_truth(self.world, self._feed, api_origin=api_origin, storage_origin=storage_origin)

    async def __aenter__(self) -> Self:
        """Start both servers."""
        secret = hashlib.sha256(f"{self.settings.seed}:storage".encode()).hexdigest()
        signer = Signer(access_key="SIMULATOR", secret_key=secret)
        settings, clock, traffic = self.settings, self._clock, self._traffic
        storage = StorageServer(self.world, signer=signer, traffic=traffic, clock=clock, epoch=settings.epoch)
        api = ApiServer(
            self.world,
            signer=signer,
            traffic=traffic,
            clock=clock,
            token=settings.token,
            link_lifetime_s=settings.link_lifetime_s,
        )
        async with AsyncExitStack() as stack:
            self._storage_host = await self._serve(stack, storage.app(), settings.storage_port)
            self._api_host = await self._serve(stack, api.app(), settings.api_port)
            api.origin, api.storage_host = f"http://{self._api_host}", self._storage_host
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both servers."""
        await self._stack.aclose()

    @property
    def api_url(self) -> str:
        """The base of the REST API, as `claimx_api_url` wants it."""
        return f"http://{self._bound(self._api_host)}{API_PATH}"

    @property
    def token(self) -> str:
        """The pre-encoded Basic token."""
        return self.settings.token

    @property
    def download_hosts(self) -> list[str]:
        """`host:port` of both servers, as `allow_private_download_hosts` wants them."""
        return [self._bound(self._api_host), self._bound(self._storage_host)]

    @property
    def calls(self) -> Counter[str]:
        """Calls so far, by method and endpoint template."""
        return self._traffic.calls

    @property
    def bytes_served(self) -> int:
        """Bytes of files sent so far."""
        return self._traffic.bytes_served

    def feed(self) -> tuple[FeedItem, ...]:
        """Return the items of the feed, in order."""
        return self._feed

    def truth(self) -> Truth:
        """Return what the lake must hold. The first call reads every file once, to hash it."""
        return self._truth

    async def _serve(self, stack: AsyncExitStack, app: web.Application, port: int) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self.settings.host, port).start()
        host, bound, *_ = runner.addresses[0]
        return f"{host}:{bound}"

    @staticmethod
    def _bound(host: str) -> str:
        if not host:
            raise RuntimeError("the simulator has not been started")
        return host
