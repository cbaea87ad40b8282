"""Reads a lake on a local disk as any Delta reader would: tables under Tables/, files under Files/."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deltalake import DeltaTable

_READ_BYTES = 1024 * 1024


class Table:
    """One Delta table at its newest version; a table that does not exist has no columns and no rows."""

    def __init__(self, lake_root: Path, name: str) -> None:
        path = lake_root / "Tables" / name
        self._dataset = DeltaTable(str(path)).to_pyarrow_dataset() if DeltaTable.is_deltatable(str(path)) else None
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


def row_times(lake_root: Path) -> RowTimes:
    """Read the times of all rows that an event leads to."""
    return RowTimes(
        events=created_times(lake_root, "claimx_events", "event_id"),
        projects=created_times(lake_root, "claimx_projects", "project_id"),
        media=created_times(lake_root, "claimx_media", "media_id"),
        attachments=created_times(lake_root, "claimx_attachments", "media_id"),
    )


def created_times(lake_root: Path, table: str, key_column: str) -> dict[str, datetime]:
    """Return the `created_at` of a table's rows by key; rows without one are left out."""
    rows = Table(lake_root, table).rows((key_column, "created_at"))
    return {str(row[key_column]): moment for row in rows if isinstance(moment := row.get("created_at"), datetime)}


def stored_files(lake_root: Path) -> dict[str, Path]:
    """Return all files by their path below Files/, written with `/`."""
    root = lake_root / "Files"
    paths = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    return {path.relative_to(root).as_posix(): path for path in paths}


def file_sha256(path: Path) -> str:
    """Return the hash of a file, lower-case hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
