"""A file while it is being written: nobody takes it for a complete one, and nobody but a crash leaves it behind.

    .part-<run>-<number>  ──write, hash──▶  fsync  ──rename──▶  <destination>  ──▶ fsync of the folder

While its writer lives it holds a lock (flock) on the file. The kernel drops the lock when the writer dies, however it
dies, so that whoever cleans up can tell a leftover from a file in use, also across containers that share the folder.
The calls block; use them from a thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = ".part-"
RUN: Final = uuid.uuid4().hex[:12]
"""Marks the partial files of this process."""

_MODE: Final = 0o660
"""Files hold photos of people's homes: owner and group, nobody else."""

_NUMBERS: Final = itertools.count()
"""With RUN they make a name that is nobody else's."""

_TRIES: Final = 10
"""How often a file is created anew when somebody cleans up at that very moment."""


def is_partial(name: str) -> bool:
    """Return whether a file of that name is one being written, or left over."""
    return name.startswith(PREFIX)


def is_own_partial(name: str) -> bool:
    """Return whether this process writes it."""
    return name.startswith(f"{PREFIX}{RUN}-")


def remove_if_abandoned(path: Path) -> bool:
    """Delete a partial file whose writer is gone; return whether it was deleted. Raises OSError if it cannot be."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class PartialFile:
    """Bytes on their way to `destination`, hashed as they come. Every method but `discard` may raise OSError."""

    def __init__(self, destination: Path) -> None:
        # The name is independent of the destination's: with a prefix that one could be longer than a name may be.
        self.path = destination.parent / f"{PREFIX}{RUN}-{next(_NUMBERS)}"
        self.size_bytes = 0
        self._destination = destination
        self._hash = hashlib.sha256()
        self._descriptor: int | None = None

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes so far."""
        return self._hash.hexdigest()

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to."""
        return self._descriptor is not None

    def open(self) -> None:
        """Create the file, and its folder."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        for _ in range(_TRIES):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, flags, _MODE)
            except FileNotFoundError:
                continue  # a cleaner removed the empty folder in between
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if os.fstat(self._descriptor).st_nlink > 0:
                return
            self._close()  # a cleaner was faster than the lock
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def write(self, *pieces: bytes) -> None:
        """Append bytes, at most IOV_MAX pieces of them (1,024 on Linux)."""
        descriptor = self._open_descriptor()
        rest = [memoryview(piece) for piece in pieces]
        while rest:
            written = os.writev(descriptor, rest)
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest:
                rest[0] = rest[0][written:]
        for piece in pieces:
            self._hash.update(piece)
            self.size_bytes += len(piece)

    def restart(self) -> None:
        """Forget every byte."""
        descriptor = self._open_descriptor()
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def finish(self) -> None:
        """Make the bytes durable under the destination's name, replacing what was there."""
        os.fsync(self._open_descriptor())
        self.path.replace(self._destination)
        fsync_folder(self._destination.parent)
        self._close()

    def discard(self) -> None:
        """Delete whatever is there. After `finish` it does nothing; safe to call twice, raises nothing."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        self._close()

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ValueError("the partial file is not open")
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make a rename or a deletion in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
