"""The files that downloads and uploads are measured with: so many of one size, no two pieces of them alike."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIECE_BYTES = 1 << 20
_NOISE = random.Random(4711).randbytes(_PIECE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSet:
    """Files of one size."""

    name: str
    count: int
    size_bytes: int

    @property
    def total_mib(self) -> float:
        """The size of all files together."""
        return self.count * self.size_bytes / (1 << 20)

    def numbers(self) -> range:
        """Return the files' numbers."""
        return range(self.count)

    def pieces(self, number: int) -> Iterator[bytes]:
        """Yield the bytes of a file: a piece that is missing, doubled or misplaced changes its hash."""
        for start in range(0, self.size_bytes, _PIECE_BYTES):
            piece = f"{number:010}:{start:015};".encode() + _NOISE
            yield piece[: min(_PIECE_BYTES, self.size_bytes - start)]

    def sha256(self, number: int) -> str:
        """Return the hex digest of a file."""
        digest = hashlib.sha256()
        for piece in self.pieces(number):
            digest.update(piece)
        return digest.hexdigest()

    def write(self, number: int, path: Path) -> None:
        """Write a file."""
        with path.open("wb") as file:
            file.writelines(self.pieces(number))


FULL = (
    FileSet(name="small", count=5_000, size_bytes=200_000),
    FileSet(name="large", count=10, size_bytes=500_000_000),
)
QUICK = (
    FileSet(name="small", count=40, size_bytes=200_000),
    FileSet(name="large", count=2, size_bytes=9_000_000),
)
PAIRS_FULL, PAIRS_QUICK = 3, 1
"""How often each side moves all files of a set."""
