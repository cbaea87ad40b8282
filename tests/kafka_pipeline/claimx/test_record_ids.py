"""A failed record is found by its ids, and nothing else of it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.claimx.record_ids import described, ids_of
from kafka_pipeline.common.messaging import Record

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def record(value: object, *headers: tuple[str, bytes]) -> Record:
    """Make a record with this document, or these bytes, as its value."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic="t", partition=1, offset=2, key=None, value=data, headers=headers)


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (
            {"eventType": "PROJECT_FILE_ADDED", "projectId": 4711, "mediaId": "71", "eventId": "e-1"},
            {"event_id": "e-1", "event_type": "PROJECT_FILE_ADDED", "project_id": "4711", "media_id": "71"},
        ),
        ({"source_event_id": "e-2", "media_id": "71", "file_name": "x"}, {"event_id": "e-2", "media_id": "71"}),
        ({"project_id": "Ann Example", "event_id": "Ann", "media_id": True, "event_type": "OTHER"}, {}),
        ({"project_id": {"a": 1}, "media_id": [7]}, {}),
        ([1, 2], {}),
        (b"\xff not JSON", {}),
        (b"", {}),
        (b'{"media_id": 1, "x": "' + b"x" * 70_000 + b'"}', {}),
    ],
)
def test_only_ids_are_told(value: object, ids: dict[str, str]) -> None:
    """In every spelling of events, tasks and results; what does not look like an id stays untold."""
    assert ids_of(record(value)) == ids


def test_a_line_about_a_record_names_its_place_its_trace_and_its_ids() -> None:
    """Whoever reads the line finds the record, and everything else about its event."""
    assert described(record({"project_id": "5"}, ("traceparent", TRACE))) == {
        "topic": "t",
        "partition": 1,
        "offset": 2,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "project_id": "5",
    }


@pytest.mark.parametrize("header", [b"", b"00", b"00-short-span-01", b"00-" + b"/" * 32 + b"-x-01", b"\xff" * 40])
def test_an_unreadable_trace_is_not_told(header: bytes) -> None:
    """Anybody may have written it."""
    assert "trace_id" not in described(record({}, ("traceparent", header)))


_VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@given(
    st.dictionaries(st.sampled_from(["event_id", "eventId", "projectId", "media_id", "event_type"]), _VALUES)
    | st.binary(max_size=50)
)
def test_no_value_breaks_the_line_about_it(value: Any) -> None:
    """Whatever failed: what is told of it is short and plain."""
    for text in ids_of(record(value)).values():
        assert text.isascii()
        assert len(text) <= 64
        assert text.replace("-", "").replace("_", "").isalnum()
