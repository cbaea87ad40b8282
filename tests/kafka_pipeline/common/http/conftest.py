"""A file server on loopback that does exactly what a test tells it to, well-behaved or not."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy


@dataclass(frozen=True, slots=True)
class Request:
    """What the server was asked."""

    target: str
    headers: dict[str, str]
    """Names in lower case."""


Write = Callable[[bytes], Awaitable[None]]
Script = Callable[[Request, Write], Awaitable[None]]
"""Answers a request by writing raw bytes; the connection is closed when it returns."""


@dataclass(slots=True)
class RawServer:
    """Runs one script per request, the last one again for any further request, and keeps what was asked."""

    scripts: Sequence[Script] = ()
    requests: list[Request] = field(default_factory=list)
    ssl: Any = None
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def pair(self) -> str:
        """`host:port`, as settings name it."""
        return f"localhost:{self.port}"

    def url(self, path: str) -> str:
        """Return a link to this server."""
        return f"{'https' if self.ssl else 'http'}://{self.pair}{path}"

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.ssl)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop, whatever a script is doing."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            request = Request(head[0].split(" ")[1], {name.lower(): value for name, value in headers.items()})
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(request)

            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            await script(request, write)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()


def answer(status: int, body: bytes = b"", *, reason: str = "X", **headers: str) -> Script:
    """Return a script for a whole answer; headers may be overridden by name, an empty one is left out."""
    named = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}

    async def script(_request: Request, write: Write) -> None:
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in named.items() if value)]
        await write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)

    return script


class FakeResolver(AbstractResolver):
    """Answers with one list of addresses after another, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next answer."""
        self.asked.append(host)
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Kit:
    """What a download test works with."""

    folder: Path
    servers: list[RawServer] = field(default_factory=list)
    answer: Callable[..., Script] = answer
    resolver: Callable[..., FakeResolver] = FakeResolver

    async def server(self, *scripts: Script, ssl: Any = None) -> RawServer:
        """Start a server that runs these scripts in turn."""
        server = RawServer(scripts, ssl=ssl)
        await server.start()
        self.servers.append(server)
        return server

    def policy(self, **limits: Any) -> DownloadPolicy:
        """Return a policy that allows the servers started so far, with time-outs for tests."""
        short: dict[str, Any] = {"total_timeout_s": 20.0, "read_timeout_s": 5.0, "connect_timeout_s": 5.0}
        pairs = frozenset(server.pair for server in self.servers)
        return DownloadPolicy(**({"private_hosts": pairs} | short | limits))

    def downloader(self, **options: Any) -> Downloader:
        """Return a downloader for the servers started so far; policy limits may be given by name."""
        own = {name: options.pop(name) for name in ("resolver", "ssl_context", "is_login_page") if name in options}
        return Downloader(self.policy(**options), **own)

    @property
    def target(self) -> Path:
        """Where the file goes."""
        return self.folder / "claims" / "photo.jpg"

    def left_behind(self) -> list[str]:
        """Return the names of all files on disk."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    """Hand out the kit, and stop its servers afterwards."""
    kit = Kit(tmp_path)
    yield kit
    for server in kit.servers:
        await server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a self-signed certificate for localhost; return it and its key."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    subprocess.run([openssl, "req", *kind, *name, *files], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"
