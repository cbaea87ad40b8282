"""What hostile or broken senders send: strategies that spoil what is sound, and what must never be seen again.

`FUZZ=50 make test ARGS="tests/kafka_pipeline/fuzz"` looks fifty times as long. What is found becomes an `@example` of
its test: that is the corpus.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES: Final = int(os.environ.get("FUZZ", "1"))

CANARY: Final = "CANARY5550199hunter2"
"""Stands for a secret and for personal data: it is in every spoiled value that may hold text."""

LINK: Final = f"https://files.example.com/{CANARY}.jpg?X-Amz-Signature={CANARY}"


def often(examples: int) -> settings:
    """Return how often a test looks, in a quick run and in a long one."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(deadline=None, max_examples=examples * TIMES, suppress_health_check=slow)


_TEXTS: Final = (
    *("", " ", "\x00", "\u0000a", "\ufeff", "\u202e\u2066", "\r\nX-Injected: 1", "a" * 300, "%", "%2e%2e%2f", ".."),
    *(".", "../../etc/passwd", "..\\..\\boot.ini", "/", "\\", "CON", "nul.txt", "-1", "0", "00", "1e3", "1.0", "NaN"),
    *("true", "null", "[]", "{}", "\U0001f600" * 70, "e\u0301", "\u2028", "9" * 400, "0x10", "\uff11\uff12"),
    *("'; DROP TABLE x;--", "2026-02-30", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.9999999+23:59"),
    *("2026-03-02T14:05:10-99:99", "0001-01-01T00:00:00+14:00", "P1D", "1772460310500", "-1772460310500", "9" * 21),
    *("https://", "https:///x", "http://[::1", "https://u:p@h/", "file:///etc/passwd", "https://h:0/", "//h/x"),
    *("https://169.254.169.254/latest/meta-data", "gopher://h/", "data:text/html,x", "javascript:x", "?file=../x"),
)

TEXTS = st.sampled_from(_TEXTS).flatmap(
    lambda text: st.sampled_from([text, f"{CANARY}{text}", f"{text}{CANARY}", LINK + text])
) | st.text(st.characters(codec="utf-8"), max_size=20)
"""Texts that mean something to some parser, file system, terminal or database."""

NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**309, 0.5, -0.0, 1e308, 5e-324])

GARBAGE = [b"\\ud800", b"\xed\xa0\x80", b"[" * 300, b"\x00", b"\xef\xbb\xbf"]

VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""JSON values that stand where they should not."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a document, the document itself first."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """Return the document with something else in one place."""
    if not path:
        return wrong
    head, *rest = path
    if isinstance(value, dict):
        return {**value, head: replaced(value[head], tuple(rest), wrong)}
    return [replaced(part, tuple(rest), wrong) if at == head else part for at, part in enumerate(value)]


@st.composite
def spoiled(draw: st.DrawFn, sound: Any) -> Any:
    """Draw a sound document with up to three places of it spoiled."""
    document = sound
    for _ in range(draw(st.integers(1, 3))):
        document = replaced(document, draw(st.sampled_from(list(places(document)))), draw(VALUES))
    return document


@st.composite
def spoiled_bytes(draw: st.DrawFn, sound: Sequence[Any]) -> bytes | None:
    """Draw what a record may hold: a spoiled document, cut, garbled or stuffed bytes of a sound one, or anything."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.none() | st.binary(max_size=40))
    text = json.dumps(draw(st.sampled_from(sound)), ensure_ascii=False).encode()
    if kind == 1:
        return text[: draw(st.integers(0, len(text)))]
    if kind == 2:
        at = draw(st.integers(0, len(text)))
        return (
            text[:at]
            + draw(st.binary(max_size=4) | st.sampled_from([b"\\ud800", b"\xed\xa0\x80", b"[" * 300]))
            + text[at:]
        )
    return json.dumps(draw(spoiled(json.loads(text))), ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")


_WORDS: Final = (
    *(b"", b" ", b"0", b"-1", b"1", b"999999999999999", b"9999999999999999", b"\xff\xfe", b"\x00", b"1e3", b" 5 "),
    *(b"2026-03-02T14:05:10+00:00", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2026-03-02"),
    *(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"ff-00-00-00", b"0:3-4", b"0:4-3", b"0:"),
    *(b"9" * 5_000, "\uff11\uff12".encode(), "\u00b2".encode(), b"events", b"transient"),
    *(LINK.encode(), f"token={CANARY}".encode()),
)

WORDS = st.sampled_from(_WORDS) | st.binary(max_size=12)
"""What headers may hold."""


def headers(names: Sequence[str]) -> st.SearchStrategy[tuple[tuple[str, bytes], ...]]:
    """Return headers of these names and of others, in any order and number."""
    name = st.sampled_from(list(names)) | st.sampled_from(["", "x", "dlq-", "retry-at "])
    return st.lists(st.tuples(name, WORDS), max_size=12).map(tuple)
