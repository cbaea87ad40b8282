"""Promises of downloader and uploader: a file goes from its link into the lake, once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from kafka_pipeline.claimx.retry.link_refresher import LinkRefresher
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.transfers.cached import CacheTransfer
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.claimx.transfers.transfer import Fetcher
from kafka_pipeline.claimx.workers.download_worker import ClaimXDownloadWorker, leads_to_login
from kafka_pipeline.claimx.workers.upload_worker import ClaimXUploadWorker
from kafka_pipeline.claimx.writers.entities import EntityTableWriter
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy, Origin
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Retry, Skip

New = Callable[..., Any]

BODY = b"a photo of a leak " * 1_000
SHA = hashlib.sha256(BODY).hexdigest()
SECRET = "X-Amz-Signature=feedface"
NOW = datetime.now(UTC)


class Storage:
    """A server of one file. It counts requests, and can keep its length to itself or hold its answers back."""

    def __init__(self) -> None:
        self.requests = 0
        self.open_now = 0
        self.most_open = 0
        self.tells_length = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.host = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the file."""
        self.requests += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        await self.may_answer.wait()
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        if self.tells_length:
            response.content_length = len(BODY)
        await response.prepare(request)
        await response.write(BODY)
        self.open_now -= 1
        return response


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    """Serve the file on loopback."""
    made = Storage()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port, *_ = runner.addresses[0]
    made.host = f"{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def cache(tmp_path: Path) -> FileCache:
    """Return a cache for a handful of files."""
    made = FileCache(tmp_path / "cache", 5 * len(BODY), poll_s=0.01)
    await made.start()
    return made


@pytest.fixture
async def downloader(
    topics: Topics, storage: Storage, cache: FileCache, entities: EntityTableWriter, api: Any
) -> AsyncIterator[ClaimXDownloadWorker]:
    """Return a download worker that may fetch two files at once."""
    async with Downloader(DownloadPolicy(private_hosts=frozenset({storage.host}))) as opened:
        fetcher = Fetcher(opened, HostGates([storage.host], CircuitSettings(), places=5), concurrency=2)
        yield ClaimXDownloadWorker(
            topics=topics,
            transfer=CacheTransfer(topic=topics.downloads_cached, fetcher=fetcher, cache=cache),
            links=LinkRefresher(api),
            writer=entities,
            patience=LakePatience(),
            allowed_extensions=["jpg"],
            expiry_margin_s=60,
        )


@pytest.fixture
def files(tmp_path: Path) -> ObjectStore:
    """Return the files of the lake."""
    return ObjectStore.at(LakeLocation.parse(tmp_path / "lake"))


@pytest.fixture
def uploader(topics: Topics, files: ObjectStore, cache: FileCache, entities: EntityTableWriter) -> ClaimXUploadWorker:
    """Return an upload worker that waits for its lake without losing time."""
    patience = LakePatience(sleep=lambda _seconds: asyncio.sleep(0))
    return ClaimXUploadWorker(
        topics=topics, files=files, cache=cache, writer=entities, patience=patience, concurrency=2
    )


def download_task(storage: Storage, media_id: str = "71", **changes: Any) -> ClaimXDownloadTask:
    """Return the task to fetch a file."""
    fields = {
        "media_id": media_id,
        "project_id": "1",
        "download_url": f"http://{storage.host}/{media_id}?{SECRET}",
        "blob_path": f"claimx/1/{media_id}/leak.jpg",
        "file_type": "jpg",
        "file_name": "leak?.jpg",
        "source_event_id": "e1",
        "expires_at": NOW + timedelta(hours=1),
    }
    return ClaimXDownloadTask(**fields | changes)


def cached_task(cache: FileCache, media_id: str = "71", **changes: Any) -> ClaimXCachedDownload:
    """Put a file into the cache and return the task to upload it."""
    path = cache.path_for(f"claimx/{media_id}/leak.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(BODY)
    fields = {
        "media_id": media_id,
        "project_id": "1",
        "download_url": f"https://claimx.example.com/{media_id}?{SECRET}",
        "blob_path": f"claimx/1/{media_id}/leak.jpg",
        "file_type": "jpg",
        "file_name": "leak?.jpg",
        "source_event_id": "e1",
        "local_cache_path": f"claimx/{media_id}/leak.jpg",
        "content_sha256": SHA,
        "bytes_downloaded": len(BODY),
        "downloaded_at": NOW,
        "content_type": "image/jpeg",
    }
    return ClaimXCachedDownload(**fields | changes)


PLACES_OF_OTHERS = [
    *("../Tables/claimx_events/_delta_log/a.jpg", "claimx/1/71/../72/leak.jpg", "claimx/1/72/leak.jpg"),
    *("claimx/2/71/leak.jpg", "/claimx/1/71/leak.jpg", "claimx/1/71/a/leak.jpg", "claimx/1/71/le%61k.jpg"),
]
"""Where the file 71 of project 1 must not go."""


# -- downloader ---------------------------------------------------------------------------------------------------


async def test_a_file_is_in_the_cache_before_its_upload_is_asked_for(
    downloader: ClaimXDownloadWorker, storage: Storage, cache: FileCache, topics: Topics, record: New
) -> None:
    """[WRK-3] With its hash, size and type, and everything the download task carried."""
    task = download_task(storage)
    [outcome] = await downloader.process([record(task.to_bytes())])
    assert isinstance(outcome, Done)
    [message] = outcome.messages
    cached = ClaimXCachedDownload.from_bytes(message.value)
    assert (message.topic, message.key) == (topics.downloads_cached, b"71")
    assert cache.path_for(cached.local_cache_path).read_bytes() == BODY
    assert (cached.content_sha256, cached.bytes_downloaded, cached.content_type) == (SHA, len(BODY), "image/jpeg")
    assert cached.download_task() == task


def stored_row(status: AttachmentStatus) -> AttachmentRow:
    """Return the row of the file in the inventory."""
    return AttachmentRow(
        media_id="71",
        project_id="1",
        blob_path="claimx/1/71/leak.jpg",
        status=status,
        downloaded_at=NOW,
        bytes_downloaded=len(BODY),
        content_sha256=SHA,
        content_type="image/jpeg",
    )


async def test_a_file_that_is_stored_is_not_fetched(
    downloader: ClaimXDownloadWorker, storage: Storage, entities: EntityTableWriter, record: New
) -> None:
    """[HND-5] The downloader looks again: many tasks of one file may have been queued. A new path is a new file."""
    await entities.write_attachments([stored_row(AttachmentStatus.COMPLETED)])
    assert await downloader.process([record(download_task(storage).to_bytes())]) == [Skip(reason="already_stored")]
    assert storage.requests == 0
    renamed = download_task(storage, blob_path="claimx/1/71/renamed.jpg")
    [outcome] = await downloader.process([record(renamed.to_bytes())])
    assert isinstance(outcome, Done)


async def test_a_stored_file_whose_result_was_never_sent_has_it_told(
    downloader: ClaimXDownloadWorker, storage: Storage, entities: EntityTableWriter, topics: Topics, record: New
) -> None:
    """In direct mode a kill may come between the row and the result: whoever gets the task next tells it (I1)."""
    await entities.write_attachments([stored_row(AttachmentStatus.UPLOADED)])
    [outcome] = await downloader.process([record(download_task(storage).to_bytes())])
    assert isinstance(outcome, Done)
    [message] = outcome.messages
    result = ClaimXUploadResult.from_bytes(message.value)
    assert (message.topic, message.key, result.status) == (topics.downloads_results, b"71", ResultStatus.COMPLETED)
    assert (result.content_sha256, result.bytes_uploaded, result.downloaded_at) == (SHA, len(BODY), NOW)
    assert storage.requests == 0


async def test_a_stored_file_of_which_the_inventory_tells_too_little_is_fetched(
    downloader: ClaimXDownloadWorker, storage: Storage, entities: EntityTableWriter, record: New
) -> None:
    """Its row is none that this pipeline writes: size and hash are found out anew."""
    row = stored_row(AttachmentStatus.UPLOADED).model_copy(update={"content_sha256": None})
    await entities.write_attachments([row])
    [outcome] = await downloader.process([record(download_task(storage).to_bytes())])
    assert isinstance(outcome, Done)
    assert storage.requests == 1


async def test_an_expired_link_is_not_tried(
    downloader: ClaimXDownloadWorker, storage: Storage, api: Any, record: New
) -> None:
    """[LNK-4] Within the margin counts as expired too; where no fresh link is to be had, a later attempt gets one."""
    task = download_task(storage, expires_at=NOW + timedelta(seconds=30))
    [outcome] = await downloader.process([record(task.to_bytes())])
    assert isinstance(outcome, Retry)
    assert (outcome.category, outcome.value) == (Category.TRANSIENT, None)
    assert (storage.requests, api.count("media")) == (0, 1)


@pytest.mark.parametrize(
    "changes",
    [
        *({"media_id": "../7"}, {"project_id": "a/b"}, {"blob_path": "claimx/1/71/run.exe"}),
        *({"download_url": "ftp://x/y"}, *({"blob_path": path} for path in PLACES_OF_OTHERS)),
    ],
)
async def test_what_is_never_fetched_is_refused_for_good(
    downloader: ClaimXDownloadWorker, storage: Storage, record: New, changes: dict[str, str]
) -> None:
    """[7.3] Odd ids, other extensions, schemes and places: permanent, and no word of the link."""
    [outcome] = await downloader.process([record(download_task(storage, **changes).to_bytes())])
    assert isinstance(outcome, Dead)
    assert SECRET not in outcome.error_text
    assert storage.requests == 0


async def test_a_task_that_cannot_be_read_is_refused(downloader: ClaimXDownloadWorker, record: New) -> None:
    """With the reason that the dead letters know it by."""
    [outcome] = await downloader.process([record(b'{"media_id": "1"}')])
    assert isinstance(outcome, Dead)
    assert outcome.reason == "malformed"


@pytest.mark.parametrize("tells_length", [True, False])
async def test_a_full_cache_is_waited_for(
    downloader: ClaimXDownloadWorker, storage: Storage, cache: FileCache, record: New, *, tells_length: bool
) -> None:
    """Whether the server tells the size or not: no failure, and it goes on once there is room (I9)."""
    storage.tells_length = tells_length
    kept = []
    for number in range(5):
        cached_task(cache, str(number))
        kept.append(cache.path_for(f"claimx/{number}/leak.jpg"))
    await cache.look()
    waiting = asyncio.create_task(downloader.process([record(download_task(storage).to_bytes())]))
    while not cache._waiting:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    for path in kept:
        await cache.release(path)
    [outcome] = await waiting
    assert isinstance(outcome, Done)


async def test_no_more_files_are_fetched_at_once_than_configured(
    downloader: ClaimXDownloadWorker, storage: Storage, record: New
) -> None:
    """Two at once, whatever is in flight."""
    storage.may_answer.clear()
    running = [
        asyncio.create_task(downloader.process([record(download_task(storage, str(number)).to_bytes())]))
        for number in range(5)
    ]
    while storage.open_now < 2:
        await asyncio.sleep(0.01)
    storage.may_answer.set()
    outcomes = [outcome for outcomes in await asyncio.gather(*running) for outcome in outcomes]
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert storage.most_open == 2


@pytest.mark.parametrize(
    ("target", "login"),
    [
        ("https://claimx.example.com/login", True),
        ("https://claimx.example.com/service/cxfileservice/file/7", False),
        ("https://media.s3.example.com/login", False),
        ("https://claimx.example.com:8443/login", False),
    ],
)
def test_a_redirect_to_the_login_page_is_known(target: str, *, login: bool) -> None:
    """Settled point 12: the API's own origin, and not its file service."""
    api = Origin.parse("https://claimx.example.com/service/cxedirest")
    assert leads_to_login(api, URL(target)) is login
    assert leads_to_login(None, URL(target)) is False


# -- uploader -----------------------------------------------------------------------------------------------------


async def test_a_file_is_stored_and_recorded_before_its_result_is_told(
    uploader: ClaimXUploadWorker, files: ObjectStore, cache: FileCache, topics: Topics, record: New, rows: New
) -> None:
    """File, inventory row, result message, and the cache file goes last, once the message is acknowledged."""
    task = cached_task(cache)
    [outcome] = await uploader.process([record(task.to_bytes())])
    assert isinstance(outcome, Done)
    [row] = rows("claimx_attachments")
    assert await files.head("claimx/1/71/leak.jpg") == len(BODY)
    assert (row["status"], row["content_sha256"], row["bytes_downloaded"]) == ("uploaded", SHA, len(BODY))
    assert (row["file_name"], row["media_name"], row["media_type"]) == ("leak.jpg", "leak?.jpg", "jpg")
    assert row["download_url"] == "https://claimx.example.com/71"
    [message] = outcome.messages
    result = ClaimXUploadResult.from_bytes(message.value)
    assert (message.topic, message.key) == (topics.downloads_results, b"71")
    assert (result.status, result.bytes_uploaded, result.downloaded_at) == (ResultStatus.COMPLETED, len(BODY), NOW)
    assert SECRET.encode() not in (message.value or b""), "[MSG-2] results never carry a link"
    local = cache.path_for(task.local_cache_path)
    assert local.exists()
    assert outcome.cleanup is not None
    await outcome.cleanup()
    assert not local.exists()


async def test_a_redelivery_after_the_cache_file_went_tells_the_result_again(
    uploader: ClaimXUploadWorker, cache: FileCache, record: New, rows: New
) -> None:
    """A crash between the last step and the commit costs nothing: the inventory has the file."""
    task = cached_task(cache)
    [first] = await uploader.process([record(task.to_bytes())])
    assert isinstance(first, Done)
    assert first.cleanup is not None
    await first.cleanup()
    [again] = await uploader.process([record(task.to_bytes())])
    assert isinstance(again, Done)
    assert [message.key for message in again.messages] == [b"71"]
    assert len(rows("claimx_attachments")) == 1


@pytest.mark.parametrize("path", PLACES_OF_OTHERS)
async def test_no_upload_writes_over_what_is_another_s(
    uploader: ClaimXUploadWorker, cache: FileCache, record: New, tmp_path: Path, path: str
) -> None:
    """[BLB-1] A poisoned task names a table's folder, or another project's file: refused for good."""
    [outcome] = await uploader.process([record(cached_task(cache, blob_path=path).to_bytes())])
    assert isinstance(outcome, Dead)
    assert list((tmp_path / "lake").rglob("*.jpg")) == []


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"something else")])
async def test_a_cached_file_that_is_not_what_was_downloaded_is_not_stored(
    uploader: ClaimXUploadWorker, files: ObjectStore, cache: FileCache, record: New, rows: New, damage: New
) -> None:
    """[7.4] Gone or changed: back to the download, and nothing of it in the lake."""
    task = cached_task(cache)
    damage(cache.path_for(task.local_cache_path))
    [outcome] = await uploader.process([record(task.to_bytes())])
    assert isinstance(outcome, Retry)
    assert (outcome.category, outcome.reason) == (Category.TRANSIENT, "cache_lost")
    assert await files.head("claimx/1/71/leak.jpg") is None
    assert rows("claimx_attachments") == []


@pytest.mark.parametrize("category", [Category.TRANSIENT, Category.AUTH])
async def test_a_lake_that_takes_no_file_is_waited_for(
    uploader: ClaimXUploadWorker,
    files: ObjectStore,
    cache: FileCache,
    record: New,
    monkeypatch: pytest.MonkeyPatch,
    category: Category,
) -> None:
    """I7: it is no fault of the file; a lake that is back gets it."""
    put, failures = files.put_file, [category] * 3

    async def away(path: str, local_path: Path) -> int:
        if failures:
            raise PipelineError("writing a file of the lake: HTTP 503", failures.pop())
        return await put(path, local_path)

    monkeypatch.setattr(files, "put_file", away)
    [outcome] = await uploader.process([record(cached_task(cache).to_bytes())])
    assert isinstance(outcome, Done)
    assert failures == []


async def test_a_file_that_the_lake_refuses_is_dead(
    uploader: ClaimXUploadWorker, files: ObjectStore, cache: FileCache, record: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[7.4] 400 and 404 of the storage are permanent."""

    async def refused(path: str, local_path: Path) -> int:
        raise PipelineError("writing a file of the lake: HTTP 400", Category.PERMANENT)

    monkeypatch.setattr(files, "put_file", refused)
    [outcome] = await uploader.process([record(cached_task(cache).to_bytes())])
    assert isinstance(outcome, Dead)
