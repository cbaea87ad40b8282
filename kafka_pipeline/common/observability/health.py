"""What a probe can ask a process: is it alive, is it ready, and what are its numbers.

    /livez    200 while every loop turns; a hung loop makes it 503, an outage of a dependency never does
    /readyz   200 while nothing stands in the way of work; else 503 and the reasons, one a line
    /metrics  Prometheus text

`/health/live` and `/health/ready` are the same under other names. Reasons are fixed words and table names (I10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Reasons = Callable[[], Sequence[str]]
"""Returns what is wrong, nothing if nothing is."""

_SHUTDOWN_S = 1.0


class HealthServer:
    """Serves the probes on all interfaces while it is entered. Raises OSError if the port is taken."""

    def __init__(self, port: int, *, liveness: Reasons, readiness: Reasons, host: str = "0.0.0.0") -> None:  # noqa: S104  # probes come from outside the container
        self._address = (host, port)
        self._runner = web.AppRunner(_app(liveness, readiness), access_log=None, shutdown_timeout=_SHUTDOWN_S)

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on; another one than asked for if that was 0."""
        return int(self._runner.addresses[0][1])


def _app(liveness: Reasons, readiness: Reasons) -> web.Application:
    async def live(_: web.Request) -> web.Response:
        return _verdict(liveness())

    async def ready(_: web.Request) -> web.Response:
        return _verdict(readiness())

    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    for path, handler in (
        ("/livez", live),
        ("/health/live", live),
        ("/readyz", ready),
        ("/health/ready", ready),
        ("/metrics", numbers),
    ):
        app.router.add_get(path, handler)
    return app


def _verdict(reasons: Sequence[str]) -> web.Response:
    return web.Response(status=503 if reasons else 200, text="\n".join(reasons or ("ok",)) + "\n")
