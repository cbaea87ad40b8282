"""Download links: when they end, and what of them may be kept or shown (`claimx-domain`, sections 6 and 12.2).

A signed link is a credential. Nothing here logs one, and no error text holds one [SEC-7].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import unquote_plus, urlsplit

import structlog

from kafka_pipeline.claimx.coercion import EPOCH, to_datetime

_log = structlog.get_logger(__name__)

T = TypeVar("T")

EXPIRY_MARGIN: Final = timedelta(seconds=60)
"""A link this close to its end is not used any more [LNK-4]; the default of `claimx_url_expiry_margin_seconds`."""

_EXPIRY_PARAMETERS: Final = ("x-amz-date", "x-amz-expires", "systemdate", "expires")
_S3_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_LINK_IN_TEXT: Final = re.compile(r"([a-z][a-z0-9+.-]{0,30}://[^\s?#]*)(?:[?#]\S*)?", re.IGNORECASE)
"""Matches every link, with and without query, so that one pass over any text is enough."""

_MAY_HOLD_LINKS: Final = frozenset({str, dict, list})


def expires_at(link: str) -> datetime | None:
    """Return when the link ends, by what it says itself; None where it says nothing that can be read.

    Two kinds say so: S3 presigned links (X-Amz-Date + X-Amz-Expires seconds) and those of the ClaimX file service
    (systemDate + expires, both in milliseconds). `expires` alone means something else elsewhere [LNK-2]. A value
    that cannot be read is warned of, without the link [LNK-1].
    """
    parameters = query_parameters(link, *_EXPIRY_PARAMETERS)
    try:
        if "x-amz-date" in parameters and "x-amz-expires" in parameters:
            return _s3_time(parameters["x-amz-date"]) + timedelta(seconds=_number(parameters["x-amz-expires"]))
        if "systemdate" in parameters and "expires" in parameters:
            signed_at = EPOCH + timedelta(milliseconds=_number(parameters["systemdate"]))
            return signed_at + timedelta(milliseconds=_number(parameters["expires"]))
    except (ValueError, OverflowError):
        _log.warning("link_expiry_unreadable", host=host_of(link))
    return None


def link_expiry(link: str, item_expires_at: object = None) -> datetime | None:
    """Return when the link ends: by itself, else by the media item's expiresAt, else None for unknown [LNK-1]."""
    return expires_at(link) or to_datetime(item_expires_at, "expiresAt")


def is_expired(ends_at: datetime | None, *, now: datetime, margin: timedelta = EXPIRY_MARGIN) -> bool:
    """Tell whether a link must not be used any more [LNK-4]. One of unknown end is taken as valid [LNK-1]."""
    return ends_at is not None and now >= ends_at - margin


def without_query(link: str) -> str:
    """Return the link without query and fragment, as tables may hold it [SEC-8]."""
    return link.partition("#")[0].partition("?")[0]


def without_queries(value: T) -> T:
    """Return the JSON value with every link in its texts cut before query and fragment [settled point 18].

    The value itself is returned where there is nothing to cut.
    """
    return _cut(value)  # type: ignore[return-value]  # keeps the shape: text stays text, a list a list


def host_of(link: str) -> str | None:
    """Return the link's host, lower-case, without trailing dot; None where it has none."""
    try:
        host = urlsplit(link).hostname
    except ValueError:
        return None
    return host.lower().removesuffix(".") or None if host else None


def shown(link: str) -> str:
    """Return what of a link people may see [SEC-7]."""
    return f"https://{host_of(link) or 'unknown'}/<redacted>"


def query_parameters(link: str, *wanted: str) -> Mapping[str, str]:
    """Return the link's parameters of these names, all lower case, values decoded once; of a repeated name the first.

    Bytes that are not UTF-8 come as lone surrogates.
    """
    query = link.partition("#")[0].partition("?")[2]
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        name = _unquoted(name).lower()
        if name in wanted:
            found.setdefault(name, _unquoted(value))
    return found


def _unquoted(text: str) -> str:
    """Decode a name or value of a query; most have nothing to decode."""
    return unquote_plus(text, errors="surrogateescape") if "%" in text or "+" in text else text


def _s3_time(text: str) -> datetime:
    match = _S3_DATE.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second = map(int, match.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _number(text: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise ValueError("not a number")
    return int(text)


def _cut(value: object) -> object:
    if isinstance(value, str):
        return _LINK_IN_TEXT.sub(r"\1", value) if "://" in value else value
    if isinstance(value, dict):
        changes = {}
        for key, item in value.items():
            if type(item) in _MAY_HOLD_LINKS and (cut := _cut(item)) is not item:
                changes[key] = cut
        return {**value, **changes} if changes else value
    if isinstance(value, list):
        items = [_cut(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
