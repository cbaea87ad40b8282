"""What a handler hands back for an event: rows, files to fetch, or a failure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from kafka_pipeline.claimx.api_errors import NOT_FOUND
from kafka_pipeline.claimx.schemas.entities import (
    ContactRow,
    ExternalLinkRow,
    MediaMetadataRow,
    ProjectRow,
    TaskRow,
    TaskTemplateRow,
    VideoCollabRow,
)
from kafka_pipeline.claimx.schemas.rows import AuditedRow
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.common.failures import Category, PipelineError, UnavailableError
from kafka_pipeline.common.observability.redaction import safe_error_text
from kafka_pipeline.common.runtime.outcomes import Dead, Retry, Wait
from kafka_pipeline.common.runtime.processor import failure_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows per table; a field is named as the table's logical name (section 9.1)."""

    projects: tuple[ProjectRow, ...] = ()
    contacts: tuple[ContactRow, ...] = ()
    media: tuple[MediaMetadataRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    task_templates: tuple[TaskTemplateRow, ...] = ()
    external_links: tuple[ExternalLinkRow, ...] = ()
    video_collab: tuple[VideoCollabRow, ...] = ()

    def __iter__(self) -> Iterator[AuditedRow]:
        """Yield every row, table by table: what a writer takes."""
        for rows in self.by_table().values():
            yield from rows

    def by_table(self) -> dict[str, tuple[AuditedRow, ...]]:
        """Return the rows by logical table name, tables without rows left out."""
        found = {table.name: getattr(self, table.name) for table in fields(self)}
        return {table: rows for table, rows in found.items() if rows}

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.by_table().values())

    def __add__(self, other: Rows) -> Rows:
        return Rows.together((self, other))

    @staticmethod
    def together(parts: Iterable[Rows]) -> Rows:
        """Return all the rows of the parts, in order, doubles kept: the writer combines them [MRG-6]."""
        gathered: dict[str, list[AuditedRow]] = {}
        for part in parts:
            for table, rows in part.by_table().items():
                gathered.setdefault(table, []).extend(rows)
        return Rows(**{table: tuple(rows) for table, rows in gathered.items()})  # type: ignore[arg-type]  # by name


NO_ROWS: Final = Rows()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why an event was not enriched, in words that are safe to store."""

    category: Category
    reason: str
    """Finer word for dead letters and metrics (`not_found`), else the category's own."""
    error_class: str
    error_text: str
    not_before: datetime | None = None
    """Earliest time of the next attempt, where the service named one (settled point 17)."""
    unavailable: UnavailableError | None = None
    """Set where nothing was tried, because the service is known to be down: the event waits [CBR-5]."""

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """Describe an exception. The text of one that nobody foresaw may quote what it met, so it is not kept."""
        name = type(error).__name__
        if not isinstance(error, PipelineError):
            unforeseen = Category.UNKNOWN
            text = f"unforeseen {name} at {_origin_of(error)}"
            return cls(category=unforeseen, reason=unforeseen.value, error_class=name, error_text=text)
        return cls(
            category=error.category,
            reason=error.reason,
            error_class=name,
            error_text=safe_error_text(error),
            not_before=error.not_before,
            unavailable=error if isinstance(error, UnavailableError) else None,
        )

    def outcome(self) -> Retry | Dead | Wait:
        """Return what becomes of the record (section 7.1)."""
        if self.unavailable is not None:
            return failure_outcome(self.unavailable)
        if self.category is Category.PERMANENT:
            return Dead(reason=self.reason, error_class=self.error_class, error_text=self.error_text)
        return Retry(
            category=self.category,
            error_class=self.error_class,
            error_text=self.error_text,
            reason=self.reason,
            not_before=self.not_before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerResult:
    """What follows from one event.

    Rows and downloads are true also beside a failure (the other files of a list that lacks the one it was asked
    for): write and produce them in any case. An event is done when all of its own and, where `failed` is None,
    nothing else is left to do. In a batch, what several events have in common is in one of their results only, so
    write the rows of the whole batch before calling any of its events done.
    """

    task: ClaimXEnrichmentTask
    rows: Rows = NO_ROWS
    downloads: tuple[ClaimXDownloadTask, ...] = ()
    failed: Failed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a row comes from: the event that caused the read, and when the API was asked [MRG-3, MRG-5]."""

    event_id: str
    project_id: str
    requested_at: datetime

    @classmethod
    def of(cls, task: ClaimXEnrichmentTask, requested_at: datetime) -> Origin:
        """Return the origin of rows read for this event."""
        return cls(event_id=task.event_id, project_id=task.project_id, requested_at=requested_at)

    def audit(self) -> dict[str, object]:
        """Return the audit columns that a handler fills; the writer sets the others."""
        return {"source_event_id": self.event_id, "last_enriched_at": self.requested_at}


class NotFoundError(PipelineError):
    """The service does not know the project or task (404) [7.2]."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found", Category.PERMANENT, reason=NOT_FOUND)


class WrongAnswerError(PipelineError):
    """The answer is about nothing, or about something else than what was asked for: asked for again, later.

    Written, it would be taken for the thing itself, and a project that has a row is not fetched again [HND-1].
    """

    def __init__(self, what: str) -> None:
        super().__init__(what, Category.TRANSIENT)


class MissingIdError(PipelineError):
    """The event lacks the id that its handler needs [EVT-7]."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the event has no {name}", Category.PERMANENT)


class MediaNotReadyError(PipelineError):
    """The file that the event names is not in the list yet, or has no link yet [7.2]: later, for this event alone."""

    def __init__(self, what: str) -> None:
        super().__init__(what, Category.TRANSIENT)


def _origin_of(error: Exception) -> str:
    """Return function and line where the exception was raised: no values, unlike its text."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "an unknown place" if frame is None else f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}"
