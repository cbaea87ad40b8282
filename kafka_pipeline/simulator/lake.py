"""Reads a lake as any Delta reader would, on a disk or on Azure Storage: tables under Tables/, files under Files/."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import obstore
from deltalake import DeltaTable
from obstore.store import from_url

_READ_BYTES = 1024 * 1024

_SWITCHES = ("allow_http", "allow_invalid_certificates")
"""Options of the HTTP client, which obstore takes apart from those of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteLake:
    """A lake on Azure Storage: its root, and what opens it under the names of object_store. Not shown by repr (I10)."""

    url: str
    options: Mapping[str, str] = field(repr=False)


Lake: TypeAlias = Path | RemoteLake
"""Where a lake is; a path is a folder of this machine."""


class Table:
    """One Delta table at its newest version; a table that does not exist has no columns and no rows."""

    def __init__(self, lake: Lake, name: str) -> None:
        root = lake.url if isinstance(lake, RemoteLake) else str(lake)
        options = dict(lake.options) if isinstance(lake, RemoteLake) else None
        uri = f"{root}/Tables/{name}"
        there = DeltaTable.is_deltatable(uri, storage_options=options)
        self._dataset = DeltaTable(uri, storage_options=options).to_pyarrow_dataset() if there else None
        self.columns: frozenset[str] = frozenset(self._dataset.schema.names if self._dataset else ())

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, object]]:
        """Yield every row, batch by batch; a column that the table lacks is left out."""
        if self._dataset is None:
            return
        for batch in self._dataset.to_batches(columns=[name for name in columns if name in self.columns]):
            yield from batch.to_pylist()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTimes:
    """When rows came to be (`created_at`, aware, UTC), by the id they are known by.

    Less the time an event was published, it is how long the lake took to know. A row that an earlier event of the
    project brought about is older than the event.
    """

    events: Mapping[str, datetime]
    """By event_id."""
    projects: Mapping[str, datetime]
    """By project_id."""
    media: Mapping[str, datetime]
    """By media_id: the row of the file's description."""
    attachments: Mapping[str, datetime]
    """By media_id: the row of the stored file."""


def row_times(lake: Lake) -> RowTimes:
    """Read the times of all rows that an event leads to."""
    return RowTimes(
        events=created_times(lake, "claimx_events", "event_id"),
        projects=created_times(lake, "claimx_projects", "project_id"),
        media=created_times(lake, "claimx_media", "media_id"),
        attachments=created_times(lake, "claimx_attachments", "media_id"),
    )


def created_times(lake: Lake, table: str, key_column: str) -> dict[str, datetime]:
    """Return the `created_at` of a table's rows by key; rows without one are left out."""
    rows = Table(lake, table).rows((key_column, "created_at"))
    return {str(row[key_column]): moment for row in rows if isinstance(moment := row.get("created_at"), datetime)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file below Files/. `read` yields its bytes, piece by piece."""

    size_bytes: int
    read: Callable[[], Iterator[bytes]]

    def sha256(self) -> str:
        """Return the hash of the file, lower-case hex; reads all of it."""
        digest = hashlib.sha256()
        for piece in self.read():
            digest.update(piece)
        return digest.hexdigest()


def stored_files(lake: Lake) -> dict[str, StoredFile]:
    """Return all files by their path below Files/, written with `/`."""
    if isinstance(lake, RemoteLake):
        return _remote_files(lake)
    root = lake / "Files"
    paths = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    return {
        path.relative_to(root).as_posix(): StoredFile(size_bytes=path.stat().st_size, read=partial(_pieces, path))
        for path in paths
    }


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def _remote_files(lake: RemoteLake) -> dict[str, StoredFile]:
    options = dict(lake.options)
    client = cast("Any", {name: True for name in _SWITCHES if options.pop(name, "") == "true"})
    store = from_url(f"{lake.url}/Files", config=cast("Any", options), client_options=client)

    def pieces(path: str) -> Iterator[bytes]:
        for piece in obstore.get(store, path).stream(min_chunk_size=_READ_BYTES):
            yield bytes(piece)

    found = (each for some in obstore.list(store) for each in some)
    return {each["path"]: StoredFile(size_bytes=each["size"], read=partial(pieces, each["path"])) for each in found}
