"""`claimx-topics`: are the topics there, and if not, make them."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.cli.errors import ExitCode
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

_CHECK_S = 10.0


def claimx_topics(
    context: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="Create nothing; end with 1 if a topic is missing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Create the topics that are missing, and list all."""
    config = invocation(context).load_config()
    configure_logging(config.log_format, config.log_level)
    rows, where = asyncio.run(_topics(config, create=not check))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(rows, where)
    if any(row["state"] == "missing" for row in rows):
        raise typer.Exit(ExitCode.PROBLEM)


async def _topics(config: PipelineConfig, *, create: bool) -> tuple[list[dict[str, object]], str]:
    broker = open_broker(config, os.environ)
    wanted = new_topics(Topics.from_config(config), config)
    admin = broker.admin()
    try:
        await broker.check(_CHECK_S)
        created = await admin.create_topics(wanted) if create else frozenset()
        partitions = await admin.topics()
    finally:
        await admin.close()
        await broker.close()
    rows: list[dict[str, object]] = [
        {
            "topic": topic.name,
            "partitions": partitions.get(topic.name, 0),
            "state": "created" if topic.name in created else "present" if topic.name in partitions else "missing",
        }
        for topic in wanted
    ]
    return rows, broker.description


def _print(rows: list[dict[str, object]], where: str) -> None:
    typer.echo(f"Topics on {where}:")
    table = Table(box=None)
    for heading in ("topic", "partitions", "state"):
        table.add_column(heading, justify="right" if heading == "partitions" else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
