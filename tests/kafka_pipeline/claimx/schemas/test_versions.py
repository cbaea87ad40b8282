"""Messages of other versions: an older one is still read, a newer one loses nothing on its way through this version.

`golden/v1` holds the bytes of every message as version 1 writes them. These files never change: a topic, a retry or a
dead letter may hold such bytes for as long as its broker keeps them, while the code goes on. A new version of a message
gets files of its own beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.dlq.letters import sent_back
from kafka_pipeline.claimx.retry.download_handler import DownloadRetryHandler
from kafka_pipeline.claimx.retry.enrichment_handler import EnrichmentRetryHandler
from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage, parse_event
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.schemas.types import WireMessage
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.marks import read_mark, write_mark
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record, TopicPartition
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.delays import due_at_ms
from kafka_pipeline.common.runtime.outcomes import Dead, Retry
from kafka_pipeline.common.runtime.processor import SetAside, TryAgain
from kafka_pipeline.config import PipelineConfig

GOLDEN: Final = Path(__file__).parent / "golden" / "v1"
NOW = datetime(2026, 3, 2, 14, 5, 11, 250_000, tzinfo=UTC)
TOPICS = Topics.from_config(PipelineConfig())
LINK = "https://files.example.com/7100001.jpg?X-Amz-Date=20260302T140510Z&X-Amz-Expires=600&X-Amz-Signature=INVENTED"
EVENT = (
    b'{"eventType":"PROJECT_FILE_ADDED","projectId":900001,"mediaId":7100001,"IngestionTime":"2026-03-02T14:05:10.5Z"}'
)

PASSES = Retry(category=Category.TRANSIENT, error_class="TimeoutError", error_text="no answer")
FAILS = Dead(reason="not_found", error_class="NotFoundError", error_text="the project is unknown")


class HeldClock:
    """A clock that stands."""

    def now(self) -> datetime:
        """Return the moment."""
        return NOW

    def monotonic(self) -> float:
        """Return the moment in seconds."""
        return NOW.timestamp()


POLICY = RetryPolicy(delays_s=(300.0, 600.0, 1200.0, 2400.0))
ENRICHMENT = EnrichmentRetryHandler(topics=TOPICS, policy=POLICY, clock=HeldClock())
DOWNLOADS = DownloadRetryHandler(topics=TOPICS, policy=POLICY, clock=HeldClock())


def event_message() -> ClaimXEventMessage:
    """Return the parsed event."""
    return parse_event(EVENT, record_timestamp_ms=-1, now=NOW)


def enrichment_task() -> ClaimXEnrichmentTask:
    """Return what follows from it."""
    return ClaimXEnrichmentTask.from_event(event_message(), NOW)


def download_task() -> ClaimXDownloadTask:
    """Return what follows from that."""
    return ClaimXDownloadTask(
        media_id="7100001",
        project_id="900001",
        download_url=LINK,
        blob_path="claimx/900001/7100001/dach vörne.jpg",
        file_type="jpg",
        file_name="dach vörne.jpg",
        source_event_id=event_message().event_id,
        retry_count=1,
        refresh_count=1,
        expires_at=datetime(2026, 3, 2, 14, 15, 10, tzinfo=UTC),
    )


def cached_download() -> ClaimXCachedDownload:
    """Return what follows from that."""
    return download_task().cached(
        local_cache_path="claimx/7100001/0123456789ab/dach vörne.jpg",
        content_sha256="ab" * 32,
        bytes_downloaded=5_000,
        downloaded_at=NOW,
        content_type="image/jpeg",
    )


def upload_result(**changes: Any) -> ClaimXUploadResult:
    """Return what follows from that in the end."""
    told: dict[str, Any] = {
        "status": ResultStatus.COMPLETED,
        "bytes_uploaded": 5_000,
        "content_type": "image/jpeg",
        "content_sha256": "ab" * 32,
        "downloaded_at": NOW,
        **changes,
    }
    return ClaimXUploadResult(
        media_id="7100001",
        project_id="900001",
        blob_path="claimx/900001/7100001/dach vörne.jpg",
        file_type="jpg",
        file_name="dach vörne.jpg",
        source_event_id=event_message().event_id,
        retry_count=1,
        created_at=NOW,
        **told,
    )


def failed_result() -> ClaimXUploadResult:
    """Return what follows where the file cannot be had."""
    return upload_result(
        status=ResultStatus.FAILED_PERMANENT,
        bytes_uploaded=0,
        content_type=None,
        content_sha256=None,
        downloaded_at=None,
        error_category="permanent",
        error_message="gone",
    )


MESSAGES: dict[str, Callable[[], WireMessage]] = {
    "event": event_message,
    "enrichment-task": enrichment_task,
    "download-task": download_task,
    "cached-download": cached_download,
    "upload-result": upload_result,
    "upload-result-failed": failed_result,
}


def record(value: bytes | None, *, topic: str = "t", headers: Any = (), key: bytes | None = b"900001") -> Record:
    """Return a record as the broker gives it."""
    stamped = int(NOW.timestamp() * 1_000)
    return Record(topic=topic, partition=2, offset=15, key=key, value=value, headers=headers, timestamp_ms=stamped)


def delivered(message: Message) -> Record:
    """Return a message as its reader gets it."""
    return record(message.value, topic=message.topic, headers=message.headers, key=message.key)


def header_file(message: Message) -> str:
    """Return the key and the headers of a record, as the files of this folder hold them."""
    told = {name: text.decode() for name, text in message.headers}
    return json.dumps({"key": (message.key or b"").decode(), "headers": told}, indent=1) + "\n"


def written_headers() -> dict[str, Message]:
    """Return the records that are known by their headers: a retry, a dead letter of it, a mark."""
    origin = (
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("origin-at", b"1772460310500"),
    )
    first = record(enrichment_task().to_bytes(), topic=TOPICS.enrichment_pending, headers=origin)
    retried = ENRICHMENT.route(first, PASSES, tries=1)
    assert isinstance(retried, TryAgain)
    dead = ENRICHMENT.route(delivered(retried.messages[0]), FAILS, tries=1)
    assert isinstance(dead, SetAside)
    return {
        "retry-headers": retried.messages[0],
        "dead-letter-headers": dead.messages[0],
        "mark-headers": write_mark("claimx.dlq.events", {0: [(3, 5)], 2: [(7, 8), (9, 12)]}),
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_version_1_is_still_read(name: str) -> None:
    """Byte by byte as it was written then, it means what it meant then."""
    meant = MESSAGES[name]()
    assert type(meant).from_bytes((GOLDEN / f"{name}.json").read_bytes().strip()) == meant


@pytest.mark.parametrize("name", MESSAGES)
def test_version_1_is_written_as_it_always_was(name: str) -> None:
    """Readers that run already, and code of others, find every field where it was. A change needs a new version."""
    assert MESSAGES[name]().to_bytes() + b"\n" == (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_from_before_versions_is_version_1(name: str) -> None:
    """[CNV-4] `schema_version` is 1 by default, and a field that did not exist yet has its default."""
    meant = MESSAGES[name]()
    told = json.loads((GOLDEN / f"{name}.json").read_bytes())
    optional = {each for each, field in type(meant).model_fields.items() if not field.is_required()}
    oldest = type(meant).from_bytes(json.dumps({each: told[each] for each in told.keys() - optional}).encode())
    assert oldest.schema_version == 1
    assert all(getattr(oldest, each) == getattr(meant, each) for each in type(meant).model_fields.keys() - optional)


@pytest.mark.parametrize("name", ["retry-headers", "dead-letter-headers", "mark-headers"])
def test_headers_are_written_as_they_always_were(name: str) -> None:
    """Other tools, alerts and older workers read them by their names."""
    assert header_file(written_headers()[name]) == (GOLDEN / f"{name}.json").read_text()


def test_headers_of_version_1_are_still_read() -> None:
    """A retry is due at its time, a dead letter tells its story, a mark names what is done."""
    told = {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in written_headers()}
    stored = {
        name: record(
            None if name == "mark-headers" else b"{}",
            topic="claimx.dlq.events",
            headers=tuple((each, text.encode()) for each, text in one["headers"].items()),
        )
        for name, one in told.items()
    }
    assert due_at_ms(stored["retry-headers"]) == (NOW.timestamp() + 300) * 1_000
    letter = DeadLetter.parse(stored["dead-letter-headers"])
    assert (letter.kind, letter.reason, letter.attempts) == ("enrichment", "not_found", 2)
    assert (letter.original_topic, letter.original_partition, letter.original_offset) == (
        TOPICS.enrichment_pending, 2, 15,
    )  # fmt: skip
    assert (letter.first_failed_at, letter.last_failed_at) == (NOW, NOW)
    assert read_mark(stored["mark-headers"]) == {
        TopicPartition("claimx.dlq.events", 0): [(3, 5)],
        TopicPartition("claimx.dlq.events", 2): [(7, 8), (9, 12)],
    }


# -- a newer version passes through ------------------------------------------------------------------------------------

KNOWN: Final = frozenset(
    name for model in (ClaimXEnrichmentTask, ClaimXDownloadTask, ClaimXCachedDownload) for name in model.model_fields
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
UNKNOWN = st.dictionaries(
    (TEXTS | st.sampled_from(["retried", "to_bytes", "model_fields", "__class__", "self", "cls"])).filter(
        lambda name: name not in KNOWN
    ),
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


def newer(message: WireMessage, more: dict[str, Any]) -> bytes:
    """Return the message as version 2 writes it."""
    return json.dumps({**json.loads(message.to_bytes()), "schema_version": 2, **more}).encode()


def enrichment_retry(value: bytes) -> bytes:
    """Fail, and return what the retry topic holds."""
    route = ENRICHMENT.route(record(value), PASSES, tries=1)
    assert isinstance(route, TryAgain)
    return route.messages[0].value or b""


def enrichment_replay(value: bytes) -> bytes:
    """Fail for good, and return what a replay sends."""
    route = ENRICHMENT.route(record(value), FAILS, tries=1)
    assert isinstance(route, SetAside)
    letter = DeadLetter.parse(delivered(route.messages[0]))
    assert letter.record.value == value
    return sent_back(DeadLetterKind.ENRICHMENT, letter, TOPICS).value or b""


def download_retry(value: bytes) -> bytes:
    """Fail, and return what the retry topic holds."""
    route = DOWNLOADS.route(record(value), PASSES, tries=1)
    assert isinstance(route, TryAgain)
    return route.messages[0].value or b""


def download_refresh(value: bytes) -> bytes:
    """Fail with a fresh link, as the downloader does it."""
    task = ClaimXDownloadTask.from_bytes(value).refreshed(download_url=LINK, expires_at=None)
    route = DOWNLOADS.route(
        record(value),
        Retry(category=Category.TRANSIENT, error_class="E", error_text="e", value=task.to_bytes()),
        tries=1,
    )
    assert isinstance(route, TryAgain)
    return route.messages[0].value or b""


def download_replay(value: bytes) -> bytes:
    """Fail for good, and return what a replay sends."""
    route = DOWNLOADS.route(record(value), FAILS, tries=1)
    assert isinstance(route, SetAside)
    letter = DeadLetter.parse(delivered(route.messages[0]))
    assert letter.record.value == value
    return sent_back(DeadLetterKind.DOWNLOADS, letter, TOPICS).value or b""


def through_the_cache(value: bytes) -> bytes:
    """Go into the cache, get lost there, and come back by the retry of the upload."""
    cached = ClaimXDownloadTask.from_bytes(value).cached(
        local_cache_path="a/b", content_sha256="ab", bytes_downloaded=1, downloaded_at=NOW, content_type=None
    )
    stored = cached.to_bytes()
    assert ClaimXCachedDownload.from_bytes(stored).unknown_fields == cached.unknown_fields
    assert ClaimXDownloadTask.from_bytes(stored) == cached.download_task()
    return download_retry(stored)


ENRICHMENT_WAYS = (enrichment_retry, enrichment_replay)
DOWNLOAD_WAYS = (download_retry, download_refresh, download_replay, through_the_cache)


def retries_in(ways: list[Callable[[bytes], bytes]]) -> int:
    """Return the most retries in a row, which a replay begins anew."""
    most = run = 0
    for way in ways:
        run = 0 if way in {enrichment_replay, download_replay} else run + 1
        most = max(most, run)
    return most


@settings(deadline=None, max_examples=150)
@example(more={"self": 1, "cls": [], "to_bytes": {}, "__class__": None}, data=None)
@given(more=UNKNOWN, data=st.data())
def test_a_newer_message_is_passed_on_unharmed(more: dict[str, Any], data: st.DataObject | None) -> None:
    """Retries, fresh links, the cache, dead letters and replays by this version, in any order: nothing is lost.

    Its version and every field that only version 2 knows arrive as they were, however it looks, and no field of the
    cache stays behind in a task that is to be downloaded anew. Nothing of it is in a repr.
    """
    for first, ways in ((enrichment_task(), ENRICHMENT_WAYS), (download_task(), DOWNLOAD_WAYS)):
        chosen: list[Any] = list(ways)
        if data is not None:
            chosen = data.draw(st.lists(st.sampled_from(ways), max_size=6))
        if retries_in(chosen) > 3:
            continue
        value = newer(first, more)
        for way in chosen:
            value = way(value)
        arrived = json.loads(value)
        assert {name: arrived[name] for name in arrived.keys() - type(first).model_fields.keys()} == more
        assert arrived["schema_version"] == 2
        read = type(first).from_bytes(value)
        assert read.unknown_fields == more
        assert repr(read) == repr(read.model_validate({name: getattr(read, name) for name in type(read).model_fields}))


def test_what_a_newer_feed_says_of_an_event_reaches_the_lake_and_the_enricher() -> None:
    """The payload is kept whole: in the event's row, and in the task that follows, links without their query."""
    told = json.loads(EVENT) | {"schema_version": 7, "weather": {"gusts": [31.5, 10**30]}}
    event = parse_event(json.dumps(told).encode(), record_timestamp_ms=-1, now=NOW)
    assert event.raw_data == told
    assert ClaimXEnrichmentTask.from_bytes(ClaimXEnrichmentTask.from_event(event, NOW).to_bytes()).raw_data == told
    assert event.event_id == event_message().event_id
