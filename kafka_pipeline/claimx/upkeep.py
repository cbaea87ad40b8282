"""The upkeep of the tables, one after the other: look, compact, checkpoint, vacuum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.lake.layout import Limits
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.maintenance import Step, Survey, TableKeeper
from kafka_pipeline.common.lake.tables import TableSpec

_log = structlog.get_logger(__name__)


class Upkeep(str, Enum):
    """How the upkeep of one table ended."""

    DONE = "done"
    """Everything that was to be done is done."""
    PLANNED = "planned"
    """A dry run: nothing was changed."""
    LATER = "later"
    """Running writers were faster; the rest is for a quieter time. Nothing is wrong."""
    ABSENT = "absent"
    """There is no such table yet."""
    FAILED = "failed"
    """The storage failed; what was done before that stays."""
    STOPPED = "stopped"
    """A stop was asked for before it was through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to do with each table."""

    retention_hours: int
    vacuum: bool = True
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class TableReport:
    """What was found, and what was done. Sizes in bytes of stored files."""

    table: str
    upkeep: Upkeep = Upkeep.DONE
    files: int = 0
    """Before."""
    size_bytes: int = 0
    """Before."""
    files_after: int = 0
    rewritten_files: int = 0
    """In a dry run: to be rewritten."""
    rewritten_bytes: int = 0
    checkpoint: int | None = None
    """Version of the table that a checkpoint was written of."""
    vacuumed_files: int = 0
    """In a dry run: that can be deleted now."""
    vacuumed_bytes: int | None = 0
    """None where it is not known."""
    problem: str | None = None


def maintain(
    specs: Sequence[TableSpec],
    location: LakeLocation,
    scope: Scope,
    *,
    stopping: Callable[[], bool],
    tell: Callable[[str], None],
    limits: Limits | None = None,
) -> list[TableReport]:
    """Maintain the tables. Blocks; `stopping` is asked before each step, `tell` is told what is under way.

    A table whose storage fails does not keep the others from theirs.
    """
    reports = []
    for spec in specs:
        report = TableReport(table=spec.name)
        reports.append(report)
        try:
            _maintain(TableKeeper(spec, location, limits=limits), report, scope, stopping, tell)
        except PipelineError as error:
            report.upkeep, report.problem = Upkeep.FAILED, error.text
        _log.info("table_maintained", **_facts(report))
    return reports


def _maintain(
    keeper: TableKeeper,
    report: TableReport,
    scope: Scope,
    stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> None:
    if stopping():
        report.upkeep = Upkeep.STOPPED
        return
    tell(f"{report.table}: looking")
    survey = keeper.survey()
    if survey is None:
        report.upkeep = Upkeep.ABSENT
        return
    report.files = report.files_after = survey.files
    report.size_bytes = survey.size_bytes
    if scope.dry_run:
        _plan(keeper, report, scope, survey)
        return
    if not _compact(keeper, report, survey.steps, stopping, tell):
        return
    if survey.steps:
        after = keeper.survey()
        report.files_after = after.files if after is not None else 0
    tell(f"{report.table}: checkpoint")
    report.checkpoint = keeper.checkpoint()
    if scope.vacuum:
        if stopping():
            report.upkeep = Upkeep.STOPPED
            return
        tell(f"{report.table}: vacuum")
        vacuumed = keeper.vacuum(scope.retention_hours)
        report.vacuumed_files, report.vacuumed_bytes = vacuumed.files, vacuumed.size_bytes


def _plan(keeper: TableKeeper, report: TableReport, scope: Scope, survey: Survey) -> None:
    report.upkeep = Upkeep.PLANNED
    report.rewritten_files = sum(step.files for step in survey.steps)
    report.rewritten_bytes = sum(step.size_bytes for step in survey.steps)
    if scope.vacuum:
        unused = keeper.vacuumable(scope.retention_hours)
        report.vacuumed_files, report.vacuumed_bytes = unused.files, unused.size_bytes


def _compact(
    keeper: TableKeeper,
    report: TableReport,
    steps: Sequence[Step],
    stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> bool:
    """Rewrite step by step; return False if a stop came between."""
    for step in steps:
        if stopping():
            report.upkeep = Upkeep.STOPPED
            return False
        tell(f"{report.table}: {step.name}, {step.files} files, {step.size_bytes / 2**20:,.0f} MiB")
        if keeper.rewrite(step):
            report.rewritten_files += step.files
            report.rewritten_bytes += step.size_bytes
        else:
            report.upkeep = Upkeep.LATER
    return True


def _facts(report: TableReport) -> dict[str, object]:
    facts: dict[str, object] = {
        "table": report.table,
        "upkeep": report.upkeep.value,
        "files": report.files,
        "files_after": report.files_after,
        "rewritten_bytes": report.rewritten_bytes,
        "vacuumed_files": report.vacuumed_files,
    }
    if report.problem is not None:
        facts["problem"] = report.problem
    return facts
