"""Promises of where failed records go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.failures import UNFORESEEN_TRIES, InPlaceFailures
from kafka_pipeline.claimx.retry.download_handler import DownloadRetryHandler
from kafka_pipeline.claimx.retry.enrichment_handler import EnrichmentRetryHandler
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.delays import due_at_ms
from kafka_pipeline.common.runtime.outcomes import Dead, Retry, Wait
from kafka_pipeline.common.runtime.processor import FailureRouter, SetAside, TryAgain
from kafka_pipeline.config import PipelineConfig

CONFIG = PipelineConfig()
TOPICS = Topics.from_config(CONFIG)
POLICY = RetryPolicy(delays_s=CONFIG.claimx_retry_delays_seconds)
NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)
DEAD = Dead(reason="not_found", error_class="NotFoundError", error_text="project not found")
RETRY = Retry(category=Category.TRANSIENT, error_class="DownloadError", error_text="HTTP 503")
SECRET = "X-Amz-Signature=feedface"

ENRICHMENT = ClaimXEnrichmentTask(
    event_id="e", event_type="PROJECT_CREATED", project_id="1", retry_count=2, created_at=NOW
)
DOWNLOAD = ClaimXDownloadTask(
    media_id="71",
    project_id="1",
    download_url=f"https://media.s3.example.com/71?{SECRET}",
    blob_path="claimx/1/71/a.jpg",
    retry_count=3,
)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Return the time of day."""
        return NOW

    def monotonic(self) -> float:
        """Return nothing in particular."""
        return 0.0


EVENTS = InPlaceFailures(DeadLetterKind.EVENTS, TOPICS, Noon())
RESULTS = InPlaceFailures(DeadLetterKind.DOWNLOADS, TOPICS, Noon())
ENRICHMENTS = EnrichmentRetryHandler(topics=TOPICS, policy=POLICY, clock=Noon())
DOWNLOADS = DownloadRetryHandler(topics=TOPICS, policy=POLICY, clock=Noon())


def record(topic: str, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    """Return a record that failed."""
    return Record(topic=topic, partition=4, offset=11, key=b"k", value=value, timestamp_ms=0, headers=headers)


def read_back(message: Message) -> Record:
    """Return a message as it is delivered."""
    return Record(
        topic=message.topic, partition=0, offset=0, key=message.key, value=message.value, headers=message.headers
    )


def letter(message: Message) -> DeadLetter:
    """Read a dead letter as whoever inspects it would."""
    return DeadLetter.parse(read_back(message))


@pytest.mark.parametrize(
    ("router", "kind", "topic", "value", "attempts"),
    [
        (EVENTS, DeadLetterKind.EVENTS, TOPICS.events, b"\xff not json", 1),
        (ENRICHMENTS, DeadLetterKind.ENRICHMENT, TOPICS.enrichment_pending, ENRICHMENT.to_bytes(), 3),
        (DOWNLOADS, DeadLetterKind.DOWNLOADS, TOPICS.downloads_pending, DOWNLOAD.to_bytes(), 4),
        (RESULTS, DeadLetterKind.DOWNLOADS, TOPICS.downloads_results, b"broken", 1),
        (ENRICHMENTS, DeadLetterKind.ENRICHMENT, TOPICS.enrichment_pending, b"broken", 1),
        (DOWNLOADS, DeadLetterKind.DOWNLOADS, TOPICS.downloads_pending, None, 1),
    ],
)
def test_a_lasting_failure_is_kept_as_it_was_with_reason_and_place(
    router: FailureRouter, kind: DeadLetterKind, topic: str, value: bytes | None, attempts: int
) -> None:
    """[DLQ-1] Bytes and key unchanged; attempts are those made, where the record can tell."""
    labels = {"kind": kind.value, "reason": "not_found"}
    before = REGISTRY.get_sample_value("dead_letters_total", labels) or 0
    route = router.route(record(topic, value), DEAD, tries=1)
    assert REGISTRY.get_sample_value("dead_letters_total", labels) == before + 1
    assert isinstance(route, SetAside)
    message = route.messages[0]
    read = letter(message)
    assert message.topic == f"claimx.dlq.{kind.value}"
    assert (message.value, message.key) == (value, b"k")
    assert (read.reason, read.attempts) == ("not_found", attempts)
    assert (read.original_topic, read.original_partition, read.original_offset) == (topic, 4, 11)


@pytest.mark.parametrize(("retry_count", "suffix", "delay_s"), [(0, "5m", 300), (1, "10m", 600), (3, "40m", 2400)])
def test_a_failure_that_may_pass_waits_in_the_topic_of_its_attempt(retry_count: int, suffix: str, delay_s: int) -> None:
    """[RTY-1] With one attempt more in the copy; the inventory is told of a file only."""
    task = ENRICHMENT.model_copy(update={"retry_count": retry_count})
    route = ENRICHMENTS.route(record(TOPICS.enrichment_pending, task.to_bytes()), RETRY, tries=1)
    assert isinstance(route, TryAgain)
    [message] = route.messages
    assert message.topic == f"claimx.enrichment.retry.{suffix}"
    assert ClaimXEnrichmentTask.from_bytes(message.value).retry_count == retry_count + 1
    assert due_at_ms(read_back(message)) == int((NOW + timedelta(seconds=delay_s)).timestamp() * 1000)

    file = DOWNLOAD.model_copy(update={"retry_count": retry_count})
    route = DOWNLOADS.route(record(TOPICS.downloads_pending, file.to_bytes()), RETRY, tries=1)
    assert isinstance(route, TryAgain)
    message, told = route.messages
    assert message.topic == f"claimx.downloads.retry.{suffix}"
    assert ClaimXDownloadTask.from_bytes(message.value) == file.retried()
    assert ClaimXUploadResult.from_bytes(told.value).status is ResultStatus.FAILED


@pytest.mark.parametrize("router", [ENRICHMENTS, DOWNLOADS])
def test_the_last_attempt_ends_in_the_dead_letters(router: FailureRouter) -> None:
    """[RTY-1] Under the category of its last failure, with the attempts that were made."""
    task = (ENRICHMENT if router is ENRICHMENTS else DOWNLOAD).model_copy(update={"retry_count": 4})
    route = router.route(record("t", task.to_bytes()), RETRY, tries=1)
    assert isinstance(route, SetAside)
    read = letter(route.messages[0])
    assert (read.reason, read.attempts) == ("transient", 5)


def test_a_refreshed_link_is_what_is_tried_again_and_an_upload_is_a_download_again() -> None:
    """The retry carries what the record became; a dead letter would hold the bytes that were consumed."""
    fresh = DOWNLOAD.refreshed(download_url="https://media.s3.example.com/71?fresh", expires_at=None)
    again = Retry(category=Category.TRANSIENT, error_class="E", error_text="t", value=fresh.to_bytes())
    route = DOWNLOADS.route(record(TOPICS.downloads_pending, DOWNLOAD.to_bytes()), again, tries=1)
    assert isinstance(route, TryAgain)
    assert ClaimXDownloadTask.from_bytes(route.messages[0].value) == fresh.retried()

    upload = DOWNLOAD.cached(
        local_cache_path="claimx/71/x/a.jpg",
        content_sha256="ab",
        bytes_downloaded=3,
        downloaded_at=NOW,
        content_type=None,
    )
    route = DOWNLOADS.route(record(TOPICS.downloads_cached, upload.to_bytes()), RETRY, tries=1)
    assert isinstance(route, TryAgain)
    value = route.messages[0].value or b""
    assert ClaimXDownloadTask.from_bytes(value) == DOWNLOAD.retried()
    assert b"local_cache_path" not in value


@pytest.mark.parametrize("router", [EVENTS, RESULTS])
def test_a_worker_without_retry_topics_tries_again_in_place(router: FailureRouter) -> None:
    """[7.4] However often, for what may pass; what nobody foresaw is believed to be the record's after a while."""
    for tries in (1, 2, 1_000):
        route = router.route(record("t", b"{}"), RETRY, tries=tries)
        assert isinstance(route, Wait)
        assert route.alone
    unforeseen = Retry(category=Category.UNKNOWN, error_class="KeyError", error_text="")
    assert isinstance(router.route(record("t", b"{}"), unforeseen, tries=UNFORESEEN_TRIES - 1), Wait)
    route = router.route(record("t", b"{}"), unforeseen, tries=UNFORESEEN_TRIES)
    assert isinstance(route, SetAside)
    assert letter(route.messages[0]).attempts == UNFORESEEN_TRIES


@pytest.mark.parametrize(("outcome", "category"), [(DEAD, "not_found"), (RETRY, "transient")])
def test_the_inventory_is_told_of_a_file_that_failed_for_good(outcome: Dead | Retry, category: str) -> None:
    """[MSG-2] With the reason and without the link."""
    task = DOWNLOAD.model_copy(update={"retry_count": 4})
    route = DOWNLOADS.route(record(TOPICS.downloads_pending, task.to_bytes()), outcome, tries=1)
    assert isinstance(route, SetAside)
    _, told = route.messages
    result = ClaimXUploadResult.from_bytes(told.value)
    assert (told.topic, told.key) == (TOPICS.downloads_results, b"71")
    assert (result.media_id, result.status) == ("71", ResultStatus.FAILED_PERMANENT)
    assert (result.error_category, result.error_message) == (category, outcome.error_text)
    assert SECRET.encode() not in (told.value or b"")


def test_a_result_that_failed_makes_no_other_result() -> None:
    """It would fail again, and again."""
    route = RESULTS.route(record(TOPICS.downloads_results, DOWNLOAD.to_bytes()), DEAD, tries=1)
    assert isinstance(route, SetAside)
    assert len(route.messages) == 1


@pytest.mark.parametrize("router", [EVENTS, RESULTS, ENRICHMENTS, DOWNLOADS])
def test_what_no_broker_takes_whole_is_still_told_of(router: FailureRouter) -> None:
    """Place, reason and size stay; the value is left out."""
    [message] = router.route_without_value(record("t", b"x" * 10), DEAD)
    assert message.value is None
    assert letter(message).reason == "not_found"
