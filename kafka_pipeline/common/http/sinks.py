"""Where the bytes of a download go: into a file of the disk here, or into whatever else a caller hands in."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kafka_pipeline.common.http.edges import on_disk
from kafka_pipeline.common.http.partial import PartialFile


class Sink(Protocol):
    """Takes the bytes of one file in order, hashes them, and shows them to nobody before `finish`.

    `open` comes first, `discard` last, whatever happened in between. What fails raises PipelineError.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes so far."""

    async def open(self) -> None:
        """Make ready for bytes."""

    async def write(self, data: bytes | bytearray) -> None:
        """Append bytes; waits where they cannot be taken as fast as they come."""

    async def restart(self) -> None:
        """Forget every byte and be ready for the first one again."""

    async def finish(self) -> None:
        """Make the bytes durable and visible in their place, as a whole, replacing what was there."""

    async def discard(self) -> None:
        """Forget whatever is there. After `finish` it does nothing; safe to call twice, raises nothing."""


class FileSink:
    """A file on the disk, by way of a partial one. Every failure is a DownloadError (CACHE_UNWRITABLE)."""

    def __init__(self, destination: Path) -> None:
        self._partial = PartialFile(destination)

    @property
    def size_bytes(self) -> int:
        """See `Sink`."""
        return self._partial.size_bytes

    @property
    def sha256(self) -> str:
        """See `Sink`."""
        return self._partial.sha256

    async def open(self) -> None:
        """See `Sink`; creates the folder too."""
        await on_disk(self._partial.open)

    async def write(self, data: bytes | bytearray) -> None:
        """See `Sink`."""
        await on_disk(self._partial.write, data)

    async def restart(self) -> None:
        """See `Sink`."""
        await on_disk(self._partial.restart)

    async def finish(self) -> None:
        """See `Sink`: flushed to the disk, then renamed."""
        await on_disk(self._partial.finish)

    async def discard(self) -> None:
        """See `Sink`. Without a thread: also where the loop is about to end, no partial file stays."""
        self._partial.discard()
