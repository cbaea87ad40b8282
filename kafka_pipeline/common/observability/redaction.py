"""Takes secrets and personal data out of text before anyone can read it (I10, [SEC-7], [SEC-9], [SEC-10]).

Pure and total: any string goes in, a string comes out, in time linear in its length. Where a text is ambiguous it takes
too much rather than too little: a lost word costs an operator a second, a leaked link costs a policyholder.

What it cannot know are names and addresses of people in free text. They are kept out at the source: nobody logs a
payload, a body or a file name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydantic_core import ValidationError

REDACTED: Final = "<redacted>"
EMAIL: Final = "<email>"

ERROR_TEXT_LIMIT: Final = 500
"""Characters of an error text that messages, tables and dead letters keep."""
_SCAN_LIMIT: Final = 16_384
"""Characters of an exception's text that are looked at; beyond, nobody reads it, and a body could be megabytes."""

_EXACT: Final = frozenset(
    {
        *("key", "sig", "se", "sp", "sv", "sr", "skoid", "sktid", "ske", "sks", "skt", "skv"),
        *("linkcode", "pwd", "sas", "bearer", "cookie", "setcookie", "keypairid", "awsaccesskeyid", "googleaccessid"),
    }
)
"""Names that are secret as a whole ([SEC-9] and their kin), without separators, in lower case."""

_ENDINGS: Final = (
    *("token", "tokens", "password", "passwords", "passwd", "passphrase", "secret", "secrets"),
    *("signature", "credential", "credentials", "authorization", "connectionstring"),
    *("apikey", "accesskey", "accountkey", "privatekey", "secretkey", "sharedkey", "subscriptionkey", "functionskey"),
)
"""Words that make a name secret wherever they end it: access_token, X-Amz-Signature, SharedAccessKey."""

_WHOLE_LINE: Final = ("authorization", "cookie")
"""Headers whose value may hold blanks, so that only the end of the line ends it."""

_MARKS_OF_NAMES: Final = (":", "=", ",", ">", "%3", "\\u003")
"""A text without any of these gives no name a value."""

_NAME_LIMIT: Final = 64
"""Characters of a name that are looked at: its end decides."""

_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")

_URL: Final = re.compile(
    r"(?P<scheme>(?<![a-z0-9])[a-z][a-z0-9+.\-]{0,31})(?::(?:\\?/){2}|(?P<encoded>%3a(?:%2f){2}))"
    r"(?P<authority>(?:(?(encoded)(?!%2f|%3f|%23))[^\s\"/?#\\])*+)(?P<rest>(?:[^\s\"\\]|\\(?!\"))*+)",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"(?:[\w.\-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?", re.IGNORECASE)

_SCHEME_VALUE: Final = re.compile(
    r"\b(?P<scheme>bearer|basic)(?P<gap>(?:\s|%20|\+)+)(?!<redacted>)(?P<quote>[\"']?)[^\s\"',;&]++", re.IGNORECASE
)
_FLAG_VALUE: Final = re.compile(r"(?<![\w\-])--(?P<name>[\w\-]++)(?P<gap>\s++)(?!--)\S++")
_JWT: Final = re.compile(r"\beyJ[\w\-]{6,}\.[\w\-]+(?:\.[\w\-]*)?")
_AWS_ID: Final = re.compile(r"\bA[KS]IA[A-Z0-9]{12,}")
_MAIL: Final = re.compile(r"(?<![\w.+\-])[\w.+\-]++(?:'[\w.+\-]++)?+(?:@|%40)[\w\-]++(?:\.[\w\-]++)+")

_NAME: Final = re.compile(
    # The name stands at the start of a run of name characters, or after an escape that hides where it starts.
    r"(?:%[0-9a-f]{2}|\\u[0-9a-f]{4}|\\[nrt]|(?<![\w.\-]))(?P<name>[\w.\-]++)"
    # It is followed by whatever closes it, and by a sign of assignment; or it is the first of a pair; or it is a tag.
    r"(?:(?P<close>[\\\"'\])]{0,6})\s{0,8}(?:[:=]{1,2}>?|%3[da]|\\u003[da])\s{0,8}"
    r"|(?<=[\w.\-])(?P<pair>\\*[\"']\s{0,8},\s{0,8}(?=b?\\*[\"']))"
    r"|(?<=[\w.\-])(?P<tag>>))",
    re.IGNORECASE,
)
_PAIR_START: Final = re.compile(r"[(\[]\s*b?\\*[\"']\Z")

_QUOTED: Final = re.compile(
    r"b?(?:\"(?:[^\"\\]|\\.?)*+\"?|'(?:[^'\\]|\\.?)*+'?|(?P<escapes>\\+)(?P<quote>[\"']).*?(?:(?P=escapes)(?P=quote)|\Z))",
    re.DOTALL,
)
_STRUCTURE: Final = re.compile(r"(?:[\w.]*[\[{(<]).*", re.DOTALL)
_BARE: Final = re.compile(r"[^\s&\"']*+")
_BARE_IN_JSON: Final = re.compile(r"[^\s&\"',}\]]*+")
_LINE: Final = re.compile(r"[^\r\n]*+")
_TAG_TEXT: Final = re.compile(r"[^<]*+")


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name is a secret ([SEC-9]): case, `-`, `_` and `.` make no difference."""
    return _is_secret_name(name[-_NAME_LIMIT:])


@lru_cache(maxsize=2_048)
def _is_secret_name(name: str) -> bool:
    plain = _SEPARATORS.sub("", name.lower())
    return plain.endswith(_ENDINGS) or plain in _EXACT or _last_word(name) in _EXACT


def redact(text: str) -> str:
    """Return the text without links, credentials and e-mail addresses.

    Links keep their host (`https://<host>/<redacted>`), names of secrets stay and lose their value, whether they are
    written as query, as JSON (also JSON within JSON), as header, as pair, as connection string or as XML tag.
    """
    # Each pattern runs only where its marks are: most texts have none, and looking for them costs next to nothing.
    lower = text.lower()
    if "//" in text or "\\/" in text or "%2f" in lower:
        text = _URL.sub(_shown_url, text)
    if any(mark in lower for mark in _MARKS_OF_NAMES):
        text = _without_named_values(text)
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME_VALUE.sub(rf"\g<scheme>\g<gap>{REDACTED}", text)
    if "--" in text:
        text = _FLAG_VALUE.sub(_shown_flag, text)
    if "eyJ" in text:
        text = _JWT.sub(REDACTED, text)
    if "KIA" in text or "SIA" in text:
        text = _AWS_ID.sub(REDACTED, text)
    if "@" in text or "%40" in text:
        text = _MAIL.sub(EMAIL, text)
    return text


def safe_error_text(exc: BaseException, limit: int = ERROR_TEXT_LIMIT) -> str:
    """Tell an exception in at most `limit` characters that are safe to log and to store; never raises, never empty.

    Of a validation error the fields and kinds of fault are told, not the input; of a file error not the path.
    """
    try:
        text = _told(exc)
    except Exception:  # noqa: BLE001 - a broken __str__ must not break the place that reports it
        text = ""
    return shortened(redact(_scannable(text)).strip() or type(exc).__name__, limit)


def shortened(text: str, limit: int) -> str:
    """Return the text in at most `limit` characters, the cut marked."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"[:limit]


def _told(exc: BaseException) -> str:
    if isinstance(exc, ValidationError):
        faults = exc.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['type']}" for fault in faults[:10])
        return f"{exc.error_count()} invalid: {told}"
    if isinstance(exc, OSError) and exc.filename is not None and exc.strerror:
        return f"[Errno {exc.errno}] {exc.strerror}"
    return str(exc)


def _scannable(text: str) -> str:
    """Cut a long text where a blank is, so that no half of a secret is left at the cut, no longer recognisable."""
    if len(text) <= _SCAN_LIMIT:
        return text
    head = text[:_SCAN_LIMIT]
    return head[: max(head.rfind(" "), head.rfind("\n"), 0)]


def _shown_url(match: re.Match[str]) -> str:
    host = match["authority"].rpartition("@")[2]
    shown = host if _HOST.fullmatch(host) else REDACTED
    return f"{match['scheme']}://{shown}/{REDACTED}"


def _shown_flag(match: re.Match[str]) -> str:
    return f"--{match['name']}{match['gap']}{REDACTED}" if is_secret_name(match["name"]) else match[0]


def _without_named_values(text: str) -> str:
    parts: list[str] = []
    done = 0
    position = 0
    while found := _NAME.search(text, position):
        position = found.end()
        name = found["name"]
        if found["pair"] and not _PAIR_START.search(text, max(found.start("name") - 16, 0), found.start("name")):
            continue
        if found["tag"] and text[found.start("name") - 1 : found.start("name")] != "<":
            continue
        if not is_secret_name(name):
            continue
        inner = _NAME.match(text, position) if text[position - 1].isspace() else None
        if inner and is_secret_name(inner["name"]):
            continue  # "bad secret: token: abc" is about the token
        value_end = _value_end(text, position, found)
        parts += (text[done:position], REDACTED)
        done = position = max(value_end, position)
    return "".join((*parts, text[done:])) if parts else text


def _value_end(text: str, start: int, found: re.Match[str]) -> int:
    """Return where the value ends that starts at `start`."""
    if text.startswith(REDACTED, start):
        return start + len(REDACTED)
    if found["tag"]:
        return _end(_TAG_TEXT, text, start)
    if quoted := _QUOTED.match(text, start):
        return quoted.end()
    if _SEPARATORS.sub("", found["name"].lower()).endswith(_WHOLE_LINE):
        return _end(_LINE, text, start)
    if whole := _STRUCTURE.match(text, start) or _SCHEME_VALUE.match(text, start):
        return whole.end()
    return _end(_BARE_IN_JSON if found["close"] else _BARE, text, start)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _last_word(name: str) -> str:
    """Return the last of the words of a dotted or bracketed name: `query.sig` is about `sig`."""
    return name.lower().rpartition(".")[2]
