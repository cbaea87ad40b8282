"""A changed value, from a file, from standard input, or from the editor of whoever sits there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kafka_pipeline.claimx.dlq.desk import RefusedError
from kafka_pipeline.claimx.dlq.letters import document
from kafka_pipeline.claimx.schemas.wire import JsonError

STANDARD_INPUT = "-"


def from_file(name: str) -> bytes:
    """Return what a file holds, or standard input for `-`. Raises RefusedError where it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except OSError as error:
        raise RefusedError(f"{name} cannot be read: {error.strerror}") from None
    return content.strip()


def from_editor(value: bytes | None, environ: Mapping[str, str]) -> bytes:
    """Open the value in $VISUAL or $EDITOR and return it as it was saved.

    It lies in a folder that nobody else can enter, and only for as long as the editor is open. Raises RefusedError
    where there is no editor, where it fails, and where nothing was changed.
    """
    command = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "")
    if not command:
        raise RefusedError("no editor is set: set EDITOR, or give the changed value with --file")
    before = _readable(value)
    with tempfile.TemporaryDirectory(prefix="claimx-dlq-") as folder:
        file = Path(folder) / "value.json"
        file.touch(mode=0o600)
        file.write_bytes(before)
        try:
            ended = subprocess.run([*command, os.fspath(file)], check=False)  # noqa: S603  the user's own editor
        except OSError:
            raise RefusedError("the editor could not be started: check EDITOR") from None
        after = file.read_bytes()
    if ended.returncode:
        raise RefusedError(f"the editor ended with code {ended.returncode}: nothing was sent")
    if after.strip() == before.strip():
        raise RefusedError("nothing was changed, and nothing was sent")
    return after.strip()


def _readable(value: bytes | None) -> bytes:
    try:
        return json.dumps(document(value), indent=2, ensure_ascii=False).encode() + b"\n"
    except JsonError:
        return value or b""
