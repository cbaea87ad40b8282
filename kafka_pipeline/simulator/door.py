"""A port that can be shut for a while, as an outage does."""

from __future__ import annotations

import socket
from contextlib import suppress

from aiohttp import web


class Door:
    """Serves an application on one port. Shut, it refuses connections and ends the open ones; the port stays ours.

    Raises OSError where the port is taken.
    """

    def __init__(self, app: web.Application, host: str, port: int, *, shutdown_timeout_s: float) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout_s)
        self._host = host
        self._port = port
        self._site: web.TCPSite | None = None
        self._placeholder: socket.socket | None = None

    @property
    def address(self) -> str:
        """`host:port`, known once it was open."""
        return f"{self._host}:{self._port}"

    async def set_up(self) -> None:
        """Open for the first time."""
        await self._runner.setup()
        await self.open()

    async def open(self) -> None:
        """Serve, if it does not."""
        if self._site is not None:
            return
        self._let_go()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._site = site
        self._host, self._port, *_ = self._runner.addresses[0]

    async def shut(self) -> None:
        """Refuse connections, if it does not."""
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        for connection in self._runner.server.connections if self._runner.server else ():
            connection.force_close()
        # Bound and not listening: connections are refused, and the system gives the port to nobody else meanwhile.
        self._placeholder = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            self._placeholder.bind((self._host, self._port))

    async def close(self) -> None:
        """Stop serving for good."""
        self._let_go()
        self._site = None
        await self._runner.cleanup()

    def _let_go(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
