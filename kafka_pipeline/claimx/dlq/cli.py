"""`claimx-dlq`: look at the dead letters, send them back to work, edit or delete them.

The program that mounts these commands hands in its configuration as the context's object. What is refused is raised
as `RefusedError`, and becomes a line and exit code 2 there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol, TypeVar

import typer

from kafka_pipeline.claimx.dlq import editor, options, report
from kafka_pipeline.claimx.dlq.audit import audit
from kafka_pipeline.claimx.dlq.desk import Desk, Found, Progress, RefusedError, Stock
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.selection import Selection
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

T = TypeVar("T")

SAMPLE: Final = 10
"""Letters that `inspect` shows unless told otherwise."""
PROBLEM: Final = 1
"""Exit code: the command did not do all that was asked."""

app = typer.Typer(help="Look at the dead letters, send them back, edit or delete them.", no_args_is_help=True)


class Settings(Protocol):
    """What the program offers its commands."""

    def load_config(self) -> PipelineConfig:
        """Return the configuration of this run."""


Kind = Annotated[
    DeadLetterKind | None, typer.Option("--kind", help="Only the dead letters of this stage; all stages by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON list.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", metavar="WORD", help="Only of this reason. Repeatable.")]
EventTypes = Annotated[
    list[str] | None, typer.Option("--event-type", metavar="TYPE", help="Only of this event type. Repeatable.")
]
Projects = Annotated[
    list[str] | None, typer.Option("--project", metavar="ID", help="Only of this project id. Repeatable.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option(
        "--id", metavar="ID", help="Only this dead letter, or those about this event, file, task or call. Repeatable."
    ),
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only what failed since: 90m, 2h, 3d, or an ISO time.")
]


@app.callback()
def _dead_letters() -> None:
    """Look at the dead letters, send them back, edit or delete them.

    Dead letters are records that failed for good, set aside with the reason why.
    """


@app.command("list")
def list_(context: typer.Context, *, kind: Kind = None, as_json: Json = False) -> None:
    """Count the dead letters that wait, by stage, reason and age."""

    async def work(desk: Desk) -> None:
        stocks = await desk.stock(_kinds(kind))
        rows = report.counted(stocks)
        if as_json:
            report.print_json(rows)
        elif rows:
            report.print_counted(rows, datetime.now(UTC))
        else:
            typer.echo(f"no dead letters on {desk.where}")
        if not as_json and (replayed := sum(stock.summary.replayed for stock in stocks.values())):
            typer.echo(f"{replayed} more were replayed, and are kept until they are purged")

    _run(context, work)


@app.command()
def inspect(
    context: typer.Context,
    *,
    kind: Kind = None,
    reason: Reasons = None,
    event_type: EventTypes = None,
    project: Projects = None,
    id_: Ids = None,
    since: Since = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", min=1, max=10_000, help="Show so many at most.")
    ] = SAMPLE,
    replayed: Annotated[bool, typer.Option("--replayed", help="Show also what was replayed.")] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show personal data and signed links; who did so is logged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the dead letters that failed last.

    Personal data and links are masked.
    """
    chosen = _selection(reason, event_type, project, id_, since)

    async def work(desk: Desk) -> list[Found]:
        return await desk.inspect(_kinds(kind), chosen, limit, replayed=replayed)

    found = _run(context, work)
    if reveal:
        audit("dead_letters_revealed", filter=chosen.described(), count=len(found))
    rows = report.inspected(found, reveal=reveal)
    if as_json:
        report.print_json(rows)
    elif rows:
        report.print_inspected(rows)
    else:
        typer.echo("no dead letter fits")


@app.command()
def replay(
    context: typer.Context,
    *,
    kind: Kind = None,
    reason: Reasons = None,
    event_type: EventTypes = None,
    project: Projects = None,
    id_: Ids = None,
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay all of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be sent, by reason.")] = False,
    limit: Annotated[int | None, typer.Option("--max", metavar="COUNT", min=1, help="Send so many at most.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send also what was replayed before.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Send also what is quarantined.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to work, each to the topic it came from.

    What is there at the start is sent, oldest first, with all its attempts before it. Interrupted, it goes on where it
    stopped when it is run again.
    """
    chosen = _selection(reason, event_type, project, id_, since)
    if chosen.everything != everything:
        raise RefusedError("choose what to replay: either --all, or filters such as --reason")
    kinds = _kinds(kind)
    progress = Progress()
    if dry_run or not yes:
        if not dry_run:
            _require_terminal()

        async def preview(desk: Desk) -> None:
            await desk.preview(kinds, desk.rules(chosen, again=again, force=force), progress, limit=limit)

        _run(context, preview)
        count = sum(progress.sent.values())
        if dry_run or not count:
            _tell_replays(progress, as_json=as_json, dry_run=dry_run)
            return
        report.print_replays(report.replays(progress, dry_run=True), dry_run=True, err=True)
        _ask(f"Send {count} dead letters back to work?")
        progress = Progress(ends=progress.ends)

    async def work(desk: Desk) -> None:
        await desk.replay(kinds, desk.rules(chosen, again=again, force=force), progress, limit=limit)

    try:
        _run(context, work)
    finally:
        if progress.tallies:
            _tell_replays(progress, as_json=as_json, dry_run=False)
    if any(tally.too_large for tally in progress.tallies.values()):
        raise typer.Exit(PROBLEM)


@app.command()
def edit(
    context: typer.Context,
    letter: Annotated[str, typer.Argument(metavar="LETTER", help="The dead letter's id, as inspect shows it.")],
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE|-", help="The changed value; - is standard input. Without it: $EDITOR."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the changed value, and send nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send it although it was replayed before.")] = False,
    as_json: Json = False,
) -> None:
    """Send one dead letter back with a changed value.

    The value is checked as its topic's reader would. The dead letter keeps the original, and what is sent names it.
    """

    async def look(desk: Desk) -> Found:
        return await desk.find(letter)

    found = _run(context, look)
    if found.replayed and not again:
        raise RefusedError(f"{found.name} was replayed before; --again sends it once more")
    changed = editor.from_file(file) if file is not None else editor.from_editor(found.letter.record.value, os.environ)

    async def work(desk: Desk) -> str:
        topic = desk.check(found, changed)
        if not dry_run:
            await desk.edit(found, changed)
        return topic

    topic = _run(context, work)
    if as_json:
        report.print_json([{"id": found.name, "kind": found.kind.value, "topic": topic, "sent": int(not dry_run)}])
    else:
        typer.echo(f"{found.name}: the changed value is valid{'' if dry_run else f' and was sent to {topic}'}")


@app.command()
def purge(context: typer.Context, *, kind: Kind = None, yes: Yes = False, as_json: Json = False) -> None:
    """Delete the dead letters for good.

    What is shown is deleted, replayed ones too; what comes meanwhile stays.
    """
    if not yes:
        _require_terminal()

    async def look(desk: Desk) -> dict[DeadLetterKind, Stock]:
        return await desk.stock(_kinds(kind))

    stocks = _run(context, look)
    rows = report.purged(stocks)
    count = sum(row["deleted"] for row in rows)
    if not yes and count:
        report.print_purged(rows, "to be deleted", err=True)
        _ask(f"Delete {count} dead letters for good?")

    async def work(desk: Desk) -> None:
        await desk.purge(stocks)

    _run(context, work)
    if as_json:
        report.print_json(rows)
    else:
        report.print_purged(rows, "deleted")


def _run(context: typer.Context, work: Callable[[Desk], Awaitable[T]]) -> T:
    settings: Settings = context.obj
    config = settings.load_config()
    configure_logging(config.log_format, config.log_level)

    async def run() -> T:
        async with Desk.open(config, os.environ) as desk:
            return await work(desk)

    return asyncio.run(run())


def _kinds(kind: DeadLetterKind | None) -> tuple[DeadLetterKind, ...]:
    return tuple(DeadLetterKind) if kind is None else (kind,)


def _selection(
    reasons: list[str] | None,
    event_types: list[str] | None,
    projects: list[str] | None,
    ids: list[str] | None,
    since: str | None,
) -> Selection:
    try:
        start = None if since is None else options.since(since, datetime.now(UTC))
    except ValueError as problem:
        raise RefusedError(f"--since {problem}") from None
    return options.selection(reasons=reasons, event_types=event_types, projects=projects, ids=ids, since=start)


def _tell_replays(progress: Progress, *, as_json: bool, dry_run: bool) -> None:
    rows = report.replays(progress, dry_run=dry_run)
    if as_json:
        report.print_json(rows)
    else:
        report.print_replays(rows, dry_run=dry_run)


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise RefusedError("there is no terminal to ask on: add --yes")


def _ask(question: str) -> None:
    """Return if the answer is yes; else end. Nothing of it goes to standard output, where the data is."""
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        typer.echo("nothing was done", err=True)
        raise typer.Exit(PROBLEM)
