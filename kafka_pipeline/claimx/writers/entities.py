"""The entity tables and the inventory, as handlers and workers write them and ask them (`claimx-domain`, section 9)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from kafka_pipeline.claimx.links import without_query
from kafka_pipeline.claimx.schemas.entities import (
    ENTITY_ROWS,
    ContactRow,
    ExternalLinkRow,
    MediaMetadataRow,
    ProjectRow,
    TaskRow,
    TaskTemplateRow,
    VideoCollabRow,
)
from kafka_pipeline.claimx.schemas.inventory import AttachmentRow, AttachmentStatus
from kafka_pipeline.claimx.schemas.rows import LinkColumn, Row
from kafka_pipeline.claimx.writers.tables import ATTACHMENTS, EVENTS, MEDIA, PROJECTS, TABLES
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.lake.tables import DATE, TableSpec
from kafka_pipeline.common.lake.writer import LakeWriter

_log = structlog.get_logger(__name__)

_ROWS: Final[tuple[type[Row], ...]] = (*ENTITY_ROWS, AttachmentRow)

LINK_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    model.logical_table: tuple(
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, LinkColumn) for mark in field.metadata)
    )
    for model in _ROWS
}
"""The columns of each table that hold links, by logical name: their queries are credentials [SEC-8]."""


_STORED: Final = frozenset({AttachmentStatus.UPLOADED.value, AttachmentStatus.COMPLETED.value})


class StoredMedia(NamedTuple):
    """What the inventory knows of a file."""

    status: str | None
    blob_path: str | None
    content_sha256: str | None
    downloaded_at: datetime | None = None
    bytes_downloaded: int | None = None
    content_type: str | None = None

    @property
    def is_told(self) -> bool:
        """Whether the result of the transfer has come: until then its message may never have been sent."""
        return self.status == AttachmentStatus.COMPLETED.value

    def holds(self, blob_path: str, content_sha256: str | None = None) -> bool:
        """Tell whether the lake has the file at that path, and with that hash where one is given [HND-5]."""
        return self.status in _STORED and self.blob_path == blob_path and content_sha256 in {None, self.content_sha256}

    def supersedes(self, downloaded_at: datetime) -> bool:
        """Tell whether the lake has the file as it was downloaded then, or later."""
        return self.status in _STORED and self.downloaded_at is not None and self.downloaded_at >= downloaded_at


class EntityTableWriter:
    """Merges rows into their tables, and answers what is there already.

    Every write returns when its rows are durable; concurrent writes to a table share a commit, tables are written in
    parallel. While the lake is away writes wait (I7). Rows are stamped with the time of the write: `updated_at`, and
    `created_at` (with its date), which a stored row keeps. Links lose their query unless `signed_links` keeps it
    [SEC-8]. Raises PipelineError, permanent or unknown, where rows cannot go in.
    """

    def __init__(self, lake: LakeWriter, *, clock: Clock = SYSTEM_CLOCK, signed_links: bool = False) -> None:
        self._lake = lake
        self._clock = clock
        self._signed_links = signed_links

    async def merge_rows(
        self,
        table_name: str,
        rows: Sequence[Row | Mapping[str, object]],
        merge_keys: Sequence[str] | None = None,
    ) -> None:
        """Merge rows into the table of that logical name. No rows is no write.

        `merge_keys`, where given, must be the table's own, and guards against rows meant for another table. Raises
        ValueError for other keys, or a table that is not merged into.
        """
        spec = _spec(table_name)
        if merge_keys is not None and tuple(merge_keys) != spec.keys:
            raise ValueError(f"{table_name} is merged by {', '.join(spec.keys)}")
        if not rows:
            return
        await self._lake.table(spec).write(self._stamped(table_name, spec, rows))
        _log.debug("rows_durable", table=spec.name, rows=len(rows))

    async def write(self, rows: Iterable[Row]) -> None:
        """Write rows of any tables, each into its own, the tables in parallel. Returns when all are durable.

        If tables fail, the others are still awaited; then the first failure is raised.
        """
        by_table: defaultdict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_table[row.logical_table].append(row)
        writes = (self.merge_rows(table_name, some) for table_name, some in by_table.items())
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def write_projects(self, rows: Sequence[ProjectRow]) -> None:
        """Merge projects by project_id."""
        await self.merge_rows("projects", rows)

    async def write_contacts(self, rows: Sequence[ContactRow]) -> None:
        """Merge contacts by contact_id and project_id."""
        await self.merge_rows("contacts", rows)

    async def write_media(self, rows: Sequence[MediaMetadataRow]) -> None:
        """Merge media by media_id."""
        await self.merge_rows("media", rows)

    async def write_tasks(self, rows: Sequence[TaskRow]) -> None:
        """Merge task assignments by task_id."""
        await self.merge_rows("tasks", rows)

    async def write_task_templates(self, rows: Sequence[TaskTemplateRow]) -> None:
        """Insert the forms that are not there yet, by template_id and project_id."""
        await self.merge_rows("task_templates", rows)

    async def write_external_links(self, rows: Sequence[ExternalLinkRow]) -> None:
        """Merge links to forms by link_id."""
        await self.merge_rows("external_links", rows)

    async def write_video_collab(self, rows: Sequence[VideoCollabRow]) -> None:
        """Merge video calls by collaboration_id."""
        await self.merge_rows("video_collab", rows)

    async def write_attachments(self, rows: Sequence[AttachmentRow]) -> None:
        """Merge the inventory by media_id [INV-1]."""
        await self.merge_rows("attachments", rows)

    async def existing_projects(self, project_ids: Collection[str]) -> set[str]:
        """Return those of the ids that the projects table holds [HND-1]. Raises PipelineError if it cannot be read."""
        found = await self._lake.existing(PROJECTS, project_ids, PROJECTS.keys)
        return {row["project_id"] for row in found}

    async def stored_media(self, media_ids: Collection[str]) -> dict[str, StoredMedia]:
        """Return what the inventory knows, by media id [HND-5]. Raises PipelineError if it cannot be read."""
        found = await self._lake.existing(ATTACHMENTS, media_ids, StoredMedia._fields)
        return {row["media_id"]: StoredMedia(*(row[name] for name in StoredMedia._fields)) for row in found}

    async def media_projects(self, media_ids: Collection[str]) -> dict[str, str]:
        """Return the project that each file belongs to: the first whose list showed it [settled point 22].

        By media id, of those that have a row. Raises PipelineError if the table cannot be read.
        """
        found = await self._lake.existing(MEDIA, media_ids, ["project_id"])
        return {row["media_id"]: row["project_id"] for row in found}

    def _stamped(
        self, table_name: str, spec: TableSpec, rows: Sequence[Row | Mapping[str, object]]
    ) -> list[dict[str, object]]:
        now = self._clock.now()
        stamps: dict[str, object] = {"created_at": now, "updated_at": now}
        if "created_date" in spec.names and spec.column("created_date").type == DATE:  # elsewhere it is ClaimX's own
            stamps["created_date"] = now.date()
        link_columns = () if self._signed_links else LINK_COLUMNS[table_name]
        stamped = []
        for row in rows:
            columns = {**(row.to_row() if isinstance(row, Row) else row), **stamps}
            for name in link_columns:
                columns[name] = _without_query(columns.get(name))
            stamped.append(columns)
        return stamped


def _spec(table_name: str) -> TableSpec:
    spec = TABLES.get(table_name)
    if spec is None or spec is EVENTS:
        raise ValueError("no entity table has that name")
    return spec


def _without_query(value: object) -> object:
    if isinstance(value, str):
        return without_query(value)
    if isinstance(value, list):
        return [without_query(link) for link in value]
    return value
