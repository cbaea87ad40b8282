"""What a safe download costs beyond the bytes: `Downloader` beside a bare aiohttp client that writes a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import aiohttp
from aiohttp import web

from benchmarks.result import Comparison
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy

BLOCK = bytes(1 << 18)
AT_ONCE = 16
PAIRS_FULL, PAIRS_QUICK = 5, 2

Fetch = Callable[[str, Path], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Files of one size."""

    name: str
    count: int
    size_bytes: int


FULL = (
    Load(name="download_small", count=600, size_bytes=40_000),
    Load(name="download_large", count=4, size_bytes=128 << 20),
)
QUICK = (
    Load(name="download_small", count=30, size_bytes=40_000),
    Load(name="download_large", count=2, size_bytes=4 << 20),
)


def measure(*, quick: bool) -> list[Comparison]:
    """Time both over the same files, alternately, from a server in this process; the server's share is in both."""
    return asyncio.run(_measure(QUICK if quick else FULL, PAIRS_QUICK if quick else PAIRS_FULL))


async def _measure(loads: tuple[Load, ...], pairs: int) -> list[Comparison]:
    async with AsyncExitStack() as stack:
        pair = await _serve(stack)
        folder = Path(stack.enter_context(TemporaryDirectory()))
        downloader = await stack.enter_async_context(Downloader(DownloadPolicy(private_hosts=frozenset({pair}))))
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def ours(url: str, path: Path) -> None:
            await downloader.download(url, path)

        async def bare(url: str, path: Path) -> None:
            async with session.get(url) as response:
                with path.open("wb") as file:
                    async for piece in response.content.iter_any():
                        file.write(piece)

        return [await _compare(load, ours, bare, pair=pair, folder=folder, pairs=pairs) for load in loads]


async def _compare(load: Load, ours: Fetch, bare: Fetch, *, pair: str, folder: Path, pairs: int) -> Comparison:
    url = f"http://{pair}/{load.size_bytes}"
    await _seconds(ours, load, url, folder)  # warm up: connections, threads, the disk's cache
    our_times, bare_times = [], []
    for _ in range(pairs):
        our_times.append(await _seconds(ours, load, url, folder))
        bare_times.append(await _seconds(bare, load, url, folder))
    return Comparison(
        name=load.name,
        ours="kafka_pipeline.common.http.Downloader.download: guarded, hashed, flushed to the disk, renamed",
        yardstick="aiohttp, written to a file",
        unit="files",
        count=load.count,
        payload_bytes=load.count * load.size_bytes,
        pairs=pairs,
        ours_per_second=round(load.count / median(our_times)),
        yardstick_per_second=round(load.count / median(bare_times)),
        ratio=round(median(our / bare for our, bare in zip(our_times, bare_times, strict=True)), 2),
    )


async def _seconds(fetch: Fetch, load: Load, url: str, folder: Path) -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await fetch(url, folder / f"{number}.bin")

    begin = perf_counter()
    await asyncio.gather(*(one(number) for number in range(load.count)))
    return perf_counter() - begin


async def _serve(stack: AsyncExitStack) -> str:
    """Serve as many zeros as the path says; return `host:port`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        left = int(request.path.strip("/"))
        response = web.StreamResponse()
        response.content_length = left
        await response.prepare(request)
        while left:
            piece = BLOCK[:left]
            await response.write(piece)
            left -= len(piece)
        return response

    app = web.Application()
    app.router.add_get("/{size}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port, *_ = runner.addresses[0]
    return f"{host}:{port}"
