"""Text of any size is looked at in time that grows with its size, not with its square.

Each pattern, repeated to 200,000 characters, is what some regular expression here would go back and forth over if it
were written carelessly: that takes minutes, and the time-out of every test ends it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest

from kafka_pipeline.claimx import links
from kafka_pipeline.claimx.blob_path import safe_file_name
from kafka_pipeline.claimx.coercion import to_datetime, to_email, to_id
from kafka_pipeline.claimx.dlq.masking import masked
from kafka_pipeline.claimx.schemas.wire import JsonError, decode
from kafka_pipeline.common.deadletter.marks import DONE, read_mark
from kafka_pipeline.common.http.guard import parse_link
from kafka_pipeline.common.http.retry_after import retry_after_seconds
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.observability.redaction import redact

CHARACTERS: Final = 200_000
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
PATTERNS: Final = (
    *(
        "a",
        "/",
        "\\",
        '"',
        "'",
        "{",
        "[",
        "(",
        "<a>",
        "a:",
        "a=",
        "%3a",
        "%2f",
        "://",
        "https://a?",
        "eyJa.",
        "a@",
        "@a",
    ),
    *("a.", "--a ", "basic ", "token=", "\\u003d", 'key","', "9", "\u0301", "e\u0301", " ", "\t_", "%25", "_ ", "."),
    *("1:2-3,", "1:2 ", "&a=b", "?#", "a@b-", "AKIA", '\\"token\\":\\"'),
)


def decoded(text: str) -> None:
    """Read it as JSON, or not."""
    try:
        decode(text.encode())
    except JsonError:
        return


def mark(text: str) -> None:
    """Read it as a mark of a replay."""
    headers = ((DONE, text.encode()),)
    read_mark(Record(topic="t", partition=0, offset=0, key=None, value=None, headers=headers))


READERS: Final[dict[str, Callable[[str], object]]] = {
    "redact": redact,
    "parse_link": parse_link,
    "without_queries": links.without_queries,
    "link_expiry": lambda text: links.link_expiry(f"https://h/?{text}", text),
    "shown": links.shown,
    "safe_file_name": lambda text: safe_file_name(text, "jpg"),
    "safe_file_name of a link": lambda text: safe_file_name(None, "jpg", f"https://h/{text}"),
    "masked": lambda text: masked(json.dumps({"download_url": text, "project_id": text, "created_at": text}).encode()),
    "decode": decoded,
    "to_datetime": lambda text: to_datetime(text, "x"),
    "to_id": lambda text: to_id(text, "x"),
    "to_email": lambda text: to_email(text, "x"),
    "retry_after": lambda text: retry_after_seconds(text, NOW),
    "mark": mark,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_huge_text_keeps_nobody_busy(reader: str) -> None:
    """Every reader of foreign text ends, whatever is repeated."""
    for pattern in PATTERNS:
        READERS[reader](pattern * (CHARACTERS // len(pattern)))
