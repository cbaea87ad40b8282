"""A downloader of each mode, on a real cache and lake, before a file server that does exactly what it is told."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from deltalake import DeltaTable

from kafka_pipeline.claimx.api import Answer, NotFound
from kafka_pipeline.claimx.retry.link_refresher import LinkRefresher
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.shapes import read_media_list
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.transfers.cached import CacheTransfer
from kafka_pipeline.claimx.transfers.direct import DirectTransfer
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.claimx.transfers.transfer import Fetcher, Transfer
from kafka_pipeline.claimx.workers.download_worker import ClaimXDownloadWorker
from kafka_pipeline.claimx.workers.upload_worker import ClaimXUploadWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.common.runtime.outcomes import Outcome
from kafka_pipeline.config import PipelineConfig

SECRET = "PLANTED-4711"
BODY = b"a photo of a leak " * 1_000

Write = Callable[[bytes], Awaitable[None]]
Script = Callable[[Write], Awaitable[None]]
"""Answers a request by writing raw bytes; the connection is closed when it returns."""


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """Return a script for a whole answer; headers may be overridden by name."""
    named = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}

    async def script(write: Write) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in named.items())]
        await write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    return script


@dataclass(slots=True)
class FileServer:
    """Runs a script for each path; counts what was asked."""

    answer = staticmethod(answer)
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def pair(self) -> str:
        """`host:port`, as settings name it."""
        return f"localhost:{self.port}"

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
            first = await reader.readexactly(1)
            if first == b"\x16":  # a TLS greeting, which this server cannot answer
                writer.write(b"HTTP/1.1 400 X\r\n\r\n")
                return
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1].partition("?")[0]
            self.asked[path] += 1

            async def write(data: bytes) -> None:
                writer.write(data)
                await writer.drain()

            await self.scripts[path](write)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the client went away, spoke something else, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()


@dataclass(slots=True)
class Listing:
    """An API that lists the links it is told, for every project; fails if it is told to."""

    links: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    fails: PipelineError | None = None
    known: bool = True

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer in the API's own spelling."""
        self.calls += 1
        if self.fails:
            raise self.fails
        now = datetime.now(UTC)
        if not self.known:
            return NotFound(requested_at=now)
        items = [{"mediaID": media_id, "fullDownloadLink": link} for media_id, link in self.links.items()]
        return Answer(value=read_media_list(items), requested_at=now)


class Bench:
    """What a transfer test works with: `download` gives a task to the downloader and returns the outcome."""

    answer = staticmethod(answer)

    def __init__(self, folder: Path, mode: str, server: FileServer, stack: AsyncExitStack) -> None:
        self.mode = mode
        self.server = server
        self.pairs = {server.pair}
        """Where files may come from."""
        self.api = Listing()
        self.topics = Topics.from_config(PipelineConfig())
        self.location = LakeLocation.parse(folder / "lake")
        self.cache = FileCache(folder / "cache", 0)
        self.files = ObjectStore.at(self.location)
        self.patience = LakePatience(sleep=lambda _seconds: asyncio.sleep(0))
        self._stack = stack
        self._offsets = itertools.count()
        self._writer: EntityTableWriter

    async def open(self) -> None:
        """Open lake and cache."""
        lake = LakeWriter.at(self.location, flush_rows=1_000, flush_seconds=0.0)
        self._stack.push_async_callback(lake.close)
        self._writer = EntityTableWriter(lake)
        if self.mode == "cached":
            await self.cache.start()

    async def worker(
        self, *, circuit: CircuitSettings | None = None, places: int = 4, **limits: Any
    ) -> ClaimXDownloadWorker:
        """Return a downloader; limits of the download policy by name, with time-outs for tests."""
        short = {"total_timeout_s": 20.0, "read_timeout_s": 5.0, "connect_timeout_s": 5.0}
        policy = DownloadPolicy(private_hosts=frozenset(self.pairs), **cast("Any", short | limits))
        downloader = await self._stack.enter_async_context(Downloader(policy))
        fetcher = Fetcher(downloader, HostGates(self.pairs, circuit or CircuitSettings(), places=places), concurrency=4)
        return ClaimXDownloadWorker(
            topics=self.topics,
            transfer=self._transfer(fetcher),
            links=LinkRefresher(cast("Any", self.api)),
            writer=self._writer,
            patience=self.patience,
            allowed_extensions=["jpg", "mp4"],
            expiry_margin_s=60,
        )

    def uploader(self) -> ClaimXUploadWorker:
        """Return an uploader."""
        return ClaimXUploadWorker(
            topics=self.topics,
            files=self.files,
            cache=self.cache,
            writer=self._writer,
            patience=self.patience,
            concurrency=4,
        )

    def _transfer(self, fetcher: Fetcher) -> Transfer:
        if self.mode == "cached":
            return CacheTransfer(topic=self.topics.downloads_cached, fetcher=fetcher, cache=self.cache)
        return DirectTransfer(
            topic=self.topics.downloads_results,
            fetcher=fetcher,
            files=self.files,
            writer=self._writer,
            patience=self.patience,
        )

    def link(self, path: str, *, scheme: str = "http") -> str:
        """Return a signed link to the server."""
        return f"{scheme}://{self.server.pair}{path}?X-Amz-Signature={SECRET}"

    def task(self, path: str = "/f", media_id: str = "71", **changes: Any) -> ClaimXDownloadTask:
        """Return the task to fetch what lies at a path of the server."""
        fields = {
            "media_id": media_id,
            "project_id": "1",
            "download_url": self.link(path),
            "blob_path": f"claimx/1/{media_id}/leak.jpg",
            "expires_at": datetime.now(UTC) + timedelta(hours=1),
        }
        return ClaimXDownloadTask(**fields | changes)

    def record(self, task: ClaimXDownloadTask | bytes | None) -> Record:
        """Return the record of a task."""
        value = task.to_bytes() if isinstance(task, ClaimXDownloadTask) else task
        return Record(topic="t", partition=0, offset=next(self._offsets), key=None, value=value, timestamp_ms=0)

    async def download(self, task: ClaimXDownloadTask, **limits: Any) -> Outcome:
        """Give a task to a downloader of its own."""
        [outcome] = await (await self.worker(**limits)).process([self.record(task)])
        return outcome

    def left_behind(self) -> list[str]:
        """Return the name of every file below cache, lake files and waiting place."""
        return sorted(path.name for path in self._paths())

    def kept(self) -> list[bytes]:
        """Return the bytes of those files."""
        return [path.read_bytes() for path in self._paths()]

    def _paths(self) -> list[Path]:
        folders = (self.cache.root, Path(self.location.files), Path(self.location.root) / ".incoming")
        files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        return [path for path in files if path.suffix != ".lock"]

    def rows(self) -> list[dict[str, Any]]:
        """Return the inventory."""
        path = self.location.table_uri("claimx_attachments")
        return DeltaTable(path).to_pyarrow_table().to_pylist() if DeltaTable.is_deltatable(path) else []


@pytest_asyncio.fixture
async def file_server() -> AsyncIterator[FileServer]:
    """Give the file server."""
    server = FileServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(params=["cached", "direct"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, file_server: FileServer) -> AsyncIterator[Bench]:
    """Give the bench of each mode."""
    async with AsyncExitStack() as stack:
        made = Bench(tmp_path, request.param, file_server, stack)
        await made.open()
        yield made
