"""A TCP proxy on loopback that misbehaves on demand: late, cut, half-open or reset connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

_LOOPBACK = "127.0.0.1"
_PIECE_BYTES = 64 * 1024
_NO_LINGER = struct.pack("ii", 1, 0)
"""Makes the kernel answer a close with a reset."""


class Manner(str, Enum):
    """How the proxy treats connections, old and new ones."""

    PASS = "pass"  # noqa: S105  # a manner, not a password
    """Everything goes through."""
    LATE = "late"
    """Each piece waits before it goes on."""
    CUT = "cut"
    """Connections end in an orderly way, wherever they are."""
    RESET = "reset"
    """Connections end in a reset."""
    HALF_OPEN = "half-open"
    """Connections are accepted, and nothing comes through until the manner changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """A manner, and what belongs to it."""

    manner: Manner = Manner.PASS
    delay_s: float = 0.0
    """Of LATE: how long each piece waits."""


FAIR = Weather()


class FaultProxy:
    """Listens while it is entered, and leads to `target`, which may be told later. Connections end with it."""

    def __init__(self, target: tuple[str, int] | None = None) -> None:
        self.target = target
        self._weather = FAIR
        self._changed = asyncio.Event()
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._server: asyncio.Server
        self.connections = 0
        """Accepted so far."""

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, _LOOPBACK, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything."""
        self._server.close()
        tasks = list(self._pairs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        return f"{_LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def weather(self) -> Weather:
        """How connections are treated now."""
        return self._weather

    def put(self, weather: Weather) -> None:
        """Treat connections so from now on. What was held back in a half-open one goes on, unless it is cut."""
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.manner in {Manner.CUT, Manner.RESET}:
            for writers in self._pairs.values():
                self._end(writers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover  # asyncio calls this in a task
            return
        self.connections += 1
        self._pairs[task] = (writer,)
        try:
            await self._serve(task, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone, or all is ending: the other side hears of it below
        finally:
            for each in self._pairs.pop(task):
                each.close()

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._weather.manner in {Manner.CUT, Manner.RESET} or self.target is None:
            self._end((writer,))
            return
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        self._pairs[task] = (writer, far_writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer))
            group.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(_PIECE_BYTES):
                await self._hold()
                writer.write(piece)
                await writer.drain()
            await self._hold()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()

    async def _hold(self) -> None:
        while self._weather.manner is Manner.HALF_OPEN:
            await self._changed.wait()
        if self._weather.manner is Manner.LATE:
            await asyncio.sleep(self._weather.delay_s)

    def _end(self, writers: tuple[asyncio.StreamWriter, ...]) -> None:
        for writer in writers:
            if self._weather.manner is Manner.RESET:
                connection = writer.get_extra_info("socket")
                if connection.fileno() >= 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()
