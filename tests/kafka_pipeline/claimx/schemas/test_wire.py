"""JSON as it travels: exact, and refused where it could not be."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.schemas.wire import MAX_DEPTH, JsonError, decode, encode

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**60), max_value=10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


def nested(depth: int) -> object:
    """Return lists in lists, so many deep."""
    document: object = 0
    for _ in range(depth):
        document = [document]
    return document


@settings(deadline=None, max_examples=300)
@given(document=DOCUMENTS)
def test_any_document_comes_back_exactly(document: object) -> None:
    """Integers of any length, floats, text: equal in value and type."""
    assert repr(document) == repr(decode(encode(document)))


@settings(deadline=None, max_examples=300)
@given(document=DOCUMENTS)
def test_what_is_written_is_compact_json(document: object) -> None:
    """Separators without spaces, non-ASCII as it is [EID-2]; the standard library reads the same."""
    assert repr(document) == repr(json.loads(encode(document)))


@settings(deadline=None, max_examples=300)
@given(
    data=st.binary(max_size=60)
    | st.text(st.sampled_from('[]{}",:0123456789eE.-+tfnul \\ud8'), max_size=40).map(str.encode)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """One error, whatever is wrong."""
    try:
        document = decode(data)
    except JsonError:
        return
    assert repr(json.loads(data)) == repr(document)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"NaN", b"-Infinity", b"[Infinity]", b"1e400", b'"\xff"', b'"\\ud800"', b"[1,]", b"{1:2}",
        b"\xef\xbb\xbf{}", b"[1.5,9999999999999999999999,1e400]", b"[" * 50 + b"9" * 5000 + b"]" * 50,
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(data: bytes) -> None:
    """NaN and infinities, wrong UTF-8, half surrogates, a mark at the start, numbers nobody can hold."""
    with pytest.raises(JsonError):
        decode(data)


def test_nesting_has_a_limit() -> None:
    """As deep as the limit passes; one deeper does not, nor a bomb; both with and without long numbers."""
    for leaf in (b"0", b"123456789012345678901234567890"):
        decode(b"[" * MAX_DEPTH + leaf + b"]" * MAX_DEPTH)
        with pytest.raises(JsonError):
            decode(b"[" * (MAX_DEPTH + 1) + leaf + b"]" * (MAX_DEPTH + 1))
    for bomb in (b"[" * 1_000_000, b'{"a":' * 1_000_000, b"[" * 1000 + b"]" * 1000):
        with pytest.raises(JsonError):
            decode(bomb)


def test_width_has_no_limit() -> None:
    """Many containers side by side are no nesting."""
    assert len(decode(b"[" + b"[]," * 5000 + b"[]]")) == 5001  # type: ignore[arg-type]  # a list, as the text shows


@pytest.mark.parametrize("document", [{1, 2}, object(), b"bytes", [2**70, math.inf], {"a": {2**70: object()}}])
def test_what_json_cannot_say_is_refused(document: object) -> None:
    """Never a half-written text."""
    with pytest.raises(JsonError):
        encode(document)
