"""When rows and files of a lake in a folder became visible: not what they say of themselves, but what readers saw.

A row is visible from the commit on that first names a file with it; the system's clock of that commit counts. The
tables must be as their writers left them: neither compacted nor vacuumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import orjson
import pyarrow.parquet as pq

from kafka_pipeline.simulator.lake import RowTimes, Table


def visible_times(lake: Path) -> RowTimes:
    """Return when the rows that events lead to were committed. For attachments it is when the file itself was there."""
    return RowTimes(
        events=rows_visible(lake, "claimx_events", "event_id"),
        projects=rows_visible(lake, "claimx_projects", "project_id"),
        media=rows_visible(lake, "claimx_media", "media_id"),
        attachments=_files_visible(lake),
    )


def rows_visible(lake: Path, table: str, key_column: str) -> dict[str, datetime]:
    """Return when each row of a table was first committed, by its key."""
    root = lake / "Tables" / table
    seen: dict[str, datetime] = {}
    for commit in sorted((root / "_delta_log").glob("*[0-9].json")):
        moment = _came(commit)
        for path in _added(commit):
            for key in pq.read_table(root / path, columns=[key_column], partitioning=None)[key_column].to_pylist():
                seen.setdefault(str(key), moment)
    return seen


def commits(lake: Path, table: str) -> int:
    """Return how many commits a table has."""
    return len(list((lake / "Tables" / table / "_delta_log").glob("*[0-9].json")))


def _files_visible(lake: Path) -> dict[str, datetime]:
    rows = Table(lake, "claimx_attachments").rows(("media_id", "blob_path"))
    return {str(row["media_id"]): _came(lake / "Files" / str(row["blob_path"])) for row in rows}


def _added(commit: Path) -> Iterator[str]:
    for line in commit.read_bytes().splitlines():
        if (added := orjson.loads(line).get("add")) is not None:
            yield unquote(added["path"])


def _came(path: Path) -> datetime:
    # The time of the last change of its entry: it is written under another name, and gets its own when it is whole.
    return datetime.fromtimestamp(path.stat().st_ctime, UTC)
