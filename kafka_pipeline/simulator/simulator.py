"""A ClaimX one can run: the API, the storage behind its links, the event feed, faults, and the truth about all of it.

async with Simulator(SimulatorSettings(seed=7)) as claimx:
config = {"claimx_api_url": claimx.api_url, "allow_private_download_hosts": claimx.download_hosts}
for item in claimx.feed():
...
report = verify(lake_root, claimx.truth())
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import cached_property
from types import TracebackType
from typing import Self

from aiohttp import web

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.simulator.api_server import API_PATH, ApiServer
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.control import PATH as CONTROL_PATH
from kafka_pipeline.simulator.control import ControlServer
from kafka_pipeline.simulator.door import Door
from kafka_pipeline.simulator.expectation import Truth
from kafka_pipeline.simulator.fault_board import FaultBoard
from kafka_pipeline.simulator.faults import NO_FAULTS, Endpoint, FaultKind, FaultScript
from kafka_pipeline.simulator.feed import FeedItem, build_feed
from kafka_pipeline.simulator.links import Signer
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.storage_server import StorageServer
from kafka_pipeline.simulator.traffic import Traffic
from kafka_pipeline.simulator.truth import build_truth
from kafka_pipeline.simulator.world import World

_LOOPBACK = "127.0.0.1"

SHUTDOWN_TIMEOUT_S = 1.0
"""How long open answers may take when the simulator ends."""


class Simulator:
    """Serves while it is entered. World and feed are there before; links and the truth need the ports, so not.

    `clock` decides when links expire and faults begin; `faults` are in force from the start. Raises ValueError for
    settings that cannot be met, OSError for a port in use, RuntimeError where something needs the ports and there are
    none yet.
    """

    def __init__(
        self, settings: SimulatorSettings, clock: Clock = SYSTEM_CLOCK, *, faults: FaultScript = NO_FAULTS
    ) -> None:
        self.settings = settings
        self._faults = faults
        self._board = FaultBoard(clock)
        self._traffic = Traffic(settings.latency_ms, settings.seed, self._board, clock)
        self._clock = clock
        self._stack = AsyncExitStack()
        self._faults_changed = asyncio.Event()
        self._api_host = ""
        self._storage_host = ""
        self._control_host = ""
        self._listening = ("", "")

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
        """Start all servers."""
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
        control = ControlServer(self._board, self.put_faults)
        async with AsyncExitStack() as stack:
            storage_door = await self._serve(stack, storage.app(), settings.storage_port)
            self._storage_host = settings.storage_reached_at or storage_door.address
            api_door = await self._serve(stack, api.app(), settings.api_port)
            self._api_host = settings.api_reached_at or api_door.address
            control_door = await self._serve(stack, control.app(), settings.control_port, host=_LOOPBACK)
            self._control_host = control_door.address
            self._listening = (api_door.address, storage_door.address)
            api.origin, api.storage_host = f"http://{self._api_host}", self._storage_host
            self.put_faults(self._faults)
            keeper = asyncio.create_task(self._keep({Endpoint.PROJECT: api_door, Endpoint.FILE: storage_door}))
            stack.push_async_callback(_end, keeper)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all servers."""
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
    def listening(self) -> list[tuple[str, int]]:
        """Host and port on which API and storage really listen, for what stands between."""
        places = (self._bound(address).rsplit(":", 1) for address in self._listening)
        return [(host, int(port)) for host, port in places]

    @property
    def calls(self) -> Counter[str]:
        """Calls so far, by method and endpoint template."""
        return self._traffic.calls

    @property
    def bytes_served(self) -> int:
        """Bytes of files sent so far."""
        return self._traffic.bytes_served

    @property
    def faults_url(self) -> str:
        """Where faults are put in force while it runs; see `control`."""
        return f"http://{self._bound(self._control_host)}{CONTROL_PATH}"

    @property
    def injected(self) -> Counter[FaultKind]:
        """What was struck so far, by kind; an outage that refuses connections counts none."""
        return self._board.injected

    def put_faults(self, script: FaultScript) -> None:
        """Put a script in force in place of the one before; its time starts now."""
        self._board.load(script)
        self._faults_changed.set()

    def feed(self) -> tuple[FeedItem, ...]:
        """Return the items of the feed, in order."""
        return self._feed

    def truth(self) -> Truth:
        """Return what the lake must hold. The first call reads every file once, to hash it."""
        return self._truth

    async def _serve(self, stack: AsyncExitStack, app: web.Application, port: int, *, host: str = "") -> Door:
        door = Door(app, host or self.settings.host, port, shutdown_timeout_s=SHUTDOWN_TIMEOUT_S)
        stack.push_async_callback(door.close)
        await door.set_up()
        return door

    async def _keep(self, doors: Mapping[Endpoint, Door]) -> None:
        """Shut and open the doors when the script says so."""
        while True:
            self._faults_changed.clear()
            # One look at the clock for both questions: a timer may fire early, and between two looks an outage could
            # end unseen. It would then last for ever.
            now_s = self._board.elapsed_s
            for endpoint, door in doors.items():
                if self._board.refuses_connections(endpoint, now_s):
                    await door.shut()
                else:
                    await door.open()
            change_s = self._board.next_change_s(now_s)
            wait_s = None if change_s == math.inf else max(0.0, change_s - self._board.elapsed_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._faults_changed.wait(), wait_s)

    @staticmethod
    def _bound(host: str) -> str:
        if not host:
            raise RuntimeError("the simulator has not been started")
        return host


async def _end(task: asyncio.Task[None]) -> None:
    """End a task, and raise what it died of before that."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
