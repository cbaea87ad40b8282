"""Where a letter goes back to, with which value, and what of it a filter can ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.dlq import options
from kafka_pipeline.claimx.dlq.letters import facts, home, letter_id, require_valid, sent_back
from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.deadletter.selection import Selection
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Headers, Record
from kafka_pipeline.config import PipelineConfig

NOW = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
TOPICS = Topics.from_config(PipelineConfig())
EVENT = (
    b'{"eventType":"PROJECT_FILE_ADDED","projectId":900001,"mediaId":7100001,"IngestionTime":"2026-03-02T14:05:10.5Z"}'
)
DOWNLOAD: dict[str, Any] = {
    "media_id": "7100001",
    "project_id": "900001",
    "download_url": "https://files.example.com/a?sig=CANARY",
    "blob_path": "claimx/900001/7100001/a.jpg",
    "source_event_id": "0195a3c0-0000-8000-8000-000000000001",
    "retry_count": 4,
    "refresh_count": 1,
    "unknown_field": 12345678901234567890123,
}

kinds = st.sampled_from(list(DeadLetterKind))


def letter(value: bytes | None, *headers: tuple[str, bytes], key: bytes | None = b"k") -> DeadLetter:
    """Return a dead letter."""
    pairs: Headers = headers
    record = Record(topic="dlq", partition=2, offset=15, key=key, value=value, headers=pairs, timestamp_ms=0)
    return DeadLetter.parse(record)


@pytest.mark.parametrize(
    ("kind", "original", "target"),
    [
        (DeadLetterKind.EVENTS, "claimx.events.raw", "claimx.events.raw"),
        (DeadLetterKind.ENRICHMENT, "claimx.enrichment.pending", "claimx.enrichment.pending"),
        (DeadLetterKind.DOWNLOADS, "claimx.downloads.pending", "claimx.downloads.pending"),
        (DeadLetterKind.DOWNLOADS, "claimx.downloads.cached", "claimx.downloads.pending"),
        (DeadLetterKind.DOWNLOADS, "claimx.downloads.results", "claimx.downloads.results"),
        (DeadLetterKind.DOWNLOADS, "somebody.elses", "claimx.downloads.pending"),
    ],
)
def test_each_goes_back_to_the_main_topic_of_its_kind(kind: DeadLetterKind, original: str, target: str) -> None:
    """Headers decide between the topics of a kind, and never lead anywhere else [DLQ-3]."""
    assert home(kind, letter(b"{}", ("dlq-original-topic", original.encode())), TOPICS) == target


@pytest.mark.parametrize("kind", [DeadLetterKind.ENRICHMENT, DeadLetterKind.DOWNLOADS])
def test_a_task_goes_back_with_all_its_attempts_before_it(kind: DeadLetterKind) -> None:
    """Both counts are zero; every other field stays, unknown ones and long numbers too; the link stays [LNK-5]."""
    message = sent_back(kind, letter(json.dumps(DOWNLOAD).encode()), TOPICS)
    assert json.loads(message.value or b"") == {**DOWNLOAD, "retry_count": 0, "refresh_count": 0}


@settings(deadline=None, max_examples=100)
@given(
    kind=kinds, value=st.none() | st.binary(max_size=40) | st.sampled_from([b"[]", b"1", b'{"retry_count": 0}', EVENT])
)
def test_what_needs_no_change_or_cannot_be_read_is_sent_unchanged(kind: DeadLetterKind, value: bytes | None) -> None:
    """The same bytes [DLQ-3]."""
    assert sent_back(kind, letter(value), TOPICS).value == value


def test_an_event_and_a_result_are_sent_unchanged() -> None:
    """They count no attempts of their own."""
    value = json.dumps(DOWNLOAD).encode()
    result = letter(value, ("dlq-original-topic", b"claimx.downloads.results"))
    assert sent_back(DeadLetterKind.DOWNLOADS, result, TOPICS).value == value
    assert sent_back(DeadLetterKind.EVENTS, letter(value), TOPICS).value == value


def test_filters_find_an_event_by_everything_it_is_about() -> None:
    """Also by the id that it has in the lake, and by the name that inspect shows."""
    event_id = parse_event(EVENT, record_timestamp_ms=0, now=NOW).event_id
    found = facts(DeadLetterKind.EVENTS, letter(EVENT), NOW)
    assert found == {
        "event_type": {"PROJECT_FILE_ADDED"},
        "project": {"900001"},
        "id": {"7100001", event_id, "events-2-15"},
    }


@settings(deadline=None, max_examples=100)
@given(kind=kinds, value=st.none() | st.binary(max_size=40))
def test_what_cannot_be_read_is_found_by_its_own_name(kind: DeadLetterKind, value: bytes | None) -> None:
    """Whatever the bytes are."""
    each = letter(value)
    assert letter_id(kind, each) in facts(kind, each, NOW)["id"]


def chosen(each: DeadLetter, **filters: Any) -> bool:
    """Tell whether filters choose a letter."""
    nothing: dict[str, Any] = dict.fromkeys(("reasons", "event_types", "projects", "ids", "since"))
    selection = options.selection(**{**nothing, **filters})
    return selection.covers(each, lambda: facts(DeadLetterKind.DOWNLOADS, each, NOW))


def test_every_filter_must_hold_and_one_of_its_values_is_enough() -> None:
    """As people mean it: this reason or that, and of this project."""
    headers = (("dlq-reason", b"auth"), ("dlq-last-failed-at", b"2026-03-03T10:00:00+00:00"))
    each = letter(json.dumps(DOWNLOAD).encode(), *headers)
    assert chosen(each)
    assert chosen(each, reasons=["auth", "permanent"], projects=["900001"], ids=["7100001"])
    assert chosen(each, ids=["downloads-2-15"])
    assert chosen(each, since=NOW - timedelta(hours=2))
    assert not chosen(each, since=NOW - timedelta(hours=1))
    assert not chosen(each, reasons=["auth"], projects=["900002"])
    assert not chosen(each, event_types=["PROJECT_CREATED"])
    assert Selection().everything
    assert not options.selection(reasons=["auth"], event_types=None, projects=None, ids=None, since=None).everything


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        (" 2 h ", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T12:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    ],
)
def test_since_takes_spans_and_times(text: str, time: datetime) -> None:
    """What people write."""
    assert options.since(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "-3d", "999999w", "2026-13-01", "٣d"])
def test_since_refuses_what_is_neither(text: str) -> None:
    """With a sentence that says what is understood."""
    with pytest.raises(ValueError, match=r"takes a span such as|before all times"):
        options.since(text, NOW)


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (DeadLetterKind.EVENTS, {"eventType": "PROJECT_CREATED"}, "project_id"),
        (DeadLetterKind.ENRICHMENT, {"event_id": "1", "event_type": "x"}, "project_id"),
        (DeadLetterKind.DOWNLOADS, {**DOWNLOAD, "download_url": ""}, "download_url"),
    ],
)
def test_a_changed_value_is_held_against_the_schema_of_its_kind(
    kind: DeadLetterKind, value: dict[str, Any], field: str
) -> None:
    """The refusal names the field, never what it holds."""
    with pytest.raises(PipelineError, match=field):
        require_valid(kind, letter(b"{"), json.dumps(value).encode(), topics=TOPICS, now=NOW)


def test_a_changed_value_that_fits_is_taken() -> None:
    """For each kind, and for a result among the downloads."""
    result = {
        "media_id": "1",
        "project_id": "2",
        "blob_path": "p",
        "status": "completed",
        "created_at": "2026-03-02T14:05:10Z",
    }
    from_results = letter(b"", ("dlq-original-topic", b"claimx.downloads.results"))
    require_valid(DeadLetterKind.EVENTS, letter(b""), EVENT, topics=TOPICS, now=NOW)
    require_valid(DeadLetterKind.DOWNLOADS, letter(b""), json.dumps(DOWNLOAD).encode(), topics=TOPICS, now=NOW)
    require_valid(DeadLetterKind.DOWNLOADS, from_results, json.dumps(result).encode(), topics=TOPICS, now=NOW)
