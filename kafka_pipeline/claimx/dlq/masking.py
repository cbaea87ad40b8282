"""What people may see of a value [DLQ-2, SEC-7, SEC-10]: ids, times, counts, the host of a link; of the rest its place.

It works the other way round than redaction of text: nothing is shown but what is known to be harmless, by the name of
its field and by its form. A name, an address or a link in a field that nobody thought of is hidden like any other, and
so is a field whose name nobody knows: names can be data too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from kafka_pipeline.claimx import links
from kafka_pipeline.claimx.dlq.letters import document, plain
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.results import ResultStatus
from kafka_pipeline.claimx.schemas.wire import JsonError
from kafka_pipeline.common.failures import Category

MASKED: Final = "<masked>"
HIDDEN_FIELDS: Final = "<other fields>"
MORE_ITEMS: Final = "<more items>"

_ITEMS: Final = 20
"""Items of one list that are shown."""

_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_HEX_ID: Final = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|[0-9a-f]{64}", re.IGNORECASE
)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9.,]{2,12})?(?:Z|[+-][0-9:]{4,6})?")
_FOLDER: Final = re.compile(r"claimx/[0-9]{1,19}/[0-9]{1,19}/")
_LINK: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_HOST: Final = re.compile(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}")

_WORDS: Final = frozenset(
    {
        *(each.value for kind in (EventType, ResultStatus, Category) for each in kind),
        *("pdf", "jpg", "jpeg", "png", "gif", "heic", "heif", "tif", "tiff", "webp", "mp4", "mov", "doc", "docx"),
        *("xls", "xlsx", "txt", "csv", "json", "xml", "esx"),
    }
)

Shown = object
"""A JSON value that people may see."""


def masked(value: bytes | None) -> Shown:
    """Return what of a value people may see; of one that is no JSON, its size and why."""
    try:
        return _masked(document(value), "")
    except JsonError as problem:
        return {"bytes": len(value or b""), "hint": str(problem)}


def revealed(value: bytes | None) -> Shown:
    """Return the whole value. For those alone who ask for it."""
    try:
        return document(value)
    except JsonError:
        return None if value is None else value.decode("utf-8", "backslashreplace")


def masked_key(key: bytes | None) -> str | None:
    """Return a record's key if it is an id."""
    if key is None:
        return None
    text = key.decode("ascii", "replace")
    return text if _DIGITS.fullmatch(text) or _HEX_ID.fullmatch(text) else MASKED


def _masked(value: object, name: str) -> Shown:
    if value is None:
        return None
    if isinstance(value, dict):
        shown = {key: _masked(item, plain(key)) for key, item in value.items() if plain(key) in _FIELDS}
        hidden = len(value) - len(shown)
        return {**shown, HIDDEN_FIELDS: hidden} if hidden else shown
    if isinstance(value, list):
        items = [_masked(item, name) for item in value[:_ITEMS]]
        return [*items, f"{MORE_ITEMS}: {len(value) - _ITEMS}"] if len(value) > _ITEMS else items
    return _FIELDS.get(name, _nothing)(value)


def _nothing(value: object) -> Shown:
    return MASKED


def _id(value: object) -> Shown:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return MASKED
    text = str(value).strip()
    return value if _DIGITS.fullmatch(text) or _HEX_ID.fullmatch(text) else MASKED


def _number(value: object) -> Shown:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**50 else MASKED


def _time(value: object) -> Shown:
    return value if isinstance(value, str) and _TIME.fullmatch(value.strip()) else MASKED


def _word(value: object) -> Shown:
    return value if isinstance(value, str) and value.strip() in _WORDS else MASKED


def _path(value: object) -> Shown:
    folder = _FOLDER.match(value) if isinstance(value, str) else None
    return f"{folder[0]}{MASKED}" if folder else MASKED


def _link(value: object) -> Shown:
    if not isinstance(value, str) or not _LINK.fullmatch(value.strip()):
        return MASKED
    host = links.host_of(value.strip())
    return links.shown(value.strip()) if host and _HOST.fullmatch(host) else MASKED


_FIELDS: Final[dict[str, Callable[[object], Shown]]] = {
    **dict.fromkeys(("eventid", "sourceeventid", "projectid", "mediaid", "mediaids", "contentsha256"), _id),
    **dict.fromkeys(("taskassignmentid", "videocollaborationid", "taskid", "assignmentid"), _id),
    **dict.fromkeys(("retrycount", "refreshcount", "schemaversion", "bytesdownloaded", "bytesuploaded"), _number),
    **dict.fromkeys(("ingestedat", "ingestiontime", "createdat", "expiresat", "downloadedat"), _time),
    **dict.fromkeys(("eventtype", "status", "errorcategory", "filetype"), _word),
    **dict.fromkeys(("downloadurl", "fulldownloadlink", "url", "recordingurl", "recordingurls", "taskurl"), _link),
    "blobpath": _path,
    **dict.fromkeys(("rawdata", "filename", "masterfilename", "mfn", "localcachepath", "contenttype"), _nothing),
    **dict.fromkeys(("errormessage", "linkcode", "customerinformation", "address", "teammembers"), _nothing),
    **dict.fromkeys(("firstname", "lastname", "email", "emails", "emailaddress", "phone", "phones"), _nothing),
    **dict.fromkeys(("phonenumber", "street1", "street2", "city", "zippostcode", "username"), _nothing),
}
"""Fields whose names are shown, without separators and in lower case, and what of their values is."""
