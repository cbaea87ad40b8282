"""Whatever stands in a topic is read or refused by one error, and nothing of it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kafka_pipeline.claimx.dlq.letters import facts, require_valid, sent_back
from kafka_pipeline.claimx.dlq.masking import masked
from kafka_pipeline.claimx.record_ids import described
from kafka_pipeline.claimx.retry.download_handler import DownloadRetryHandler
from kafka_pipeline.claimx.retry.enrichment_handler import EnrichmentRetryHandler
from kafka_pipeline.claimx.schemas.events import MalformedEventError, parse_event
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.schemas.types import MalformedTaskError, WireMessage
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.claimx.workers.result_processor import inventory_row
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.outcomes import Retry
from kafka_pipeline.config import PipelineConfig
from tests.kafka_pipeline.fuzz.hostile import CANARY, WORDS, headers, often, spoiled_bytes

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TOPICS = Topics.from_config(PipelineConfig())
GOLDEN: Final = Path(__file__).parent.parent / "claimx" / "schemas" / "golden" / "v1"
FAILED = Retry(category=Category.TRANSIENT, error_class="TimeoutError", error_text=f"token={CANARY}")

EVENT: dict[str, Any] = {
    "eventId": None,
    "eventType": "CUSTOM_TASK_COMPLETED",
    "projectId": 900001,
    "mediaIds": [7100001, "7100002"],
    "taskAssignmentId": 8200001,
    "videoCollaborationId": 9300001,
    "masterFileName": "MFN-1",
    "IngestionTime": "2026-03-02T14:05:10.5Z",
    "policyholder": {"email": f"{CANARY}@example.com"},
}
MODELS: dict[type[WireMessage], str] = {
    ClaimXEnrichmentTask: "enrichment-task",
    ClaimXDownloadTask: "download-task",
    ClaimXCachedDownload: "cached-download",
    ClaimXUploadResult: "upload-result",
}
SOUND = {model: json.loads((GOLDEN / f"{name}.json").read_bytes()) for model, name in MODELS.items()}
RETRIES = RetryPolicy(delays_s=(300.0, 600.0, 1200.0, 2400.0))
ROUTERS = (
    EnrichmentRetryHandler(topics=TOPICS, policy=RETRIES),
    DownloadRetryHandler(topics=TOPICS, policy=RETRIES),
)
TOLD = ["dlq-kind", "dlq-reason", "dlq-attempts", "dlq-replays", "dlq-original-topic", "dlq-last-failed-at", "retry-at"]


def record(value: bytes | None, more: Any = (), key: bytes | None = None) -> Record:
    """Return a record."""
    return Record(topic="t", partition=0, offset=7, key=key, value=value, headers=more, timestamp_ms=1_772_460_310_500)


@often(300)
@example(value=b'{"eventType":"X","projectId":1,"x":1e400}', timestamp_ms=0)
@example(value=b'{"eventType":"X","projectId":1,"IngestionTime":1e308}', timestamp_ms=0)
@example(value=b'{"eventType":"X","projectId":1,"$IngestionTime":"0001-01-01T00:00:00+14:00"}', timestamp_ms=2**62)
@given(value=spoiled_bytes([EVENT]), timestamp_ms=st.sampled_from([-1, 0, 1_772_460_310_500, 2**62]))
def test_any_event_is_read_or_malformed(value: bytes | None, timestamp_ms: int) -> None:
    """What is read makes a task that every later worker can read, a line for the log and a picture for people."""
    try:
        event = parse_event(value, record_timestamp_ms=timestamp_ms, now=NOW)
    except MalformedEventError as error:
        assert CANARY not in f"{error} {error!r}"  # noqa: PT017 - many examples raise nothing
    else:
        task = ClaimXEnrichmentTask.from_event(event, NOW)
        assert ClaimXEnrichmentTask.from_bytes(task.to_bytes()) == task
        assert event.raw_data == parse_event(value, record_timestamp_ms=timestamp_ms, now=NOW).raw_data
    described(record(value))
    json.dumps(masked(value))


@often(200)
@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_any_message_is_read_or_malformed(model: type[WireMessage], data: st.DataObject) -> None:
    """What is read can be written, and reads back the same; what is not is told by the name of its field."""
    value = data.draw(spoiled_bytes([SOUND[model]]))
    try:
        message = model.from_bytes(value)
    except MalformedTaskError as error:
        assert CANARY not in f"{error} {error!r}"  # noqa: PT017 - many examples raise nothing
        return
    assert model.from_bytes(message.to_bytes()) == message
    if isinstance(message, ClaimXUploadResult):
        inventory_row(message)


@often(200)
@given(value=spoiled_bytes([EVENT, *SOUND.values()]), more=headers(TOLD), key=st.none() | WORDS)
def test_any_record_that_fails_has_a_place_to_go(value: bytes | None, more: Any, key: bytes | None) -> None:
    """Retry topic or dead letters, whatever its value, key and headers are; its error text holds no secret.

    A dead letter of it can be listed, filtered, shown, checked and sent back.
    """
    failed = record(value, more, key)
    for router in ROUTERS:
        for message in router.route(failed, FAILED, tries=1).messages:  # type: ignore[union-attr]  # neither waits
            assert not any(CANARY.encode() in text for name, text in message.headers if name.endswith("-error-text"))
        [letter] = router.route_without_value(failed, FAILED)
        assert letter.value is None
    read = DeadLetter.parse(failed)
    for kind in DeadLetterKind:
        facts(kind, read, NOW)
        back = sent_back(kind, read, TOPICS)
        assert (back.value is None) == (value is None)
        if value is not None:
            try:
                require_valid(kind, read, value, topics=TOPICS, now=NOW)
            except PipelineError as error:
                assert CANARY not in str(error)  # noqa: PT017 - some examples raise nothing
