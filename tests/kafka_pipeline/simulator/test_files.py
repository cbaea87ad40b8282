"""Files are valid, of exactly the size asked for, and the same from any offset."""

from __future__ import annotations

import hashlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.simulator.files import CHUNK_BYTES, MIN_FILE_BYTES, FileKind, make_file

_sizes = st.integers(MIN_FILE_BYTES, 300_000)
_kinds = st.sampled_from(FileKind)


def _bytes(kind: FileKind, size: int, key: str = "k") -> bytes:
    return b"".join(make_file(kind, size, key).chunks())


def _jpeg_segments(data: bytes) -> list[tuple[int, bytes]]:
    """Read the segments up to and with SOS, then what follows it as one more."""
    assert data[:2] == b"\xff\xd8"
    position, segments = 2, []
    while True:
        assert data[position] == 0xFF
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        segments.append((marker, data[position + 4 : position + 2 + length]))
        position += 2 + length
        if marker == 0xDA:
            return [*segments, (0, data[position:])]


@settings(deadline=None, max_examples=60)
@given(kind=_kinds, size=_sizes)
def test_a_file_has_the_size_and_hash_it_says(kind: FileKind, size: int) -> None:
    """Size and hash are those of the bytes that come out."""
    file = make_file(kind, size, "k")
    data = b"".join(file.chunks())
    assert (size, size) == (file.size_bytes, len(data))
    assert hashlib.sha256(data).hexdigest() == file.sha256()


@settings(deadline=None, max_examples=60)
@given(kind=_kinds, size=_sizes, data=st.data())
def test_any_range_is_that_part_of_the_whole(kind: FileKind, size: int, data: st.DataObject) -> None:
    """What is read from an offset is what stands there in the whole file, in small pieces."""
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size + 10))
    pieces = list(make_file(kind, size, "k").chunks(start, stop))
    assert _bytes(kind, size)[start:stop] == b"".join(pieces)
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)


def test_files_differ_by_key_and_by_nothing_else() -> None:
    """The same key gives the same bytes and validator; another key gives others."""
    one, same, other = (make_file(FileKind.MP4, 5000, key) for key in ("a", "a", "b"))
    assert (one.sha256(), one.etag) == (same.sha256(), same.etag)
    assert one.sha256() != other.sha256()
    assert one.etag != other.etag


@settings(deadline=None, max_examples=60)
@given(size=_sizes)
def test_a_jpeg_is_a_baseline_image_that_ends_where_it_must(size: int) -> None:
    """All tables of a baseline grey image are there in order, with one block of codes between SOS and EOI."""
    segments = _jpeg_segments(_bytes(FileKind.JPEG, size))
    markers = [marker for marker, _ in segments if marker != 0xFE]
    assert markers == [0xE0, 0xDB, 0xC0, 0xC4, 0xC4, 0xDA, 0]
    frame = dict(segments)[0xC0]
    assert struct.unpack(">BHHB", frame[:6]) == (8, 8, 8, 1)
    assert segments[-1] == (0, b"\x3f\xff\xd9")


def test_a_pdf_leads_to_its_page_by_its_cross_references() -> None:
    """Every offset of the table is where its object begins, startxref is where the table is, and Length fits."""
    data = _bytes(FileKind.PDF, 30_000)
    assert data.startswith(b"%PDF-1.4\n")
    assert data.endswith(b"%%EOF\n")
    table = int(data.split(b"startxref\n")[-1].split(b"\n")[0])
    assert data[table:].startswith(b"xref\n0 5\n")
    offsets = [int(line[:10]) for line in data[table:].splitlines()[3:7]]
    assert all(data[offset:].startswith(b"%d 0 obj" % number) for number, offset in enumerate(offsets, 1))
    stream = data[offsets[-1] :]
    length = int(stream.split(b"/Length ")[1][:10])
    assert stream.split(b"stream\n", 1)[1][length:].startswith(b"\nendstream\nendobj\n")


def test_an_mp4_is_a_chain_of_boxes() -> None:
    """The box lengths lead exactly to the end of the file."""
    data = _bytes(FileKind.MP4, 9_000)
    boxes, position = [], 0
    while position < len(data):
        boxes.append(data[position + 4 : position + 8])
        position += int.from_bytes(data[position : position + 4], "big")
    assert ([b"ftyp", b"mdat"], len(data)) == (boxes, position)


def test_noise_does_not_repeat() -> None:
    """No two blocks of a large file are alike."""
    blocks = list(make_file(FileKind.MP4, 5 * CHUNK_BYTES, "k").chunks(100))
    assert all(one[:100] != two[:100] for one, two in pairwise(blocks))


def test_a_file_too_small_for_its_frame_is_refused() -> None:
    """No file is made that could not be valid."""
    with pytest.raises(ValueError, match="at least"):
        make_file(FileKind.PDF, MIN_FILE_BYTES - 1, "k")
