"""Brings one large file through a whole pipeline in this process, and prints by how many MiB its memory grew.

    python tests/kafka_pipeline/claimx/transfers/big_file.py FOLDER MODE BYTES

The file is sparse: the server sends one and the same block of zeros again and again. A small file goes first, so that
what is measured is the size of the file and nothing that every process needs once. Linux only.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.idle import wait_until_idle
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.config import load_config

BLOCK = bytes(1 << 20)
WORKERS = (WorkerKind.DOWNLOADER, WorkerKind.UPLOADER, WorkerKind.RESULT_PROCESSOR)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with as many zeros as the path says."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.split(b" ")[1].strip(b"/"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % left)
        while left:
            piece = BLOCK[:left] if left < len(BLOCK) else BLOCK
            writer.write(piece)
            await writer.drain()
            left -= len(piece)
    finally:
        writer.close()


def memory_kib(name: str) -> int:
    """Return a line of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> int:
    """Let the peak of memory begin anew; return the KiB that are used now."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kib("VmRSS")


async def main(folder: Path, mode: str, size_bytes: int) -> None:
    """Run it."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = {
        "data_dir": str(folder),
        "transfer_mode": mode,
        "claimx_api_url": f"http://127.0.0.1:{port}/api",
        "allow_private_download_hosts": f"127.0.0.1:{port}",
        "delta_flush_seconds": "0.05",
    }
    config = load_config(None, settings, {})
    topics = Topics.from_config(config)
    broker = open_broker(config, {})
    await ensure_topics(broker, topics, config)
    producer, admin = broker.producer(), broker.admin()
    stop = asyncio.Event()
    async with Pipeline(config, WORKERS, environ={"CLAIMX_API_TOKEN": "dGVzdA=="}) as pipeline:
        running = asyncio.create_task(pipeline.run(stop))
        before_kib = 0
        for media_id, size in (("1", 1 << 20), ("2", size_bytes)):
            before_kib = forget_peak()
            task = ClaimXDownloadTask(
                media_id=media_id,
                project_id="1",
                download_url=f"http://127.0.0.1:{port}/{size}",
                blob_path=f"claimx/1/{media_id}/video.mp4",
            )
            await producer.send([Message(topic=topics.downloads_pending, key=b"", value=task.to_bytes())])
            await wait_until_idle(admin, topics, idle_s=0.3, clock=SYSTEM_CLOCK)
        stop.set()
        await running
    stored = folder / "lake" / "Files" / "claimx" / "1" / "2" / "video.mp4"
    assert stored.stat().st_size == size_bytes
    sys.stdout.write(f"{(memory_kib('VmHWM') - before_kib) // 1024}\n")
    await producer.close()
    await admin.close()
    await broker.close()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
