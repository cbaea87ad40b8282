"""Files on Azure Storage: whole or not there, under exactly the name they were given."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import obstore
import pytest

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import CHUNK_BYTES, ObjectStore, check_writable

pytestmark = pytest.mark.azurite

SIZE = 2 * CHUNK_BYTES + 12_345
"""Three parts."""

NAMES = ["front door.jpg", "a+b~c=d;e,f@g!$().jpg", "Küche 日本 \u0301e.jpg", "[1]{2}^`'.jpg", "50%25.jpg", "é" * 125]


@pytest.fixture
def objects(azurite_location: LakeLocation) -> ObjectStore:
    """Return the files of an empty lake."""
    return ObjectStore.at(azurite_location)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """Return a file of more than two parts."""
    file = tmp_path / "upload"
    file.write_bytes(os.urandom(SIZE))
    return file


async def _names(objects: ObjectStore) -> list[str]:
    return [str(found["path"]) async for some in obstore.list(objects._store) for found in some]


async def _bytes(objects: ObjectStore, path: str) -> bytes:
    return bytes(await (await obstore.get_async(objects._store, path)).bytes_async())


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_keeps_its_name_exactly(objects: ObjectStore, tmp_path: Path, name: str) -> None:
    """Whatever needs to be escaped in a URL is, and comes back as it was [BLB-2]."""
    (tmp_path / "f").write_bytes(b"abc")
    path = f"claimx/900001/7100001/{name}"
    assert await objects.put_file(path, tmp_path / "f") == 3
    assert await _names(objects) == [path]
    assert await objects.head(path) == 3


async def test_an_upload_is_complete_and_may_be_repeated(objects: ObjectStore, upload: Path) -> None:
    """Several parts, the same bytes; a repeat replaces, also by less (I5)."""
    for _ in range(2):
        assert await objects.put_file("a/b.bin", upload) == SIZE
    assert await _bytes(objects, "a/b.bin") == upload.read_bytes()  # noqa: ASYNC240 - nothing else runs here
    shorter = upload.with_name("shorter")
    shorter.write_bytes(b"shorter")
    assert await objects.put_file("a/b.bin", shorter) == 7
    assert await _bytes(objects, "a/b.bin") == b"shorter"
    await objects.delete("a/b.bin")
    assert await objects.head("a/b.bin") is None
    await objects.delete("a/b.bin")


async def test_uploads_of_one_path_at_once_leave_one_whole_file(objects: ObjectStore, tmp_path: Path) -> None:
    """Two attempts of one file may overlap: the path holds the bytes of one of them, never a mixture."""
    files = [tmp_path / str(n) for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(bytes([n]) * SIZE)
    done = await asyncio.gather(*(objects.put_file("a/b.bin", file) for file in files), return_exceptions=True)
    failed = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, PipelineError) and each.category is Category.TRANSIENT for each in failed)
    assert len(failed) < len(files)
    assert set(await _bytes(objects, "a/b.bin")) in ({0}, {1}, {2})


async def test_a_streamed_file_is_seen_when_it_is_whole(objects: ObjectStore) -> None:
    """Neither before it is finished nor, if it is given up, ever."""
    kept, given_up = objects.upload("kept.bin"), objects.upload("given-up.bin")
    for streaming in (kept, given_up):
        await streaming.open()
        for _ in range(3):
            await streaming.write(b"x" * (5 << 20))
    assert await _names(objects) == []
    await given_up.discard()
    await kept.finish()
    assert await _names(objects) == ["kept.bin"]
    assert await objects.head("kept.bin") == 3 * (5 << 20)


KILLED = """
import asyncio, json, os, sys
from kafka_pipeline.common.lake.objects import ObjectStore

async def main():
    url, options = sys.argv[1], json.loads(sys.stdin.read())
    streaming = ObjectStore.from_url(url, options, {"allow_http": "true"}).upload("claimx/1/2/video.mp4")
    await streaming.open()
    for _ in range(4):
        await streaming.write(b"x" * (5 << 20))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_a_killed_upload_leaves_nothing_at_its_path(
    objects: ObjectStore, azurite_location: LakeLocation, azurite: Mapping[str, str]
) -> None:
    """Its parts were blocks that no list names; the next attempt is not disturbed by them."""
    options = {**azurite_location.options, "account_key": azurite["AZURE_STORAGE_KEY"]}
    killed = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-c", KILLED, azurite_location.files],
        input=json.dumps(options).encode(),
        env={"PYTHONPATH": str(Path(__file__).parents[4])},
        check=False,
        timeout=60,
    )
    assert killed.returncode == -9
    assert await _names(objects) == []
    await objects.put_bytes("claimx/1/2/video.mp4", b"whole")
    assert await _bytes(objects, "claimx/1/2/video.mp4") == b"whole"


async def test_a_lake_that_can_be_used_is_found_so(objects: ObjectStore, azurite_location: LakeLocation) -> None:
    """The check at the start writes, lists and deletes, and leaves nothing."""
    await check_writable(azurite_location)
    assert await _names(objects) == []
