"""A file that streams into the lake is there as a whole or not at all, whatever ends its upload."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.exceptions import GenericError

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.lake.upload import PART_BYTES, Upload

ROOT = Path(__file__).parents[4]
NAME = "claimx/1/2/" + "x" * 251 + ".mp4"
PIECE = os.urandom(1 << 20)
PIECES = 3 * PART_BYTES // len(PIECE) + 1
"""Enough for three parts and a bit."""


@pytest.fixture
def location(local_location: LakeLocation) -> LakeLocation:
    """Look at files with the means of the machine; Azurite has tests of its own."""
    return local_location


@pytest.fixture
def objects(location: LakeLocation) -> ObjectStore:
    """Return the files of a local lake."""
    return ObjectStore.at(location)


def there(location: LakeLocation) -> list[Path]:
    """Return every file of the lake, and what waits to become one."""
    return [path for path in Path(location.root).rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("pieces", [0, 1, PIECES])
async def test_a_streamed_file_is_visible_once_it_is_whole(
    objects: ObjectStore, location: LakeLocation, pieces: int
) -> None:
    """Of any size, under the longest of names, with its hash; it replaces what was there, and nothing stays beside."""
    await objects.put_bytes(NAME, b"what was there")
    upload = objects.upload(NAME)
    await upload.open()
    for _ in range(pieces):
        await upload.write(PIECE)
    assert await objects.head(NAME) == len(b"what was there")
    await upload.finish()
    await upload.discard()
    [path] = there(location)
    assert path.read_bytes() == PIECE * pieces
    assert (upload.size_bytes, upload.sha256) == (path.stat().st_size, hashlib.sha256(PIECE * pieces).hexdigest())


@pytest.mark.parametrize("pieces", [0, 1, PIECES])
async def test_a_discarded_file_leaves_nothing(objects: ObjectStore, location: LakeLocation, pieces: int) -> None:
    """Before the first part, between parts, and twice over."""
    upload = objects.upload(NAME)
    await upload.open()
    for _ in range(pieces):
        await upload.write(PIECE)
    await upload.discard()
    await upload.discard()
    while there(location):  # the file goes when the writer's thread lets go of it
        await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="not open"):
        await upload.write(PIECE)


@pytest.mark.azurite
@pytest.mark.parametrize("pieces", [0, 1, PIECES])
async def test_on_azure_too_a_streamed_file_is_seen_whole_or_not_at_all(
    azurite_location: LakeLocation, pieces: int
) -> None:
    """One blob in one call, or blocks that nobody sees before the last call; what is discarded was never there."""
    objects = ObjectStore.at(azurite_location)
    for ends_well in (False, True):
        upload = objects.upload(NAME)
        await upload.open()
        for _ in range(pieces):
            await upload.write(PIECE)
        assert await objects.head(NAME) is None
        await (upload.finish() if ends_well else upload.discard())
        await upload.discard()
    stored = await obstore.get_async(objects._store, NAME)
    assert bytes(await stored.bytes_async()) == PIECE * pieces
    again = objects.upload(NAME)
    await again.open()
    await again.write(b"shorter")
    await again.restart()
    await again.write(b"short")
    await again.finish()
    assert await objects.head(NAME) == len(b"short")


@given(runs=st.lists(st.lists(st.binary(max_size=50), max_size=4), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_only_what_came_after_the_last_restart_counts(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[bytes]]
) -> None:
    """As often as a download begins again, the file is what came in the end."""

    async def stream(folder: Path) -> Upload:
        upload = ObjectStore.from_url(str(folder)).upload("a")
        await upload.open()
        for number, run in enumerate(runs):
            if number:
                await upload.restart()
            for piece in run:
                await upload.write(piece)
        await upload.finish()
        return upload

    folder = tmp_path_factory.mktemp("lake") / "Files"
    upload = asyncio.run(stream(folder))
    expected = b"".join(runs[-1])
    assert (folder / "a").read_bytes() == expected
    assert upload.sha256 == hashlib.sha256(expected).hexdigest()


async def test_a_write_that_fails_is_told_by_its_kind_and_leaves_nothing(
    objects: ObjectStore, location: LakeLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage's words may hold a signature: none of them is passed on."""

    class Refusing:
        async def write(self, _data: bytes) -> int:
            raise GenericError("status: 503 https://lake.example.com/?sig=SECRET")

    monkeypatch.setattr(obstore, "open_writer_async", lambda *_args, **_options: Refusing())
    upload = objects.upload(NAME)
    await upload.open()
    with pytest.raises(PipelineError) as caught:
        await upload.write(PIECE * PIECES)
    await upload.discard()
    assert caught.value.category is Category.TRANSIENT
    assert "SECRET" not in caught.value.text
    assert there(location) == []


@pytest.mark.parametrize("pieces", [1, PIECES])
async def test_a_file_is_asked_for_its_size_whether_it_was_one_request_or_many(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """What arrived is asked for, not assumed."""

    async def short(_store: object, _path: str) -> dict[str, int]:
        return {"size": 5}

    monkeypatch.setattr(obstore, "head_async", short)
    upload = objects.upload("file")
    await upload.open()
    for _ in range(pieces):
        await upload.write(PIECE)
    with pytest.raises(PipelineError, match="arrived as 5") as caught:
        await upload.finish()
    assert caught.value.category is Category.TRANSIENT


async def test_a_file_that_cannot_take_its_place_leaves_nothing(objects: ObjectStore, location: LakeLocation) -> None:
    """A folder stands where the file should go: the bytes that were gathered go too."""
    (Path(location.files) / NAME).mkdir(parents=True)
    (Path(location.files) / NAME / "inside").touch()
    upload = objects.upload(NAME)
    await upload.open()
    await upload.write(PIECE)
    with pytest.raises(PipelineError):
        await upload.finish()
    await upload.discard()
    assert [path.name for path in there(location)] == ["inside"]


STREAMING = """
import asyncio, os, sys
from kafka_pipeline.common.lake.objects import ObjectStore

async def main():
    upload = ObjectStore.from_url(sys.argv[1]).upload("claimx/1/2/video.mp4")
    await upload.open()
    for _ in range(int(sys.argv[2])):
        await upload.write(bytes(1 << 20))
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), 9)
    await upload.finish()
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(line.split()[1]) // 1024)

asyncio.run(main())
"""


def stream_apart(location: LakeLocation, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Stream a file in a process of its own."""
    command: Sequence[str] = [sys.executable, "-c", STREAMING, location.files, *arguments]
    return subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, check=False, capture_output=True, timeout=60)


def test_a_killed_stream_is_never_visible_and_is_cleaned_by_the_next_process(location: LakeLocation) -> None:
    """Its parts lie in the waiting place until somebody opens the lake again."""
    killed = stream_apart(location, "20", "kill")
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in Path(location.files).rglob("*") if path.is_file()] == []
    assert len(there(location)) == 1
    assert stream_apart(location, "1", "finish").returncode == 0
    assert [path.name for path in there(location)] == ["video.mp4"]


def test_a_streamed_file_of_any_size_needs_little_memory(location: LakeLocation) -> None:
    """512 MiB against 1 MiB: the parts in flight are all that is held (I9)."""
    peaks_mib = [int(stream_apart(location, pieces, "finish").stdout) for pieces in ("1", "512")]
    assert peaks_mib[1] - peaks_mib[0] < 60
