"""The cache holds no more than it may, and nothing it should not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.http.cache import CachePathError, FileCache
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.partial import PartialFile


def put(path: Path, size_bytes: int) -> Path:
    """Write a file of that size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    return path


async def test_room_that_is_not_committed_is_free_again(tmp_path: Path) -> None:
    """A failed download costs nothing."""
    cache = FileCache(tmp_path, 100)
    await cache.start()

    with await cache.reserve(60):
        assert cache.used_bytes == 60

    assert cache.used_bytes == 0


async def test_a_file_counts_what_it_is_until_it_is_released(tmp_path: Path) -> None:
    """Not what was reserved for it."""
    cache = FileCache(tmp_path, 100)
    await cache.start()
    path = put(cache.path_for("claimx/1/2/a.jpg"), 25)

    with await cache.reserve(60) as room:
        room.commit(25)
    assert cache.used_bytes == 25

    await cache.release(path)
    await cache.release(path)
    assert (cache.used_bytes, path.exists()) == (0, False)


def folders(root: Path) -> list[str]:
    """Return every folder below."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir())


async def test_no_folder_stays_behind_a_released_file(tmp_path: Path) -> None:
    """One for each file that ever came would use up the disk's inodes; those of other files, and the root, stay."""
    cache = FileCache(tmp_path, 100)
    await cache.start()
    gone, other = (put(cache.path_for(f"claimx/{name}/a.jpg"), 5) for name in ("71/x", "72/x"))

    await cache.release(gone)
    assert folders(tmp_path) == ["claimx", "claimx/72", "claimx/72/x"]

    await cache.release(other)
    assert folders(tmp_path) == []


async def test_a_file_that_cannot_be_deleted_still_counts(tmp_path: Path) -> None:
    """Releasing is the last step of a task that has succeeded: it must not fail it."""
    folder = put(tmp_path / "folder" / "a.jpg", 25).parent
    cache = FileCache(tmp_path, 100)
    await cache.start()

    await cache.release(folder)

    assert cache.used_bytes == 25


async def test_whoever_finds_no_room_waits_until_there_is(tmp_path: Path) -> None:
    """First come, first served: a large file is not starved by small ones."""
    cache = FileCache(tmp_path, 100, poll_s=60)
    await cache.start()
    held = await cache.reserve(80)
    large = asyncio.create_task(cache.reserve(50))
    small = asyncio.create_task(cache.reserve(10))
    done, _ = await asyncio.wait({large, small}, timeout=0.05)
    assert done == set()

    held.release()

    await asyncio.wait_for(asyncio.gather(large, small), 5)
    assert cache.used_bytes == 60


async def test_a_waiter_that_gives_up_does_not_block_the_next(tmp_path: Path) -> None:
    """Cancelled while waiting, as in a shutdown or a revoked partition."""
    cache = FileCache(tmp_path, 100, poll_s=60)
    await cache.start()
    held = await cache.reserve(80)
    first = asyncio.create_task(cache.reserve(50))
    second = asyncio.create_task(cache.reserve(10))
    await asyncio.sleep(0)
    first.cancel()

    room = await asyncio.wait_for(second, 5)

    assert (room.size_bytes, cache.used_bytes) == (10, 90)
    held.release()


async def test_a_file_larger_than_the_cache_is_admitted_alone(tmp_path: Path) -> None:
    """Else it could never be downloaded; nothing else goes beside it."""
    cache = FileCache(tmp_path, 100, poll_s=60)
    await cache.start()
    small = await cache.reserve(1)
    huge = asyncio.create_task(cache.reserve(1_000))
    done, _ = await asyncio.wait({huge}, timeout=0.05)
    assert done == set()
    small.release()

    room = await asyncio.wait_for(huge, 5)

    assert room.try_grow(2_000)
    assert not cache.fits(1)


async def test_growing_never_waits(tmp_path: Path) -> None:
    """Two that hold a part and wait for the rest would wait for each other for ever."""
    cache = FileCache(tmp_path, 100)
    await cache.start()
    one, two = await cache.reserve(40), await cache.reserve(40)

    assert (one.try_grow(60), two.try_grow(41), one.try_grow(10)) == (True, False, True)
    assert (one.size_bytes, two.size_bytes, cache.used_bytes) == (60, 40, 100)
    one.release()
    assert not one.try_grow(5)


async def test_what_another_process_frees_is_noticed(tmp_path: Path) -> None:
    """Downloader and uploader share the folder and nothing else."""
    path = put(tmp_path / "a.jpg", 90)
    cache = FileCache(tmp_path, 100, poll_s=0.02)
    await cache.start()
    waiting = asyncio.create_task(cache.reserve(50))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert done == set()

    path.unlink()

    await asyncio.wait_for(waiting, 5)
    assert cache.used_bytes == 50


async def test_a_file_that_is_being_written_is_counted_once(tmp_path: Path) -> None:
    """Its reservation counts it; the look at the folder does not count it again."""
    cache = FileCache(tmp_path, 100)
    await cache.start()
    partial = PartialFile(tmp_path / "a.jpg")
    partial.open()
    with await cache.reserve(50) as room:
        partial.write(b"x" * 30)
        await cache.look()
        assert cache.used_bytes == 50
        partial.finish()
        room.commit(30)
    await cache.look()

    assert cache.used_bytes == 30


def crashed_writer(folder: Path, *, alive: bool) -> subprocess.Popen[bytes]:
    """Start a process that writes a partial file; it is killed -9, or goes on holding it."""
    program = textwrap.dedent(
        """
        import pathlib, sys, time
        from kafka_pipeline.common.http.partial import PartialFile
        partial = PartialFile(pathlib.Path(sys.argv[1]) / "a.jpg")
        partial.open()
        partial.write(b"half")
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    if not alive:
        process.kill()
        process.wait()
    return process


@pytest.mark.parametrize("alive", [False, True])
async def test_leftovers_of_a_crash_go_and_files_in_use_stay(tmp_path: Path, alive: bool) -> None:  # noqa: FBT001
    """However young: who holds the lock lives, and a killed process holds none."""
    process = crashed_writer(tmp_path, alive=alive)
    try:
        cleaned = await FileCache(tmp_path, 100).start()

        assert (cleaned.files, cleaned.freed_bytes) == ((0, 0) if alive else (1, 4))
        assert sum(1 for _ in os.scandir(tmp_path)) == (1 if alive else 0)
    finally:
        process.kill()
        process.communicate()


async def test_cleaning_takes_what_was_forgotten(tmp_path: Path) -> None:
    """Files older than 24 h and the folders they leave empty; nothing younger."""
    now = datetime.now(UTC)
    cache = FileCache(tmp_path, 1_000)
    old, young = put(tmp_path / "p1" / "m1" / "old.jpg", 10), put(tmp_path / "p2" / "m2" / "young.jpg", 20)
    aged = (now - timedelta(hours=25)).timestamp()
    for path in (old, old.parent, old.parent.parent):
        os.utime(path, (aged, aged))
    await cache.start()

    cleaned = await cache.clean(now)

    assert (cleaned.files, cleaned.freed_bytes, cache.used_bytes) == (1, 10, 20)
    assert (old.exists(), young.exists()) == (False, True)
    later = await cache.clean(now + timedelta(hours=48))
    assert (later.files, (tmp_path / "p1").exists(), (tmp_path / "p2").exists()) == (1, False, False)


@pytest.mark.parametrize(
    "relative",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/./b",
        "a/",
        "a\\b",
        "a\0b",
        "a\nb",
        ".part-x",
        "a/.part-x/b",
        "link/x",
    ],
)
def test_a_path_stays_inside(tmp_path: Path, relative: str) -> None:
    """Also through a link that leads outside, and never by a name that cleaning would take for a leftover."""
    root, outside = tmp_path / "cache", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)

    with pytest.raises(CachePathError):
        FileCache(root, 1).path_for(relative)


def test_a_plain_path_is_below_the_root(tmp_path: Path) -> None:
    """Names of any language, blanks and leading dots included."""
    assert FileCache(tmp_path, 1).path_for("claimx/1/2/Küche 1.jpg") == tmp_path / "claimx" / "1" / "2" / "Küche 1.jpg"
    assert FileCache(tmp_path, 1).path_for("a/...jpg") == tmp_path / "a" / "...jpg"


async def test_a_folder_that_cannot_be_made_is_told_as_such(tmp_path: Path) -> None:
    """Readiness says cache_unwritable."""
    put(tmp_path / "file", 1)

    with pytest.raises(DownloadError) as caught:
        await FileCache(tmp_path / "file" / "cache", 1).start()

    assert caught.value.fault is Fault.CACHE_UNWRITABLE


async def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """255 bytes are allowed [BLB-2], so a partial file's name must not be the file's with a prefix."""
    destination = tmp_path / ("ü" * 125 + "a.jpg")
    partial = PartialFile(destination)
    partial.open()
    partial.write(b"x")
    partial.finish()
    partial.discard()

    assert destination.read_bytes() == b"x"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["reserve", "grow", "commit", "release"]), st.integers(0, 60), st.integers(0, 3)),
        max_size=40,
    )
)
def test_the_bound_holds_and_nothing_is_lost_in_counting(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is reserved, grown, committed and released: never more than allowed, but for one file alone."""

    async def run() -> None:
        cache = FileCache(Path("unused"), 100, poll_s=60)
        rooms = [await cache.reserve(0)]
        committed = 0
        for step, size, which in steps:
            room = rooms[which % len(rooms)]
            match step:
                case "reserve" if cache.fits(size):
                    rooms.append(await cache.reserve(size))
                case "grow":
                    room.try_grow(size)
                case "commit":
                    taken = room.size_bytes
                    still_open = room.try_grow(0)
                    room.commit(taken)
                    committed += taken if still_open else 0
                case "release":
                    room.release()
                case _:
                    pass
            assert cache.used_bytes == committed + sum(room.size_bytes for room in rooms)
            assert cache.used_bytes <= 100

    asyncio.run(run())
