"""From a download task to a file in the lake, its inventory row and its result: real workers and brokers (WP-8.2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.verifier import verify
from kafka_pipeline.simulator.world import LinkForm, MediaItem, World

FILES = (WorkerKind.DOWNLOADER, WorkerKind.UPLOADER, WorkerKind.RESULT_PROCESSOR)

NewTask = Callable[..., ClaimXDownloadTask]


def files_of(world: World, count: int) -> list[MediaItem]:
    """Return the first media items that have a file behind them."""
    return [item for item in world.media.values() if item.link is not LinkForm.NONE][:count]


async def queue(site: Any, *tasks: ClaimXDownloadTask) -> None:
    """Put download tasks where the downloader takes them from."""
    topic = site.topics.downloads_pending
    await site.put(topic, *(Message(topic=topic, key=task.media_id.encode(), value=task.to_bytes()) for task in tasks))


async def finished(site: Any) -> None:
    """Return once every file is through."""
    for topic in (site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results):
        await site.drained(topic)


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_file_goes_from_its_link_into_the_cache_into_the_lake_and_into_the_inventory(
    site: Any, new_task: NewTask
) -> None:
    """Each worker finds what the one before it left, and the last one knows the file as completed."""
    (item,) = files_of(site.simulator.world, 1)
    task = new_task(site, item, source_event_id="event-1")
    wanted = item.file().sha256()
    await queue(site, task)

    async with site.working(WorkerKind.DOWNLOADER):
        await site.drained(site.topics.downloads_pending)
    (record,) = await site.read(site.topics.downloads_cached)
    cached = ClaimXCachedDownload.from_bytes(record.value)
    assert record.key == task.media_id.encode()
    assert (cached.content_sha256, cached.bytes_downloaded) == (wanted, item.size_bytes)
    assert cached.download_task() == task
    assert sha256(site.config.cache_location / cached.local_cache_path) == wanted
    assert site.rows("claimx_attachments") == []

    async with site.working(WorkerKind.UPLOADER):
        await site.drained(site.topics.downloads_cached)
    assert sha256(site.lake / "Files" / task.blob_path) == wanted
    (row,) = site.rows("claimx_attachments")
    assert (row["status"], row["content_sha256"], row["blob_path"]) == ("uploaded", wanted, task.blob_path)
    assert row["download_url"] == task.download_url.partition("?")[0]
    assert not (site.config.cache_location / cached.local_cache_path).exists()
    (record,) = await site.read(site.topics.downloads_results)
    result = ClaimXUploadResult.from_bytes(record.value)
    assert (result.status, result.media_id, result.bytes_uploaded) == (
        ResultStatus.COMPLETED,
        task.media_id,
        item.size_bytes,
    )
    assert b"expires=" not in record.value  # the link stays behind

    async with site.working(WorkerKind.RESULT_PROCESSOR):
        await site.drained(site.topics.downloads_results)
    (row,) = site.rows("claimx_attachments")
    assert (row["status"], row["content_sha256"], row["source_event_id"]) == ("completed", wanted, "event-1")


async def test_a_file_that_is_stored_is_not_fetched_again(site: Any, new_task: NewTask) -> None:
    """A task that comes again, in a fresh process, costs no byte and changes neither file nor row."""
    items = files_of(site.simulator.world, 3)
    tasks = [new_task(site, item) for item in items]
    for _ in range(2):
        async with site.working(*FILES):
            await queue(site, *tasks)
            await finished(site)
    assert site.simulator.bytes_served == sum(item.size_bytes for item in items)
    assert len(files_below(site.lake / "Files")) == len(site.rows("claimx_attachments")) == len(items)
    assert len(await site.read(site.topics.downloads_results)) == len(items)


async def test_what_can_never_be_fetched_is_set_aside_with_its_reason_and_the_rest_goes_on(
    site: Any, new_task: NewTask, tmp_path: Path
) -> None:
    """Foreign hosts, refused extensions, ids that lead elsewhere, files that are gone, and no task at all [7.3].

    Each is a dead letter with the bytes as they were, and the inventory knows it as failed; the file behind them is
    stored all the same.
    """
    first, second, third, fourth, good = files_of(site.simulator.world, 5)
    secret = "PLANTED-SIGNATURE"
    bad = {
        "foreign": new_task(site, first, download_url=f"https://elsewhere.example.com/a.jpg?X-Amz-Signature={secret}"),
        "extension": new_task(site, second, blob_path=f"claimx/{second.project_id}/{second.media_id}/run.exe"),
        "outside": new_task(site, third, project_id="../../outside"),
        "gone": new_task(
            site, fourth, download_url=new_task(site, fourth).download_url.replace(str(fourth.media_id), "1")
        ),
    }
    async with site.working(*FILES):
        await queue(site, *bad.values())
        await site.put(site.topics.downloads_pending, b"no task at all")
        await queue(site, new_task(site, good))
        await finished(site)

    assert (site.lake / "Files" / new_task(site, good).blob_path).is_file()
    letters = {letter.record.value: letter for letter in await site.dead_letters(DeadLetterKind.DOWNLOADS)}
    reasons = {name: letters[task.to_bytes()].reason for name, task in bad.items()}
    assert reasons == {"foreign": "permanent", "extension": "permanent", "outside": "permanent", "gone": "not_found"}
    assert letters[b"no task at all"].reason == "malformed"
    assert len(letters) == len(bad) + 1
    assert all(secret not in letter.error_text for letter in letters.values())
    status = {row["media_id"]: row["status"] for row in site.rows("claimx_attachments")}
    assert status == {task.media_id: "failed_permanent" for task in bad.values()} | {str(good.media_id): "completed"}
    assert len(files_below(site.lake / "Files")) == 1
    assert not files_below(tmp_path / "outside")
    assert all("outside" not in str(path) for path in files_below(tmp_path))


@pytest.mark.parametrize("mode", ["cached", "direct"])
@pytest.mark.parametrize("known", [True, False], ids=["by its date", "by the answer"])
async def test_an_expired_link_is_made_anew_and_its_file_arrives(
    embedded_site: Any, new_task: NewTask, expired_link: Callable[[Any, MediaItem], str], *, known: bool, mode: str
) -> None:
    """LNK-5: no attempt is counted, no retry topic is used; with a link known as expired no request is made."""
    site = embedded_site
    (item,) = files_of(site.simulator.world, 1)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    task = new_task(site, item, download_url=expired_link(site, item), expires_at=long_ago if known else None)
    async with site.working(*FILES, transfer_mode=mode):
        await queue(site, task)
        await finished(site)
    assert sha256(site.lake / "Files" / task.blob_path) == item.file().sha256()
    (row,) = site.rows("claimx_attachments")
    assert (row["status"], row["error_category"]) == ("completed", None)
    (record,) = await site.read(site.topics.downloads_results)
    assert ClaimXUploadResult.from_bytes(record.value).retry_count == 0
    assert await site.dead_letters(DeadLetterKind.DOWNLOADS) == []


async def test_files_of_one_project_are_refreshed_by_one_call(
    embedded_site: Any, new_task: NewTask, expired_link: Callable[[Any, MediaItem], str]
) -> None:
    """LNK-5: a backlog of links that are past their time costs a call per project, not one per file."""
    site = embedded_site
    items = files_of(site.simulator.world, 12)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    async with site.working(*FILES):
        links = {item: expired_link(site, item) for item in items}
        await queue(site, *(new_task(site, item, download_url=links[item], expires_at=long_ago) for item in items))
        await finished(site)
    assert len(site.rows("claimx_attachments")) == len(items)
    listed = sum(count for path, count in site.simulator.calls.items() if path.endswith("/media"))
    assert listed == len({item.project_id for item in items})


async def test_direct_mode_needs_no_cache_and_no_uploader(site: Any, new_task: NewTask) -> None:
    """The downloader stores the files, records them and tells of them; the disk beside the lake stays empty."""
    items = files_of(site.simulator.world, 5)
    tasks = [new_task(site, item, source_event_id="event-1") for item in items]
    async with site.working(WorkerKind.DOWNLOADER, transfer_mode="direct"):
        await queue(site, *tasks, *tasks)
        await site.drained(site.topics.downloads_pending)
    for item, task in zip(items, tasks, strict=True):
        assert sha256(site.lake / "Files" / task.blob_path) == item.file().sha256()
    rows = site.rows("claimx_attachments")
    assert {row["status"] for row in rows} == {"uploaded"}
    assert {row["media_id"]: row["bytes_downloaded"] for row in rows} == {
        str(item.media_id): item.size_bytes for item in items
    }
    assert await site.count(site.topics.downloads_cached) == 0
    assert not site.config.cache_location.exists()
    assert [path for path in files_below(site.lake / ".incoming") if path.suffix != ".lock"] == []
    async with site.working(WorkerKind.RESULT_PROCESSOR):
        await site.drained(site.topics.downloads_results)
    assert {row["status"] for row in site.rows("claimx_attachments")} == {"completed"}


async def test_a_whole_feed_in_direct_mode_ends_as_the_truth_says(embedded_site: Any) -> None:
    """Every row and every file, with no uploader and no cache."""
    site = embedded_site
    workers = [kind for kind in WorkerKind if kind is not WorkerKind.UPLOADER]
    async with site.working(*workers, transfer_mode="direct"):
        await site.producer.send(
            [Message(topic=site.topics.events, key=item.key, value=item.value) for item in site.simulator.feed()]
        )
        for topic in site.topics.work:
            await site.drained(topic)
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.differences == ()
    assert report.files.found > 0
    assert not site.config.cache_location.exists()


async def test_a_change_to_direct_mode_loses_no_file_on_its_way(embedded_site: Any, new_task: NewTask) -> None:
    """What the cached mode left in the cache is uploaded; new files go straight, and none is fetched twice."""
    site = embedded_site
    before, after = files_of(site.simulator.world, 2)
    async with site.working(WorkerKind.DOWNLOADER):
        await queue(site, new_task(site, before))
        await site.drained(site.topics.downloads_pending)
    async with site.working(*FILES, transfer_mode="direct"):
        await queue(site, new_task(site, after))
        await finished(site)
    assert {row["status"] for row in site.rows("claimx_attachments")} == {"completed"}
    assert site.simulator.bytes_served == before.size_bytes + after.size_bytes
    assert files_below(site.config.cache_location) == []


async def test_a_failure_never_undoes_a_success(embedded_site: Any, new_task: NewTask) -> None:
    """INV-1: a file that is in the lake stays completed, whatever an old task of it comes to."""
    site = embedded_site
    (item,) = files_of(site.simulator.world, 1)
    task = new_task(site, item)
    async with site.working(*FILES):
        await queue(site, task)
        await finished(site)
        await queue(site, new_task(site, item, blob_path=f"{task.blob_path}.exe"))
        await finished(site)
    assert len(await site.dead_letters(DeadLetterKind.DOWNLOADS)) == 1
    (row,) = site.rows("claimx_attachments")
    assert (row["status"], row["blob_path"], row["error_category"]) == ("completed", task.blob_path, None)
