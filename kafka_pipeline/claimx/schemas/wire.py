"""JSON as it travels: fast for what is normal, exact for what is not.

orjson is several times faster than the standard library, but reads an integer beyond 64 bits as a float and refuses
to write one. Ids must keep their digits [CNV-1], so such a document is read and written by the standard library.
Both ways reject what has no place in JSON (NaN, infinities, wrong UTF-8, lone surrogates) and nesting that could not
be written again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Final

import orjson

MAX_DEPTH: Final = 128
"""Deepest nesting that is read. orjson writes at most 254 levels, and messages wrap what is read in one or two more."""

_LONG_DIGITS: Final = re.compile(rb"[0-9]{19}")
"""Nineteen digits in a row: below that, every integer fits into 64 bits."""


class JsonError(ValueError):
    """The bytes are not JSON that can be read exactly. The text never holds any of them."""


def decode(data: bytes) -> object:
    """Return what the JSON document means, integers exact. Raises JsonError."""
    try:
        document: object = orjson.loads(data)
    except ValueError:
        raise JsonError("not JSON") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
        raise JsonError("nested too deeply")
    if _holds_float(document) and _LONG_DIGITS.search(data) is not None:
        try:
            return json.loads(data, parse_float=_finite)
        except (ValueError, RecursionError):
            raise JsonError("a number out of range") from None
    return document


def encode(document: object) -> bytes:
    """Return compact JSON, UTF-8, non-ASCII as it is. Raises JsonError for what is no JSON value.

    What `decode` returned can always be written, and reads back the same.
    """
    try:
        return orjson.dumps(document)
    except TypeError:  # orjson.JSONEncodeError: an integer beyond 64 bits, or something that is no JSON
        try:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            return text.encode()
        except (TypeError, ValueError, RecursionError):
            raise JsonError("not expressible as JSON") from None


def _holds_float(document: object) -> bool:
    """Tell whether there is a float, the only thing that an integer can have been mistaken for. Few events have one."""
    if isinstance(document, dict):
        items: Iterable[object] = document.values()
    elif isinstance(document, list):
        items = document
    else:
        return type(document) is float
    for item in items:
        kind = type(item)
        if kind is float or ((kind is dict or kind is list) and _holds_float(item)):
            return True
    return False


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError("a number out of range")
    return number


def _deeper_than(document: object, limit: int) -> bool:
    level = [document]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
