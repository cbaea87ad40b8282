"""`claimx-maintain`: keep the tables fast and small, once or on a schedule."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.claimx.upkeep import Scope, TableReport, Upkeep, maintain
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.cli.errors import ExitCode, starting
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.cli.workers import stop_on_signals
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.maintenance import LEAST_RETENTION_HOURS
from kafka_pipeline.common.lake.objects import check_writable
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

_WEEK_HOURS = 7 * 24
_WIDE = 200
"""Columns where no terminal says how many it has."""
_DAY_S = 24 * 3_600.0
"""On a schedule files are deleted once a day: to find them the whole folder of a table is listed."""


def claimx_maintain(
    context: typer.Context,
    *,
    tables: Annotated[
        list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; tell what would be done, with sizes.")
    ] = False,
    retention_hours: Annotated[
        int,
        typer.Option(
            "--retention-hours",
            metavar="HOURS",
            min=LEAST_RETENTION_HOURS,
            help="Keep the files of every snapshot of so many hours, for readers and time travel.",
        ),
    ] = _WEEK_HOURS,
    no_vacuum: Annotated[bool, typer.Option("--no-vacuum", help="Delete no files.")] = False,
    every_s: Annotated[
        float | None,
        typer.Option(
            "--every",
            metavar="SECONDS",
            min=1.0,
            help="Go on for ever, beginning that often; files are deleted once a day. SIGTERM ends it with 0.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of the tables; with --every one line a round.")
    ] = False,
) -> None:
    """Keep the tables fast and small.

    Files are put in the order of their keys, so that a merge opens few of them; a checkpoint shortens the log; files
    that nobody refers to any more are deleted. Only what has changed enough is written anew. Workers may go on: what
    they touch at the same moment is tried again, and otherwise left for the next time (state "later"). Run it every
    hour or every night, in a process of its own with two gigabytes of memory.

    Ends with 1 if the storage failed for a table.
    """
    config = invocation(context).load_config()
    configure_logging(config.log_format, config.log_level)
    specs = _chosen(tables)
    scope = Scope(retention_hours=retention_hours, vacuum=not no_vacuum, dry_run=dry_run)
    show = _show_json if as_json else _show
    code = asyncio.run(_run(config, specs, scope, every_s=every_s, show=show))
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _chosen(names: Sequence[str] | None) -> list[TableSpec]:
    known = {spec.name: spec for spec in TABLES.values()}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(known)}", param_hint="--table")
    return [spec for name, spec in known.items() if not names or name in names]


async def _run(
    config: PipelineConfig,
    specs: Sequence[TableSpec],
    scope: Scope,
    *,
    every_s: float | None,
    show: Callable[[Sequence[TableReport], Scope], None],
) -> ExitCode:
    location = lake_location(config, os.environ)
    if not scope.dry_run:
        with starting("claimx-maintain"):
            await check_writable(location)
    stop = asyncio.Event()
    with stop_on_signals(stop):
        if every_s is None:
            reports = await _round(specs, location, scope, stop)
            show(reports, scope)
            return _code(reports)
        await _rounds(specs, location, scope, stop, every_s=every_s, show=show)
    return ExitCode.OK


async def _rounds(
    specs: Sequence[TableSpec],
    location: LakeLocation,
    scope: Scope,
    stop: asyncio.Event,
    *,
    every_s: float,
    show: Callable[[Sequence[TableReport], Scope], None],
) -> None:
    vacuumed_s: float | None = None
    while not stop.is_set():
        began_s = time.monotonic()
        is_due = scope.vacuum and (vacuumed_s is None or began_s - vacuumed_s >= _DAY_S)
        reports = await _round(specs, location, dataclasses.replace(scope, vacuum=is_due), stop)
        show(reports, scope)
        if is_due and _code(reports) is ExitCode.OK:
            vacuumed_s = began_s
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(0.0, began_s + every_s - time.monotonic()))


async def _round(
    specs: Sequence[TableSpec], location: LakeLocation, scope: Scope, stop: asyncio.Event
) -> list[TableReport]:
    with _Progress() as progress:
        return await asyncio.to_thread(maintain, specs, location, scope, stopping=stop.is_set, tell=progress.tell)


def _code(reports: Sequence[TableReport]) -> ExitCode:
    ends = {report.upkeep for report in reports}
    if Upkeep.FAILED in ends:
        return ExitCode.PROBLEM
    return ExitCode.INTERRUPTED if Upkeep.STOPPED in ends else ExitCode.OK


class _Progress:
    """Says on a terminal what is under way; elsewhere the log does."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)


def _show_json(reports: Sequence[TableReport], _: Scope) -> None:
    typer.echo(json.dumps([dataclasses.asdict(report) for report in reports]))


def _show(reports: Sequence[TableReport], scope: Scope) -> None:
    table = Table(box=None)
    headings = ("to rewrite", "to delete") if scope.dry_run else ("rewritten", "deleted")
    for heading in ("table", "state", "files", "size", "files after", *headings):
        table.add_column(heading, justify="left" if heading in {"table", "state"} else "right", no_wrap=True)
    for each in reports:
        if each.upkeep is Upkeep.ABSENT:
            table.add_row(each.table, each.upkeep.value)
            continue
        table.add_row(
            each.table,
            each.upkeep.value,
            str(each.files),
            _size(each.size_bytes),
            "" if scope.dry_run else str(each.files_after),
            _amount(each.rewritten_files, each.rewritten_bytes),
            _amount(each.vacuumed_files, each.vacuumed_bytes),
        )
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
    for each in reports:
        if each.problem:
            typer.echo(f"{each.table}: {each.problem}", err=True)
    sys.stdout.flush()


def _amount(files: int, size_bytes: int | None) -> str:
    return f"{files}" if not files or size_bytes is None else f"{files} ({_size(size_bytes)})"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
