"""Nothing personal and no link that opens anything is shown unless somebody asks for it [DLQ-2, SEC-7, SEC-10]."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.dlq.masking import HIDDEN_FIELDS, MASKED, masked, masked_key, revealed

PLANTED = [
    *("Jane Example", "jane.example@example.com", "+1 (555) 010-0199", "12 Sample Street", "Exampletown"),
    *("hunter2hunter2", "PÖLICYHOLDER", "Bearer eyJhbGciOi.CANARY", "CN-CANARY-1", "1970-01-01 Jane"),
]
NAMES = [
    *("event_id", "eventType", "event_type", "project_id", "projectId", "mediaID", "mediaIds", "media_ids"),
    *("blob_path", "download_url", "downloadUrl", "url", "file_name", "fileName", "file_type", "raw_data", "rawData"),
    *("status", "retry_count", "expires_at", "IngestionTime", "content_sha256", "content_type", "local_cache_path"),
    *("error_message", "error_category", "customerInformation", "firstName", "emails", "phoneNumber", "street1"),
    *("recordingUrls", "note", "masterFileName", "task_assignment_id", "video_collaboration_id", "source_event_id"),
]

planted = st.sampled_from(PLANTED)
texts = planted.flatmap(
    lambda text: st.sampled_from(
        [
            *(text, f" {text} ", f"900001 {text}", f"claimx/900001/7100001/{text}", f"claimx/{text}/1/a.jpg"),
            *(f"https://files.example.com/{text}?X-Amz-Signature={text}#{text}", f"https://{text}/a"),
            *(f"https://u:{text}@files.example.com/", f"see https://files.example.com/{text}", f"{text}.jpg"),
            *(f"2026-03-02T14:05:10{text}", json.dumps({"a": text})),
        ]
    )
)
scalars = st.none() | st.booleans() | st.integers() | texts
names = st.sampled_from(NAMES) | texts
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5), max_leaves=20
)


@settings(deadline=None, max_examples=600)
@given(document=st.dictionaries(names, documents, max_size=8) | documents)
def test_what_was_planted_anywhere_never_survives(document: Any) -> None:
    """Whatever the field, however deep, as value, as part of one, or as name."""
    shown = json.dumps(masked(json.dumps(document).encode()), ensure_ascii=False)
    assert [text for text in PLANTED if text in shown] == []


@settings(deadline=None, max_examples=100)
@given(value=st.binary(max_size=60))
def test_of_bytes_that_are_no_json_the_size_is_shown_and_why(value: bytes) -> None:
    """Any bytes can be looked at; nothing of them is shown."""
    shown = masked(value)
    if isinstance(shown, dict) and "hint" in shown:
        assert shown == {"bytes": len(value), "hint": shown["hint"]}
        assert shown["hint"] in {"not JSON", "nested too deeply", "a number out of range"}
    json.dumps(revealed(value))


def test_no_value_is_told_as_that() -> None:
    """A null is a fault of its own."""
    assert masked(None) == {"bytes": 0, "hint": "no value"}
    assert revealed(None) is None


def test_what_an_operator_needs_is_shown() -> None:
    """Ids, counts, times, known words, the host of a link, the folder of a path; of the rest its place."""
    task = {
        "event_id": "0195a3c0-0000-8000-8000-000000000001",
        "event_type": "PROJECT_FILE_ADDED",
        "project_id": "900001",
        "media_ids": ["7100001", 7100002],
        "retry_count": 4,
        "expires_at": "2026-03-02T14:05:10.5Z",
        "download_url": "https://files.example.com/a.jpg?X-Amz-Signature=CANARY",
        "blob_path": "claimx/900001/7100001/roof of Jane.jpg",
        "file_name": "roof of Jane.jpg",
        "file_type": "jpg",
        "raw_data": {
            "eventType": "PROJECT_FILE_ADDED",
            "projectId": 900001,
            "customerInformation": {"firstName": "Jane"},
        },
    }
    assert masked(json.dumps({**task, "noteOfJane": None}).encode()) == {
        **task,
        "download_url": "https://files.example.com/<redacted>",
        "blob_path": f"claimx/900001/7100001/{MASKED}",
        "file_name": MASKED,
        "raw_data": {
            "eventType": "PROJECT_FILE_ADDED",
            "projectId": 900001,
            "customerInformation": {"firstName": MASKED},
        },
        HIDDEN_FIELDS: 1,
    }


@pytest.mark.parametrize(
    ("key", "shown"),
    [(None, None), (b"900001", "900001"), (b"Jane Example", MASKED), (b"\xff", MASKED), (b"", MASKED)],
)
def test_a_key_is_shown_if_it_is_an_id(key: bytes | None, shown: str | None) -> None:
    """The key of a raw event may be anything."""
    assert masked_key(key) == shown


def test_a_long_list_is_cut() -> None:
    """Twenty thousand files in one event fill no terminal."""
    shown = masked(json.dumps({"media_ids": list(range(20_000))}).encode())
    assert isinstance(shown, dict)
    assert len(shown["media_ids"]) == 21
    assert shown["media_ids"][-1] == "<more items>: 19980"
