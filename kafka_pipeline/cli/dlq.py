"""`claimx-dlq`: what was set aside, and why."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from contextlib import aclosing
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.broker import open_broker
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

app = typer.Typer(help="Look at the dead letters.", no_args_is_help=True)

_CHECK_S = 10.0

Kind = Annotated[
    DeadLetterKind | None, typer.Option("--kind", help="Only the dead letters of this stage; all stages by default.")
]
Counts = Counter[tuple[DeadLetterKind, str]]


class _Column(str, Enum):
    KIND = "kind"
    REASON = "reason"
    COUNT = "count"


@app.callback()
def _dead_letters() -> None:
    """Look at the dead letters: records that were set aside with the reason why."""


@app.command("list")
def list_(
    context: typer.Context,
    *,
    kind: Kind = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Count the dead letters by kind and reason."""
    config = invocation(context).load_config()
    configure_logging(config.log_format, config.log_level)
    kinds = tuple(DeadLetterKind) if kind is None else (kind,)
    counts, where = asyncio.run(_count(config, kinds))
    rows: list[dict[str, object]] = [
        {_Column.KIND.value: each.value, _Column.REASON.value: reason, _Column.COUNT.value: count}
        for (each, reason), count in sorted(counts.items(), key=lambda item: (item[0][0].value, -item[1], item[0][1]))
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(f"no dead letters on {where}")
    else:
        _print(rows)


async def _count(config: PipelineConfig, kinds: tuple[DeadLetterKind, ...]) -> tuple[Counts, str]:
    topics = Topics.from_config(config)
    kind_of = {topics.dead_letters(kind): kind for kind in kinds}
    broker = open_broker(config, os.environ)
    counts: Counts = Counter()
    try:
        await broker.check(_CHECK_S)
        async with aclosing(scan(broker, list(kind_of), group_prefix=topics.group_prefix)) as batches:
            async for records in batches:
                counts.update((kind_of[record.topic], DeadLetter.parse(record).reason) for record in records)
    finally:
        await broker.close()
    return counts, broker.description


def _print(rows: list[dict[str, object]]) -> None:
    table = Table(box=None)
    for column in _Column:
        table.add_column(column.value, justify="right" if column is _Column.COUNT else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
