"""One file of any size needs little memory, and many files leave nothing open and nothing behind (issue 4)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import subprocess
import sys
from collections import Counter
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

ROOT = Path(__file__).parents[4]
SIZE_BYTES = 384 << 20
"""Four times the bound. `big_file.py` takes any size by hand: with 2 GiB its figures are the same."""
BOUND_MIB = 100
FILES = (WorkerKind.DOWNLOADER, WorkerKind.UPLOADER, WorkerKind.RESULT_PROCESSOR)


@pytest.mark.parametrize("mode", ["cached", "direct"])
def test_a_large_file_goes_through_in_little_memory(tmp_path: Path, mode: str) -> None:
    """I9: downloader, uploader and lake in one process, from the link to the inventory."""
    script = Path(__file__).with_name("big_file.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path), mode, str(SIZE_BYTES)],
        env={"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.splitlines()[-1]) < BOUND_MIB, "MiB"


def body(media_id: str) -> bytes:
    """Return the bytes of a small file."""
    return media_id.encode() * 50


@pytest_asyncio.fixture
async def server() -> AsyncIterator[str]:
    """Serve every small file; give `host:port`."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body(request.path.strip("/")))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port, *_ = runner.addresses[0]
    yield f"{host}:{port}"
    await runner.cleanup()


def open_handles() -> Counter[str]:
    """Return what the descriptors of this process lead to, each kind with its number."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.append(str(descriptor.readlink()))
    return Counter(re.sub(r"\[\d+\]", "", each) for each in found)


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


async def bring(site: Any, server: str, mode: str, numbers: range) -> None:
    """Let the workers bring these files into the lake, and stop."""
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    tasks = [
        ClaimXDownloadTask(
            media_id=str(number),
            project_id=str(number % 40),
            download_url=f"http://{server}/{number}",
            blob_path=f"claimx/{number % 40}/{number}/photo.jpg",
            expires_at=ends_at,
        )
        for number in numbers
    ]
    topics = (site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results)
    await site.put(
        topics[0], *(Message(topic=topics[0], key=task.media_id.encode(), value=task.to_bytes()) for task in tasks)
    )
    changes = {"allow_private_download_hosts": (server,), "transfer_mode": mode, "delta_flush_seconds": 0.5}
    async with site.working(*FILES, **changes):
        for topic in topics:
            await site.drained(topic)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "count"), [("cached", 5_000), ("direct", 1_500)])
async def test_thousands_of_small_files_leave_no_handle_and_no_cache_file(
    embedded_site: Any, server: str, mode: str, count: int
) -> None:
    """Each arrives once, with its own bytes; then nothing is open that was not before, and the cache is empty.

    The first few open what a process keeps for good: the threads of its libraries, the lock of its waiting place.
    """
    site = embedded_site
    await bring(site, server, mode, range(10))
    before = open_handles()
    await bring(site, server, mode, range(10, count))
    while open_handles() - before:  # a server's end of a connection closes a moment after ours
        await asyncio.sleep(0.05)
    assert files_below(site.config.cache_location) == []
    assert files_below(site.lake / ".incoming") == []
    rows = {row["media_id"]: row for row in site.rows("claimx_attachments")}
    assert len(rows) == count
    assert {row["status"] for row in rows.values()} == {"completed"}
    stored = files_below(site.lake / "Files")
    assert len(stored) == count
    for path in stored:
        content = path.read_bytes()
        assert content == body(path.parent.name)
        assert rows[path.parent.name]["content_sha256"] == hashlib.sha256(content).hexdigest()
