"""The bytes of media files: valid JPEG, PDF and MP4-like files of an exact size, made on the fly from a key.

A file is a list of parts, each either a few literal bytes or a stretch of noise that is computed when it is read, so
that a file of any size is served, in whole or from any offset, without ever being in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

CHUNK_BYTES = 64 * 1024
MIN_FILE_BYTES = 1024
"""Room for the fixed parts of every kind."""

_JPEG_COMMENT_BYTES = 65_533
"""The most that fits one comment segment: its two length bytes count themselves."""


class FileKind(Enum):
    """What the bytes are, whatever the name says; the value is the content type they are served with."""

    JPEG = "image/jpeg"
    PDF = "application/pdf"
    MP4 = "video/mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Bytes without meaning: SHAKE-128 of key and block number, so that any block is made without the ones before."""

    key: str
    length: int

    def slices(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop`, at most one block at a time."""
        for block in range(start // CHUNK_BYTES, (stop + CHUNK_BYTES - 1) // CHUNK_BYTES):
            first = block * CHUNK_BYTES
            length = min(self.length - first, CHUNK_BYTES)
            data = hashlib.shake_128(f"{self.key}:{block}".encode()).digest(length)
            yield data[max(start - first, 0) : stop - first]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImage:
    """One file: its parts in order, its exact size, and a validator that changes when the bytes would."""

    parts: tuple[bytes | Noise, ...]
    size_bytes: int
    etag: str
    """Quoted, as it stands in the header."""

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` to `stop` (exclusive; None: the end), none larger than CHUNK_BYTES or so."""
        end = self.size_bytes if stop is None else min(stop, self.size_bytes)
        position = 0
        for part in self.parts:
            length = part.length if isinstance(part, Noise) else len(part)
            first, last = max(start - position, 0), min(end - position, length)
            if first < last:
                if isinstance(part, Noise):
                    yield from part.slices(first, last)
                else:
                    yield part[first:last]
            position += length

    def sha256(self) -> str:
        """Return the hash of all bytes, lower-case hex; computed in a stream, each time anew."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


def make_file(kind: FileKind, size_bytes: int, key: str) -> FileImage:
    """Return the file of that kind, size and key. Raises ValueError under MIN_FILE_BYTES."""
    if size_bytes < MIN_FILE_BYTES:
        raise ValueError(f"a file needs at least {MIN_FILE_BYTES} bytes")
    parts = {FileKind.JPEG: _jpeg, FileKind.PDF: _pdf, FileKind.MP4: _mp4}[kind](size_bytes, key)
    validator = hashlib.sha256(f"{kind.value}:{size_bytes}:{key}".encode()).hexdigest()[:32]
    return FileImage(parts=parts, size_bytes=size_bytes, etag=f'"{validator}"')


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def _huffman_table(table_id: int) -> bytes:
    """One code of one bit, `0`, for symbol 0: a zero DC difference, or the end of the block."""
    return _segment(0xC4, bytes((table_id, 1)) + bytes(15) + b"\x00")


_JPEG_HEAD = b"\xff\xd8" + _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
_JPEG_TAIL = (
    _segment(0xDB, b"\x00" + b"\x01" * 64)  # quantization table 0
    + _segment(0xC0, b"\x08\x00\x08\x00\x08\x01\x01\x11\x00")  # baseline, 8 x 8 pixels, one component: grey
    + _huffman_table(0x00)
    + _huffman_table(0x10)
    + _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    + b"\x3f"  # the two codes `0` `0`, then ones to the end of the byte
    + b"\xff\xd9"
)


def _jpeg(size_bytes: int, key: str) -> tuple[bytes | Noise, ...]:
    """Make one grey block; comment segments of noise bring it to its size."""
    parts: list[bytes | Noise] = [_JPEG_HEAD]
    left = size_bytes - len(_JPEG_HEAD) - len(_JPEG_TAIL)
    number = 0
    while left:
        body = min(left - 4, _JPEG_COMMENT_BYTES)
        if 0 < left - 4 - body < 4:
            body -= 4  # else what is left could not hold a segment of its own
        parts += [b"\xff\xfe" + (body + 2).to_bytes(2, "big"), Noise(key=f"{key}:{number}", length=body)]
        left -= body + 4
        number += 1
    parts.append(_JPEG_TAIL)
    return tuple(parts)


def _pdf(size_bytes: int, key: str) -> tuple[bytes | Noise, ...]:
    """Make one empty page; a stream of noise that nothing refers to brings it to its size.

    The digits of the noise's length stand in the file itself, twice (length and cross-reference), zero-padded.
    """
    objects = (
        b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n",
        b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n",
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << >> >>\nendobj\n",
    )
    head = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for item in objects:
        offsets.append(len(head))
        head += item
    offsets.append(len(head))

    def frame(noise_bytes: int) -> tuple[bytes, bytes]:
        opening = head + b"4 0 obj\n<< /Length %010d >>\nstream\n" % noise_bytes
        closing = b"\nendstream\nendobj\n"
        start_of_table = len(opening) + noise_bytes + len(closing)
        table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
        closing += table + b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%010d\n%%%%EOF\n" % start_of_table
        return opening, closing

    noise_bytes = size_bytes - sum(map(len, frame(0)))
    opening, closing = frame(noise_bytes)
    return (opening, Noise(key=key, length=noise_bytes), closing)


def _mp4(size_bytes: int, key: str) -> tuple[bytes | Noise, ...]:
    """Make a file type box and a media data box, in the frame that ISO base media files share."""
    ftyp = b"isom\x00\x00\x02\x00isomiso2mp41"
    head = (len(ftyp) + 8).to_bytes(4, "big") + b"ftyp" + ftyp
    mdat_bytes = size_bytes - len(head)
    head += mdat_bytes.to_bytes(4, "big") + b"mdat"
    return (head, Noise(key=key, length=size_bytes - len(head)))
