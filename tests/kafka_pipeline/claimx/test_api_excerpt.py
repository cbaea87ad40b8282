"""Promises of what is told of an unusable body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.claimx.api_excerpt import LIMIT, excerpt


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"<html><title>Bad Gateway</title>", "HTML (32 bytes)"),
        (b'<HTML><input TYPE = "password">', "HTML with a sign-in form (31 bytes)"),
        (b'<?xml version="1.0"?><Error/>', "XML (29 bytes)"),
        (b'{"errorCode": "Pat", "Message": "5550100142"}', "JSON object with errorcode, message (45 bytes)"),
        (b'{"firstName": "Pat"}', "JSON object with 1 other field (20 bytes)"),
        (b"{}", "JSON object (2 bytes)"),
        (b"[1, 2]", "JSON list (6 bytes)"),
        (b'"Pat"', "JSON value (5 bytes)"),
        (b'{"data": [{"mediaID": 71', "text that begins like JSON (24 bytes)"),
        (b"upstream timed out", "text (18 bytes)"),
        (b"x" * LIMIT, f"text ({LIMIT} bytes or more)"),
    ],
)
def test_the_form_is_told(body: bytes, told: str) -> None:
    """Enough to know a proxy from a login and half a list from a whole one."""
    assert excerpt(body) == told


@given(
    secret=st.text(st.characters(categories=["L", "N"]), min_size=9, max_size=30),
    form=st.sampled_from(
        ["{}", '{{"error": "{}"}}', '{{"{}": 1}}', "<html>{}", '["{}"]', '{{"data": {{"message": "{}'],
    ),
)
def test_nothing_of_the_body_is_told(secret: str, form: str) -> None:
    """Neither a value nor the name of a field that is not a common word (I10)."""
    body = form.replace("{}", secret).replace("{{", "{").replace("}}", "}")
    assert secret.lower() not in excerpt(body.encode()).lower()


def test_any_bytes_have_a_form() -> None:
    """Whatever a proxy sends."""
    for body in (b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"[" * 5_000, json.dumps({"a": "\ud83d"}).encode()):
        assert excerpt(body[:LIMIT])
