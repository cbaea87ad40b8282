"""Kill -9 of downloader or uploader, anywhere: every file arrives once, and nobody sees half of one (I1, I5, I6)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.messaging import Message

FILES = 60
KILLS = 4
LARGEST_BYTES = 6 << 20
"""More than one part of an upload, and long enough on its way to be killed there."""


def content(number: int) -> bytes:
    """Return the bytes of a file: some empty, most small, some of several parts."""
    rng = random.Random(number)
    size = rng.choice([0, 1, 10_000, 300_000, LARGEST_BYTES])
    return rng.randbytes(min(size, 4_096)) * (size // 4_096 + 1) if size else b""


class Storage:
    """Serves the files, each a piece at a time, so that a kill finds some of them on their way."""

    def __init__(self) -> None:
        self.host = ""
        self.sending = asyncio.Event()
        """Set whenever a piece of a file was sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send a file."""
        body = content(int(request.path.strip("/")))
        response = web.StreamResponse()
        response.content_length = len(body)
        await response.prepare(request)
        for start in range(0, len(body), 1 << 18):
            await response.write(body[start : start + (1 << 18)])
            self.sending.set()
            await asyncio.sleep(0.003)
        return response


@pytest_asyncio.fixture
async def storage() -> AsyncIterator[Storage]:
    """Serve the files on loopback."""
    made = Storage()
    app = web.Application()
    app.router.add_get("/{number}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port, *_ = runner.addresses[0]
    made.host = f"{host}:{port}"
    yield made
    await runner.cleanup()


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def check_visible(lake: Path) -> set[str]:
    """Return the files that readers of the lake see, each checked to be whole."""
    seen = set()
    for path in files_below(lake / "Files"):
        assert path.read_bytes() == content(int(path.parent.name)), path
        seen.add(path.parent.name)
    return seen


async def queue(site: Any, storage: Storage) -> None:
    """Put a task for each file where the downloader takes them from."""
    topic = site.topics.downloads_pending
    tasks = [
        ClaimXDownloadTask(
            media_id=str(number),
            project_id="1",
            download_url=f"http://{storage.host}/{number}",
            blob_path=f"claimx/1/{number}/photo.jpg",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        for number in range(FILES)
    ]
    await site.put(topic, *(Message(topic=topic, key=task.media_id.encode(), value=task.to_bytes()) for task in tasks))


@pytest.mark.crash
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["cached", "direct"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_worker_killed_at_any_point_loses_and_halves_no_file(
    embedded_site: Any, program: Any, storage: Storage, mode: str, seed: int
) -> None:
    """Whoever is killed, wherever: at each kill and at the end the lake shows whole files only."""
    site, rng = embedded_site, random.Random(seed)
    environ = site.environ | {
        "ALLOW_PRIVATE_DOWNLOAD_HOSTS": storage.host,
        "TRANSFER_MODE": mode,
        "DOWNLOAD_CONCURRENCY": "4",
        "UPLOAD_CONCURRENCY": "4",
    }
    await queue(site, storage)
    commands = ["claimx-downloader", "claimx-uploader"] if mode == "cached" else ["claimx-downloader"]
    running = {command: await program.start(command, **environ) for command in commands}
    for _ in range(KILLS):
        victim = rng.choice(commands)
        await running[victim].told("partitions_assigned")
        storage.sending.clear()
        await anything_moves(site, storage)
        await asyncio.sleep(rng.uniform(0, 0.05))  # anywhere within a transfer, the same for the same seed
        killed = await running[victim].stop(signal.SIGKILL)
        assert killed.code == -signal.SIGKILL
        await asyncio.to_thread(check_visible, site.lake)
        running[victim] = await program.start(victim, **environ)
    for command in commands:
        await running[command].told("partitions_assigned")
    topics = [site.topics.downloads_pending, site.topics.downloads_cached][: len(commands)]
    await site.drained(*topics)
    for command in commands:
        ended = await running[command].stop()
        assert ended.code == 0, ended.err
    async with site.working(WorkerKind.RESULT_PROCESSOR):
        await site.drained(site.topics.downloads_results)
    check_all_arrived(site)


async def anything_moves(site: Any, storage: Storage) -> None:
    """Return once the storage sends a piece, or everything is done already."""
    while not storage.sending.is_set():
        if await site.committed(site.topics.downloads_pending) == FILES:
            return
        await asyncio.sleep(0.005)


def check_all_arrived(site: Any) -> None:
    """Every file once, with its hash; nothing partial in the lake, its waiting place or the cache."""
    assert check_visible(site.lake) == {str(number) for number in range(FILES)}
    rows = {row["media_id"]: row for row in site.rows("claimx_attachments")}
    assert len(site.rows("claimx_attachments")) == len(rows) == FILES
    for media_id, row in rows.items():
        expected = content(int(media_id))
        assert (row["status"], row["bytes_downloaded"]) == ("completed", len(expected))
        assert row["content_sha256"] == hashlib.sha256(expected).hexdigest()
    assert [path for path in files_below(site.lake / ".incoming") if path.suffix != ".lock"] == []
    assert [path for path in files_below(site.config.cache_location) if path.name.startswith(".part-")] == []
