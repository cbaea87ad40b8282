"""Where a file lies in the lake: a pure function of its ids and a safe form of its name [BLB-1, BLB-2, I5]."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

from kafka_pipeline.claimx.links import query_parameters, without_query
from kafka_pipeline.common.failures import Category, PipelineError

MAX_NAME_BYTES: Final = 255
"""Longest file name, in UTF-8 bytes, that common file systems take."""

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEPARATORS: Final = re.compile(r"[/\\]")
_UNSAFE: Final = frozenset('<>:"/\\|?*%#&')
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}\Z")
_WORD: Final = re.compile(r"[A-Za-z0-9]{1,10}")
_NAME_PARAMETERS: Final = ("filename", "file", "name")
_DEVICE: Final = re.compile(
    r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)", re.IGNORECASE
)
"""What Windows takes for a device, whatever extension follows."""


def is_safe_id(text: str) -> bool:
    """Tell whether an id may be part of a path (section 7.3)."""
    return _SAFE_ID.fullmatch(text) is not None


def blob_path(*, project_id: str, media_id: str, file_name: str) -> str:
    """Return the file's path below `Files/` [BLB-1]. `file_name` is what `safe_file_name` returned.

    Raises PipelineError (permanent) for an id that could lead out of its folder.
    """
    for name, value in (("project_id", project_id), ("media_id", media_id)):
        if not is_safe_id(value):
            raise PipelineError(f"{name} has no form that a path may hold", Category.PERMANENT)
    return f"claimx/{project_id}/{media_id}/{file_name}"


def is_blob_path(path: str, *, project_id: str, media_id: str) -> bool:
    """Tell whether a path is one that `blob_path` gives for these ids, whatever the file's name (I5).

    A task says where its file goes. Whoever can write into a topic must not reach another file by it, nor a table.
    """
    folder, _, file_name = path.rpartition("/")
    is_own_folder = is_safe_id(project_id) and is_safe_id(media_id) and folder == f"claimx/{project_id}/{media_id}"
    return is_own_folder and file_name == safe_file_name(file_name, None)


def safe_file_name(media_name: str | None, file_type: str | None, link: str | None = None) -> str:
    """Return a name that is safe in any path, at most 255 bytes of UTF-8, never empty [BLB-2, settled point 20].

    The steps are those of the rule, in its order, and one more before the last: a name that Windows takes for a device
    (`CON`, `nul.txt`) gets a `_` in front, because readers of the lake may well sit there (issue 4). Applied to its own
    result it changes nothing.
    """
    name = unicodedata.normalize("NFC", _given_name(media_name, link))
    if name.isascii():
        name = name.translate(_SAFE_ASCII)  # what nearly all names are, in a tenth of the time
    else:
        name = "".join("_" if _is_unsafe(character) else character for character in name)
    name = re.sub(r"\s+", " ", name)
    name = re.sub(r"_+", "_", name).strip(". ")
    name = name or "attachment"
    if not _EXTENSION.search(name) and file_type is not None and _WORD.fullmatch(file_type):
        name = f"{name}.{file_type.lower()}"
    if _DEVICE.match(name):
        name = f"_{name}"
    return _shortened(name)


def _given_name(media_name: str | None, link: str | None) -> str:
    """Return the last part of the name that is given, decoded once: steps 1 and 2."""
    if media_name is not None and media_name.strip():
        return _last_part(_decoded(_last_part(media_name)))
    if link is None:
        return ""
    parameters = query_parameters(link, *_NAME_PARAMETERS)
    for parameter in _NAME_PARAMETERS:
        if (value := parameters.get(parameter, "")).strip():
            return _last_part(value)  # reading the query has decoded it
    _, _, path = without_query(link).rpartition("://")
    _, _, segment = path.partition("/")[2].rpartition("/")
    return _last_part(_decoded(_last_part(segment)))


def _decoded(text: str) -> str:
    """Percent-decode once. Bytes that are not UTF-8 become lone surrogates, which step 4 replaces."""
    return unquote(text, errors="surrogateescape")


def _last_part(text: str) -> str:
    return next((part for part in reversed(_SEPARATORS.split(text)) if part), "")


def _is_unsafe(character: str) -> bool:
    return character in _UNSAFE or unicodedata.category(character) in _UNSAFE_CATEGORIES


_SAFE_ASCII: Final = {code: "_" for code in range(128) if _is_unsafe(chr(code))}


def _shortened(name: str) -> str:
    """Cut the stem, on a character boundary, so that name and extension fit: step 8."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    match = _EXTENSION.search(name)
    extension = match.group() if match else ""
    stem = name.removesuffix(extension)
    room = MAX_NAME_BYTES - len(extension)
    return (stem.encode()[:room].decode(errors="ignore") + extension).strip(". ")
