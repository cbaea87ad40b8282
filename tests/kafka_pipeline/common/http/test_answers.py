"""Pure decisions on what a server said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.http.answers import Continuation, continuation, fault_of_status, is_page, strong_validator
from kafka_pipeline.common.http.errors import CATEGORIES, OF_THE_HOST, DownloadError, Fault
from kafka_pipeline.common.http.retry_after import retry_after_seconds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_every_fault_has_a_category() -> None:
    """One table, and it is complete; every fault can be told."""
    assert set(CATEGORIES) == set(Fault)
    assert set(Fault) > OF_THE_HOST
    for fault in Fault:
        error = DownloadError(fault, host="files.example.com", status=500)
        assert error.category is CATEGORIES[fault]
        assert "https://files.example.com/<redacted>" in str(error)


@settings(deadline=None, max_examples=200)
@given(st.integers(200, 999), st.binary(max_size=100))
def test_every_status_is_decided(status: int, body: bytes) -> None:
    """Success is 2xx and nothing else."""
    assert (fault_of_status(status, body) is None) is (status < 300)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 3-5/6", Continuation(start=3, total_bytes=6)),
        ("bytes 3-5/*", Continuation(start=3, total_bytes=None)),
        ("bytes 3-4/6", None),
        ("bytes 5-3/6", None),
        ("items 3-5/6", None),
        ("bytes */6", None),
        ("", None),
        ("bytes 99999999999999999999-1/2", None),
    ],
)
def test_a_part_must_reach_to_the_end(value: str, expected: Continuation | None) -> None:
    """Anything else was not asked for."""
    assert continuation({"Content-Range": value}) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ETag": '"a"', "Last-Modified": "x"}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": "x"}, "x"),
        ({"ETag": 'W/"a"'}, None),
        ({}, None),
    ],
)
def test_only_a_strong_etag_or_a_date_can_be_asked_for(headers: dict[str, str], expected: str | None) -> None:
    """If-Range with a weak ETag would always be refused."""
    assert strong_validator(headers) == expected


@pytest.mark.parametrize(
    ("content_type", "suffix", "page"),
    [
        ("TEXT/HTML", ".jpg", True),
        ("text/html;charset=x", "", True),
        ("text/html", ".HTM", False),
        (None, ".jpg", False),
    ],
)
def test_a_page_is_told_by_its_type(content_type: str | None, suffix: str, page: bool) -> None:  # noqa: FBT001
    """Octet-streams and missing types are files [SEC-6]."""
    assert is_page(content_type, suffix) is page
    assert not is_page("application/octet-stream", suffix)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", None),
        ("-5", None),
        ("12", 12.0),
        (" 12 ", 12.0),
        ("999999999999999999", 86_400.0),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 11:59:00 GMT", None),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60.0),
        ("Wed, 01 Mar 2028 12:01:00 GMT", 86_400.0),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds or a date; nothing, the past and garbage are no wish."""
    assert retry_after_seconds(value, NOW) == seconds


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=30))
def test_any_retry_after_is_read(value: str) -> None:
    """Whatever a server writes there."""
    assert 0.0 < (retry_after_seconds(value, NOW) or 1.0) <= 86_400.0
