"""What a file server's answer means ([7.3], [LNK-6], [LNK-7]). Pure decisions on status, headers and a bit of body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kafka_pipeline.common.http.errors import Fault

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ERROR_BODY_LIMIT: Final = 4_096
"""Bytes of an error body that are read, only to tell an expired link from a forbidden one [LNK-7]."""

# Looked up in the text, not parsed: an XML parser would be one more thing to attack.
_EXPIRED_CODE: Final = re.compile(rb"<Code>\s*ExpiredToken\s*</Code>", re.IGNORECASE)
_EXPIRED_MESSAGE: Final = re.compile(rb"<Message>\s*Request has expired\.?\s*</Message>", re.IGNORECASE)
_CONTENT_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.IGNORECASE)
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_HTML_SUFFIXES: Final = frozenset({".html", ".htm", ".xhtml"})


def fault_of_status(status: int, error_body: bytes) -> Fault | None:
    """Return what a final answer's status means, or None for success. The body is read for 400 and 403 only."""
    if 200 <= status < 300:
        return None
    if says_expired(status, error_body):
        return Fault.EXPIRED
    if status >= 500:
        return Fault.SERVER_ERROR
    return _FAULTS.get(status, Fault.REQUEST_REFUSED)


_FAULTS: Final[Mapping[int, Fault]] = {
    401: Fault.UNAUTHORIZED,
    403: Fault.FORBIDDEN,
    404: Fault.NOT_FOUND,
    410: Fault.NOT_FOUND,
    408: Fault.THROTTLED,
    429: Fault.THROTTLED,
}


def says_expired(status: int, error_body: bytes) -> bool:
    """Return whether a storage service says that the link is past its time.

    S3 answers an expired signature with 403 and the message "Request has expired", an expired session of the signer
    with code ExpiredToken, under 400 or 403. Free text elsewhere in the body decides nothing.
    """
    match status:
        case 400:
            return bool(_EXPIRED_CODE.search(error_body))
        case 403:
            return bool(_EXPIRED_CODE.search(error_body) or _EXPIRED_MESSAGE.search(error_body))
        case _:
            return False


def is_page(content_type: str | None, suffix: str) -> bool:
    """Return whether an HTML page came in place of a file (settled point 12): `suffix` is the file's, with its dot."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in _HTML and suffix.lower() not in _HTML_SUFFIXES


def strong_validator(headers: Mapping[str, str]) -> str | None:
    """Return what If-Range can ask for: a strong ETag, else the date of the last change, else nothing."""
    etag = headers.get("ETag", "").strip()
    if etag.startswith('"'):
        return etag
    return headers.get("Last-Modified", "").strip() or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What a 206 holds: bytes from `start`, of `total_bytes` in all if it says so."""

    start: int
    total_bytes: int | None


def continuation(headers: Mapping[str, str]) -> Continuation | None:
    """Read Content-Range; None where it is missing, of another unit, or contradicts itself."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None:
        return None
    start, end = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if end < start or (total is not None and end + 1 != total):
        return None  # we asked for everything to the end
    return Continuation(start=start, total_bytes=total)
