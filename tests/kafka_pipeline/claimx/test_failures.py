"""Promises of where failed records go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.failures import ClaimXFailureRouter
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.runtime.outcomes import Dead, Retry
from kafka_pipeline.config import PipelineConfig

TOPICS = Topics.from_config(PipelineConfig())
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


def record(topic: str, value: bytes | None) -> Record:
    """Return a record that failed."""
    return Record(topic=topic, partition=4, offset=11, key=b"k", value=value, timestamp_ms=0)


def letter(message: Message) -> DeadLetter:
    """Read a dead letter as whoever inspects it would."""
    return DeadLetter.parse(
        Record(
            topic=message.topic, partition=0, offset=0, key=message.key, value=message.value, headers=message.headers
        )
    )


@pytest.mark.parametrize(
    ("kind", "topic", "value", "attempts"),
    [
        (DeadLetterKind.EVENTS, TOPICS.events, b"\xff not json", 1),
        (DeadLetterKind.ENRICHMENT, TOPICS.enrichment_pending, ENRICHMENT.to_bytes(), 3),
        (DeadLetterKind.DOWNLOADS, TOPICS.downloads_pending, DOWNLOAD.to_bytes(), 4),
        (DeadLetterKind.ENRICHMENT, TOPICS.enrichment_pending, b"broken", 1),
        (DeadLetterKind.DOWNLOADS, TOPICS.downloads_pending, None, 1),
    ],
)
def test_a_failed_record_is_kept_as_it_was_with_reason_and_place(
    kind: DeadLetterKind, topic: str, value: bytes | None, attempts: int
) -> None:
    """[DLQ-1] Bytes and key unchanged; attempts are those made, where the record can tell."""
    labels = {"kind": kind.value, "reason": "not_found"}
    before = REGISTRY.get_sample_value("dead_letters_total", labels) or 0
    message, *_ = ClaimXFailureRouter(kind=kind, topics=TOPICS).route(record(topic, value), DEAD)
    assert REGISTRY.get_sample_value("dead_letters_total", labels) == before + 1
    read = letter(message)
    assert message.topic == f"claimx.dlq.{kind.value}"
    assert (message.value, message.key) == (value, b"k")
    assert (read.reason, read.attempts) == ("not_found", attempts)
    assert (read.original_topic, read.original_partition, read.original_offset) == (topic, 4, 11)


def test_a_failure_that_may_pass_is_kept_under_its_category() -> None:
    """There are no retry topics yet: nothing disappears."""
    router = ClaimXFailureRouter(kind=DeadLetterKind.ENRICHMENT, topics=TOPICS)
    [message] = router.route(record(TOPICS.enrichment_pending, ENRICHMENT.to_bytes()), RETRY)
    assert letter(message).reason == "transient"


@pytest.mark.parametrize(("outcome", "category"), [(DEAD, "not_found"), (RETRY, "transient")])
def test_the_inventory_is_told_of_a_file_that_failed(outcome: Dead | Retry, category: str) -> None:
    """[MSG-2] With the reason and without the link."""
    router = ClaimXFailureRouter(kind=DeadLetterKind.DOWNLOADS, topics=TOPICS)
    _, told = router.route(record(TOPICS.downloads_pending, DOWNLOAD.to_bytes()), outcome)
    result = ClaimXUploadResult.from_bytes(told.value)
    assert (told.topic, told.key) == (TOPICS.downloads_results, b"71")
    assert (result.media_id, result.status) == ("71", ResultStatus.FAILED_PERMANENT)
    assert (result.error_category, result.error_message) == (category, outcome.error_text)
    assert SECRET.encode() not in (told.value or b"")


@pytest.mark.parametrize(
    ("topic", "value"), [(TOPICS.downloads_pending, b"broken"), (TOPICS.downloads_results, DOWNLOAD.to_bytes())]
)
def test_the_inventory_is_told_nothing_that_nobody_knows(topic: str, value: bytes) -> None:
    """A value that cannot be read names no file; a result that failed must not make another result."""
    router = ClaimXFailureRouter(kind=DeadLetterKind.DOWNLOADS, topics=TOPICS)
    assert len(router.route(record(topic, value), DEAD)) == 1
