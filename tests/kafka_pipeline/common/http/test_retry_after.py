"""Promises of reading Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kafka_pipeline.common.http.retry_after import retry_after_seconds

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", None),
        (" 7 ", 7.0),
        ("9" * 5000, 86_400.0),
        ("Mon, 02 Mar 2026 13:00:00 GMT", None),
        ("Mon, 02 Mar 2026 14:01:00 -0000", 60.0),
        ("Mon, 99 Mar 2026 14:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_or_ignored_never_raised(header: str | None, seconds: float | None) -> None:
    """Whatever the header holds is seconds or nothing."""
    assert retry_after_seconds(header, NOW) == seconds
