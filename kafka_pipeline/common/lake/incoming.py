"""Where local files wait until they are whole, and how what a crash left there is told from what is being written.

    .incoming/<run>.lock     held (flock) by a process for as long as it lives, however it dies
    .incoming/<run>-<id>     a file of that process on its way

Whoever gets a lock knows that its process is gone, and removes its files. The calls block; use them from a thread.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from functools import cache
from pathlib import Path

FOLDER = ".incoming"
_LOCK = ".lock"


class Incoming:
    """The waiting place of this process under one root; make it with `incoming_of`. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER
        self._run = uuid.uuid4().hex[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder / f"{self._run}{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def new_path(self) -> str:
        """Return a name for one file, relative to the root."""
        return f"{FOLDER}/{self._run}-{uuid.uuid4().hex}"

    def remove_abandoned(self) -> int:
        """Remove what dead processes left, and return how many files that were."""
        removed = 0
        for lock in self._folder.glob(f"*{_LOCK}"):
            run = lock.name.removesuffix(_LOCK)
            if run == self._run:
                continue
            try:
                descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for left in self._folder.glob(f"{run}-*"):
                    left.unlink(missing_ok=True)
                    removed += 1
                lock.unlink(missing_ok=True)
            except BlockingIOError:
                continue  # its process lives
            finally:
                os.close(descriptor)
        return removed


@cache
def incoming_of(root: Path) -> Incoming:
    """Return this process's one waiting place under a root."""
    return Incoming(root)
