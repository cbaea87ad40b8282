"""Where the bytes of a download go: into a file of the disk here, or into whatever else a caller hands in."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from kafka_pipeline.common.http.edges import on_disk
from kafka_pipeline.common.http.partial import PartialFile

_WRITE_BYTES: Final = 1 << 20
"""Bytes gathered before a thread hashes and writes them: one thread per network read would cost more than both."""
_WRITE_PIECES: Final = 256
"""Pieces gathered before that, however small they are: one call to the kernel takes 1,024 of them."""


class Sink(Protocol):
    """Takes the bytes of one file in order, hashes them, and shows them to nobody before `finish`.

    `open` comes first, `discard` last, whatever happened in between. What fails raises PipelineError.
    """

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes, once it is finished."""

    async def open(self) -> None:
        """Make ready for bytes."""

    async def write(self, data: bytes) -> None:
        """Append a piece of any size; waits where pieces cannot be taken as fast as they come."""

    async def restart(self) -> None:
        """Forget every byte and be ready for the first one again."""

    async def finish(self) -> None:
        """Make the bytes durable and visible in their place, as a whole, replacing what was there."""

    async def discard(self) -> None:
        """Forget whatever is there. After `finish` it does nothing; safe to call twice, raises nothing."""


class FileSink:
    """A file on the disk, by way of a partial one. Every failure is a DownloadError (CACHE_UNWRITABLE).

    Pieces are kept as they are, uncopied, until they are written together. A file of a few of them, as most are, is
    created, written and put in its place by one turn of a thread.
    """

    def __init__(self, destination: Path) -> None:
        self._partial = PartialFile(destination)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    @property
    def size_bytes(self) -> int:
        """See `Sink`."""
        return self._partial.size_bytes + self._gathered_bytes

    @property
    def sha256(self) -> str:
        """See `Sink`."""
        return self._partial.sha256

    async def open(self) -> None:
        """See `Sink`. The folder and the file are created when there is something to write."""

    async def write(self, data: bytes) -> None:
        """See `Sink`."""
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _WRITE_BYTES or len(self._gathered) >= _WRITE_PIECES:
            await on_disk(self._write_gathered)

    async def restart(self) -> None:
        """See `Sink`."""
        self._take_gathered()
        if self._partial.is_open:
            await on_disk(self._partial.restart)

    async def finish(self) -> None:
        """See `Sink`: flushed to the disk, then renamed."""
        await on_disk(self._finish)

    async def discard(self) -> None:
        """See `Sink`. Without a thread: also where the loop is about to end, no partial file stays."""
        self._partial.discard()

    def _write_gathered(self) -> None:
        if not self._partial.is_open:
            self._partial.open()
        self._partial.write(*self._take_gathered())

    def _take_gathered(self) -> list[bytes]:
        taken, self._gathered, self._gathered_bytes = self._gathered, [], 0
        return taken

    def _finish(self) -> None:
        self._write_gathered()
        self._partial.finish()
