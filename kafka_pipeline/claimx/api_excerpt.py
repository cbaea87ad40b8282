"""What an unusable body of the ClaimX API looks like, in words that hold nothing of it (I10, [SEC-10]).

An operator wants to know whether a proxy answered with its error page, the service with its login, or half of a list
came through. The form tells that; values, names and free text do not leave the body. Pure.

    b'{"error": {"message": "Pat Sample is ..."}, "x1": 5}'   ->   'JSON object with error, 1 other field (48 bytes)'
    b'<html><body><form ...><input type="password"'           ->   'HTML with a sign-in form (48 bytes)'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kafka_pipeline.claimx.schemas import wire

LIMIT: Final = 4_096
"""Bytes of a body that are looked at."""

_WORDS: Final = frozenset(
    {
        "code",
        "data",
        "description",
        "detail",
        "details",
        "error",
        "errorcode",
        "errordescription",
        "errormessage",
        "errors",
        "fault",
        "message",
        "msg",
        "path",
        "project",
        "reason",
        "requestid",
        "stacktrace",
        "status",
        "statuscode",
        "success",
        "timestamp",
        "title",
        "type",
    }
)
"""Field names of error answers in general: a field that is none of these is counted, not named."""

_PASSWORD: Final = re.compile(rb"type\s*=\s*[\"']?password", re.IGNORECASE)


def excerpt(body: bytes) -> str:
    """Describe a body by its form. `body` may be the first `LIMIT` bytes of a longer one."""
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    size = f"({len(body)} bytes)" if len(body) < LIMIT else f"({LIMIT} bytes or more)"
    if not text:
        return "an empty body"
    if text[:1] == b"<":
        if text[:5].lower() == b"<?xml":
            return f"XML {size}"
        return f"HTML with a sign-in form {size}" if _PASSWORD.search(text) else f"HTML {size}"
    try:
        decoded = wire.decode(text)
    except wire.JsonError:
        begun = "that begins like JSON " if text[:1] in {b"{", b"["} else ""
        return f"text {begun}{size}"
    if isinstance(decoded, dict):
        return f"JSON object{_fields(list(decoded))} {size}"
    return f"JSON {'list' if isinstance(decoded, list) else 'value'} {size}"


def _fields(names: Sequence[str]) -> str:
    plain = {name: re.sub(r"[^a-z]", "", name.lower()) for name in names}
    known = sorted({word for word in plain.values() if word in _WORDS})
    others = sum(word not in _WORDS for word in plain.values())
    told = [*known, *([f"{others} other field{'s' if others > 1 else ''}"] if others else [])]
    return f" with {', '.join(told)}" if told else ""
