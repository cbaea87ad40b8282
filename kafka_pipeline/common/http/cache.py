"""The folder between download and upload, bounded in bytes: who wants to write asks first, and waits while it is full.

    reserve ──▶ Reservation ──commit──▶ a file, counted ──release──▶ gone, its bytes free again
                     └───── leave without commit ─────▶ free again

Downloader and uploader may be different processes, even in different containers, that share the folder. The folder is
the only truth both see: the count is taken from it at start and again whenever somebody waits for room, so bytes that
another process freed or took are noticed within `poll_s`. Between two looks several downloading processes can exceed
the bound by what each has reserved; give each of them a folder of its own, or a share of the disk as its bound.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

import structlog

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http import metrics, partial
from kafka_pipeline.common.http.edges import on_disk
from kafka_pipeline.common.http.errors import DownloadError

_log = structlog.get_logger(__name__)

CACHE_UNWRITABLE: Final = "cache_unwritable"

MAX_AGE: Final = timedelta(hours=24)
"""A file older than this was forgotten: its upload was given up, or its message lost its consumer."""


class CachePathError(PipelineError):
    """A path that does not stay inside the cache."""

    def __init__(self) -> None:
        super().__init__("a path does not stay inside the cache", Category.PERMANENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What a cleaning removed."""

    files: int
    freed_bytes: int


class Reservation:
    """Room for one file. As a context manager it gives the room back unless it was committed."""

    def __init__(self, cache: FileCache, size_bytes: int) -> None:
        self._cache = cache
        self._size_bytes = size_bytes
        self._open = True

    @property
    def size_bytes(self) -> int:
        """Bytes held; 0 once committed or released."""
        return self._size_bytes

    def try_grow(self, total_bytes: int) -> bool:
        """Hold `total_bytes` in all, if that fits now. Never waits: to wait for room while holding some blocks others.

        The `room` of `Downloader.download`. On False: give this reservation back, reserve the larger size, begin again.
        """
        more = total_bytes - self._size_bytes
        if not self._open or (more > 0 and not self._cache.fits(more, held_bytes=self._size_bytes)):
            return False
        if more > 0:
            self._cache.hold(more)
            self._size_bytes = total_bytes
        return True

    def commit(self, file_bytes: int) -> None:
        """Turn the room into a file of that size, which is in its place by now."""
        self._close(file_bytes)

    def release(self) -> None:
        """Give the room back. After a commit it does nothing; safe to call twice."""
        self._close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def _close(self, file_bytes: int) -> None:
        if self._open:
            self._open = False
            held, self._size_bytes = self._size_bytes, 0
            self._cache.settle(held, file_bytes)


class FileCache:
    """A folder of at most `max_bytes` bytes (0 is unlimited). One event loop; call `start` before anything else.

    A single file larger than the whole cache is admitted when nothing else is there: else it could never be
    downloaded. Waiting is first come, first served, so large files are not starved by small ones.
    """

    def __init__(self, root: Path, max_bytes: int, *, poll_s: float = 1.0) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._poll_s = poll_s
        self._file_bytes = 0
        self._reserved_bytes = 0
        self._committed_since_look = 0
        self._waiting: deque[asyncio.Event] = deque()
        self.writable = True
        """Whether the last download found the disk willing; whoever downloads sets it, readiness tells it."""

    @property
    def hangs(self) -> bool:
        """Never: whoever waits for room looks at the folder every second."""
        return False

    def not_ready(self) -> frozenset[str]:
        """Return what stands in the way of downloads."""
        return frozenset() if self.writable else frozenset({CACHE_UNWRITABLE})

    @property
    def used_bytes(self) -> int:
        """Bytes of files and of room that is reserved."""
        return self._file_bytes + self._reserved_bytes

    async def start(self) -> Cleaned:
        """Create the folder, remove what crashed runs left, count the rest. Raises DownloadError (CACHE_UNWRITABLE)."""
        await on_disk(self.root.mkdir, parents=True, exist_ok=True)
        cleaned = await on_disk(_remove, self.root, None)
        await self.look()
        metrics.CACHE_LIMIT.set(self._max_bytes)
        metrics.CACHE_USED.set_function(lambda: self.used_bytes)
        metrics.CACHE_WAITING.set_function(lambda: len(self._waiting))
        metrics.CACHE_UNWRITABLE.set_function(lambda: not self.writable)
        return cleaned

    async def look(self) -> None:
        """Count the folder anew, which is how changes by other processes are noticed."""
        self._committed_since_look = 0
        counted = await on_disk(_count_bytes, self.root)
        # What was committed meanwhile may have been counted or not: rather twice, until the next look, than not at all.
        self._file_bytes = counted + self._committed_since_look
        self._wake()

    async def reserve(self, size_bytes: int) -> Reservation:
        """Wait until there is room for so many bytes, and hold it. Without limit: a full cache is no failure."""
        turn = asyncio.Event()
        self._waiting.append(turn)
        try:
            while self._waiting[0] is not turn or not self.fits(size_bytes):
                with suppress(TimeoutError):
                    await asyncio.wait_for(turn.wait(), self._poll_s)
                turn.clear()
                if self._waiting[0] is turn and not self.fits(size_bytes):
                    await self.look()
            self.hold(size_bytes)
        finally:
            self._waiting.remove(turn)
            self._wake()
        return Reservation(self, size_bytes)

    async def release(self, path: Path) -> None:
        """Delete a file that is needed no more, and free its bytes. Never raises: what stays is cleaned another day."""
        try:
            freed_bytes = await on_disk(_delete, path, self.root)
        except DownloadError as error:
            _log.warning("cache_file_not_deleted", error=error.text)
            return
        self._file_bytes = max(0, self._file_bytes - freed_bytes)
        self._wake()

    async def clean(self, now: datetime) -> Cleaned:
        """Remove files older than 24 h at `now` (aware), what dead processes left, and empty folders; count anew."""
        cleaned = await on_disk(_remove, self.root, (now - MAX_AGE).timestamp())
        await self.look()
        return cleaned

    def path_for(self, relative: str) -> Path:
        """Return the place of a file. Raises CachePathError unless it is strictly inside the folder, links followed."""
        parts = relative.split("/")
        plain = all(part not in {"", ".", ".."} and not partial.is_partial(part) for part in parts)
        if not plain or "\\" in relative or not relative.isprintable():
            raise CachePathError
        path = self.root / PurePosixPath(*parts)
        try:
            if path.parent.resolve().is_relative_to(self.root.resolve()) and not path.is_symlink():
                return path
        except (OSError, RuntimeError):  # a name that is too long, links that go in circles
            raise CachePathError from None
        raise CachePathError

    def fits(self, more_bytes: int, *, held_bytes: int = 0) -> bool:
        """Return whether so many bytes more fit, or nothing but `held_bytes` of the asker is there."""
        if self._max_bytes == 0 or self.used_bytes <= held_bytes:
            return True
        return self.used_bytes + more_bytes <= self._max_bytes

    def hold(self, more_bytes: int) -> None:
        """Count room as reserved (a Reservation's business)."""
        self._reserved_bytes += more_bytes

    def settle(self, held_bytes: int, file_bytes: int) -> None:
        """Count reserved room as a file of `file_bytes`, or as free (a Reservation's business)."""
        self._reserved_bytes -= held_bytes
        self._file_bytes += file_bytes
        self._committed_since_look += file_bytes
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting[0].set()


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every plain file below, not following links. What vanishes meanwhile is left out."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status


def _count_bytes(root: Path) -> int:
    """Bytes of all files but our own partial ones: those are counted by their reservations."""
    return sum(status.st_size for path, status in _files(root) if not partial.is_own_partial(path.name))


def _delete(path: Path, root: Path) -> int:
    """Delete a file and the folders that are empty by that, up to the root; return its size in bytes."""
    try:
        size_bytes = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    with suppress(OSError):  # not empty: another file of that folder is still needed
        for folder in path.parents:
            if folder == root:
                break
            folder.rmdir()
    return size_bytes


def _remove(root: Path, older_than: float | None) -> Cleaned:
    """Remove abandoned partial files, and files and empty folders last changed before that Unix time, if given."""
    files = freed_bytes = 0
    for path, status in _files(root):
        if partial.is_partial(path.name):
            gone = partial.remove_if_abandoned(path)
        else:
            gone = older_than is not None and status.st_mtime < older_than and _delete(path, root) >= 0
        if gone:
            files += 1
            freed_bytes += status.st_size
    if older_than is not None:
        _remove_empty_folders(root, older_than)
    return Cleaned(files=files, freed_bytes=freed_bytes)


def _remove_empty_folders(root: Path, older_than: float) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        path = Path(folder)
        with suppress(OSError):  # not empty, or in use by now
            if path != root and path.stat().st_mtime < older_than:
                path.rmdir()
