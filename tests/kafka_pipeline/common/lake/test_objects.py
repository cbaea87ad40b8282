"""Files of the lake: whole or not there, under exactly the name they were given."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from obstore.store import AzureStore

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.incoming import Incoming, incoming_of
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import CHUNK_BYTES, ObjectStore, check_writable

NAMES = [
    "front door.jpg",
    "a+b~c=d;e,f@g!$().jpg",
    "Küche 日本 \u0301e.jpg",
    "[1]{2}^`'.jpg",
    "dots..in.name.pdf",
    "non\u00a0breaking.jpg",
    "é" * 125 + ".jpeg",
    "x" * 251 + ".jpg",
]

SIZE = 2 * CHUNK_BYTES + 12_345
"""Three parts."""


def _names(location: LakeLocation, folder: str) -> list[str]:
    return [path.name for path in (Path(location.files) / folder).iterdir()]


def _waiting(location: LakeLocation) -> list[Path]:
    return [path for path in (Path(location.root) / ".incoming").iterdir() if path.suffix != ".lock"]


def _bytes(location: LakeLocation, path: str | Path) -> bytes:
    return (Path(location.files) / path).read_bytes()


def _files_below(folder: str) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]


@pytest.fixture
def location(local_location: LakeLocation) -> LakeLocation:
    """Look at files with the means of the machine; Azurite has tests of its own."""
    return local_location


@pytest.fixture
def objects(location: LakeLocation) -> ObjectStore:
    """Return the files of a local lake."""
    return ObjectStore.at(location)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """Return a file of more than two parts."""
    file = tmp_path / "upload"
    file.write_bytes(os.urandom(SIZE))
    return file


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_keeps_its_name_exactly(
    objects: ObjectStore, location: LakeLocation, tmp_path: Path, name: str
) -> None:
    """Spaces, plus signs, any script, up to 255 bytes: the name on disk is the name given [BLB-2]."""
    (tmp_path / "f").write_bytes(b"abc")
    assert await objects.put_file(f"claimx/900001/7100001/{name}", tmp_path / "f") == 3
    assert _names(location, "claimx/900001/7100001") == [name]
    assert await objects.head(f"claimx/900001/7100001/{name}") == 3


async def test_an_upload_is_complete_and_may_be_repeated(
    objects: ObjectStore, location: LakeLocation, upload: Path
) -> None:
    """Several parts, the same bytes, no leftovers; a repeat replaces (I5)."""
    for _ in range(2):
        assert await objects.put_file("a/b.bin", upload) == SIZE
    assert _bytes(location, "a/b.bin") == _bytes(location, upload)
    assert _waiting(location) == []
    shorter = upload.with_name("shorter")
    shorter.write_bytes(b"shorter")
    assert await objects.put_file("a/b.bin", shorter) == 7
    assert _bytes(location, "a/b.bin") == b"shorter"


async def test_uploads_of_one_path_at_once_leave_one_whole_file(objects: ObjectStore, upload: Path) -> None:
    """Two attempts of one file may overlap: the path holds the bytes of either, never a mixture."""
    sizes = await asyncio.gather(*(objects.put_file("a/b.bin", upload) for _ in range(4)))
    assert set(sizes) == {SIZE}


async def test_a_missing_file_has_no_size_and_deletes_quietly(objects: ObjectStore) -> None:
    """Asking and deleting again are no errors."""
    assert await objects.head("not/there") is None
    assert not await objects.exists("not/there")
    await objects.delete("not/there")
    await objects.put_bytes("there", b"x")
    assert await objects.exists("there")
    await objects.delete("there")
    assert not await objects.exists("there")


async def test_a_file_to_upload_that_is_gone_is_transient(objects: ObjectStore, tmp_path: Path) -> None:
    """The cache file may be fetched again [7.4]; nothing appears in the lake."""
    with pytest.raises(PipelineError, match="cannot be read") as caught:
        await objects.put_file("a", tmp_path / "gone")
    assert caught.value.category is Category.TRANSIENT
    assert await objects.head("a") is None


async def test_a_size_that_differs_is_reported(
    objects: ObjectStore, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived is asked for, not assumed, however large it is."""

    async def short(_path: str) -> int:
        return 5

    monkeypatch.setattr(objects, "head", short)
    for size in (100, CHUNK_BYTES + 1):
        upload.write_bytes(bytes(size))  # noqa: ASYNC240 - nothing else runs here
        with pytest.raises(PipelineError, match="arrived as 5") as caught:
            await objects.put_file("a", upload)
        assert caught.value.category is Category.TRANSIENT


KILLED = """
import asyncio, os, sys
import obstore
from kafka_pipeline.common.lake.objects import ObjectStore

objects = ObjectStore.from_url(sys.argv[1])

async def parts():
    for _ in range(3):
        yield b"x" * (9 << 20)
    os.kill(os.getpid(), 9)

put = obstore.put_async
obstore.put_async = lambda store, path, _what, **options: put(store, path, parts(), **options)
asyncio.run(objects.put_bytes("claimx/1/2/video.mp4", b""))
"""


async def test_a_killed_upload_leaves_nothing_at_its_path(objects: ObjectStore, location: LakeLocation) -> None:
    """Parts of it may lie in `.incoming`, never under the name that readers know."""
    root = Path(__file__).parents[4]
    killed = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-c", KILLED, location.files], env={"PYTHONPATH": str(root)}, check=False, timeout=60
    )
    assert killed.returncode == -9
    assert await objects.head("claimx/1/2/video.mp4") is None
    assert _files_below(location.files) == []


async def test_what_a_killed_upload_left_is_removed_by_the_next_process(location: LakeLocation) -> None:
    """Its lock died with it; a process that lives keeps what it is writing."""
    root = Path(__file__).parents[4]
    for _ in range(2):
        subprocess.run(  # noqa: ASYNC221 - nothing else runs here
            [sys.executable, "-c", KILLED, location.files], env={"PYTHONPATH": str(root)}, check=False, timeout=60
        )
    left = _waiting(location)
    assert len(left) == 1, "the second process removed what the first one left"
    ours = incoming_of(Path(location.root))
    being_written = Path(location.root) / ours.new_path()
    being_written.write_bytes(b"on its way")
    assert Incoming(Path(location.root)).remove_abandoned() == 1
    assert _waiting(location) == [being_written]


def test_a_large_upload_needs_little_memory(location: LakeLocation, tmp_path: Path) -> None:
    """600 MiB go through a process whose memory grows by less than 200 (I9)."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(600 << 20)
    script = (
        "import asyncio, resource, sys; from pathlib import Path;"
        "from kafka_pipeline.common.lake.objects import ObjectStore;"
        "o = ObjectStore.from_url(sys.argv[1]);"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "asyncio.run(o.put_file('v.mp4', Path(sys.argv[2])));"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", script, location.files, str(big)],
        env={"PYTHONPATH": str(root)},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert int(done.stdout) < 200, "MiB"


@pytest.mark.parametrize(
    "url",
    [
        "az://lake/root",
        "abfss://ws@onelake.dfs.fabric.microsoft.com/lh.Lakehouse",
        "https://x.blob.fabric.microsoft.com/c/p",
    ],
)
def test_remote_lakes_are_constructed_without_asking_them(url: str) -> None:
    """Account and prefix come from the URL or the options; files lie under `Files`."""
    location = LakeLocation.parse(
        url, options={"azure_storage_account_name": "acct", "azure_storage_account_key": "Zm9v"}
    )
    store = ObjectStore.at(location)._store
    assert isinstance(store, AzureStore)
    assert str(store.prefix).endswith("Files")
    assert location.table_uri("t") == f"{url}/Tables/t"


def test_a_store_that_cannot_be_is_permanent() -> None:
    """Unknown options are a mistake in the settings, found at the start and told without their value."""
    with pytest.raises(PipelineError) as caught:
        ObjectStore.from_url("az://lake/root", {"no_such_key": "SECRET"})
    assert caught.value.category is Category.PERMANENT
    assert "SECRET" not in caught.value.text


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("az://c/p?sig=SECRET", "no query and no password"),
        ("https://u:SECRET@h/p", "no query and no password"),
        ("s3://bucket/p", "use abfss, az or a folder"),
    ],
)
def test_a_place_that_is_no_lake_is_refused_without_its_secret(where: str, says: str) -> None:
    """A credential in the URL would end in logs."""
    with pytest.raises(PipelineError, match=says) as caught:
        LakeLocation.parse(where)
    assert "SECRET" not in caught.value.text


def test_a_location_does_not_show_its_options() -> None:
    """A repr ends in logs (I10)."""
    assert "SECRET" not in repr(LakeLocation.parse("az://c/p", options={"azure_storage_account_key": "SECRET"}))


async def test_a_local_lake_is_created_and_checked(tmp_path: Path) -> None:
    """A path or a file URL; the check leaves no file behind."""
    for where in (tmp_path / "a" / "lake", (tmp_path / "b" / "lake").as_uri()):
        location = LakeLocation.parse(where)
        await check_writable(location)
        assert _files_below(location.files) == []
        assert _waiting(location) == []
        assert location.delta_options() == {}


async def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """One line with the place and the remedy."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PipelineError, match=r"cannot be written \(Not a directory\): set LAKE_URL to a folder"):
        await check_writable(LakeLocation.parse(tmp_path / "file" / "lake"))
