"""`claimx-topics`: are the topics there and fit for their purpose, and if they are missing, make them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.broker import is_event_hubs, new_topics, open_broker
from kafka_pipeline.claimx.topic_drift import Drift, TopicState, drift, least_kept_s, state_of
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.cli.errors import ExitCode
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.messaging import NewTopic, TopicFacts
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

_CHECK_S = 10.0
_WIDE = 200
"""Columns where no terminal says how many it has: names are not cut for whoever reads a file."""

COMPACT_DELAY_S: Final = 1_200
"""The one delay of the compact layout: late enough for most outages to be over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One topic, as it is told."""

    topic: str
    state: TopicState
    facts: TopicFacts | None
    drifts: tuple[Drift, ...] = ()

    @property
    def retention(self) -> str | None:
        """How long records are kept, in hours; None where the broker does not say."""
        kept_ms = self.facts.config.get("retention.ms") if self.facts else None
        if kept_ms is None or not kept_ms.removeprefix("-").isdigit():
            return None
        return "for ever" if int(kept_ms) < 0 else f"{int(kept_ms) / 3_600_000:.0f} h"

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "topic": self.topic,
            "partitions": self.facts.partitions if self.facts else 0,
            "replication_factor": self.facts.replication_factor if self.facts else None,
            "retention": self.retention,
            "state": self.state.value,
            "drift": [str(each) for each in self.drifts],
        }


def claimx_topics(
    context: typer.Context,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Create nothing; end with 1 if a topic is missing or wrong.")
    ] = False,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact", help="Ten topics instead of sixteen: one delayed retry, after 20 minutes. Prints the setting."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Create the topics that are missing, and list all.

    A topic that is there is never changed. Where it is otherwise than it would be created, or not fit for its purpose
    (records kept too short, messages too small, compacted), that is told with the remedy.

    Azure Event Hubs: a namespace of the standard tier holds ten event hubs, which is what --compact is for; larger
    tiers hold more. Retention and sizes are not set by Kafka's protocol there but in the portal; messages have one
    megabyte at most, so set max_event_bytes to 400000 or less, and kafka_compression to gzip.

    Ends with 1 if, in the end, a topic is missing or wrong.
    """
    run = invocation(context)
    config = run.load_config()
    if compact and len(config.claimx_retry_delays_seconds) > 1:
        config = run.load_config({"claimx_retry_delays_seconds": str(COMPACT_DELAY_S)})
    configure_logging(config.log_format, config.log_level)
    rows, where = asyncio.run(_topics(config, create=not check))
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        _print(rows, where)
    if compact:
        delays = ",".join(map(str, config.claimx_retry_delays_seconds))
        typer.echo(f"Every worker needs the setting CLAIMX_RETRY_DELAYS_SECONDS={delays}", err=True)
    if any(row.state in {TopicState.MISSING, TopicState.WRONG} for row in rows):
        raise typer.Exit(ExitCode.PROBLEM)


async def _topics(config: PipelineConfig, *, create: bool) -> tuple[list[Row], str]:
    broker = open_broker(config, os.environ)
    topics = Topics.from_config(config)
    wanted = new_topics(topics, config)
    admin = broker.admin()
    try:
        await broker.check(_CHECK_S)
        created = await admin.create_topics(wanted) if create else frozenset()
        found = await admin.describe(topics.all)
    finally:
        await admin.close()
        await broker.close()
    kept_s = least_kept_s(topics, config.claimx_retry_delays_seconds)
    dead = {topics.dead_letters(kind) for kind in DeadLetterKind}
    rows = [
        _row(each, found.get(each.name), created, kept_s=kept_s[each.name], is_last=each.name in dead)
        for each in wanted
    ]
    suffix = " (Event Hubs: see --help for its limits)" if is_event_hubs(config) else ""
    return rows, broker.description + suffix


def _row(wanted: NewTopic, found: TopicFacts | None, created: frozenset[str], *, kept_s: int, is_last: bool) -> Row:
    if found is None:
        return Row(topic=wanted.name, state=TopicState.MISSING, facts=None)
    drifts = drift(wanted, found, least_kept_s=kept_s, is_last=is_last)
    state = state_of(drifts)
    if wanted.name in created and state is TopicState.PRESENT:
        state = TopicState.CREATED
    return Row(topic=wanted.name, state=state, facts=found, drifts=drifts)


def _print(rows: list[Row], where: str) -> None:
    typer.echo(f"Topics on {where}:")
    table = Table(box=None)
    for heading in ("topic", "partitions", "copies", "kept", "state"):
        table.add_column(heading, justify="left" if heading in {"topic", "state"} else "right", no_wrap=True)
    for row in rows:
        facts = row.facts or TopicFacts(partitions=0)
        copies = "" if facts.replication_factor is None else str(facts.replication_factor)
        table.add_row(row.topic, str(facts.partitions), copies, row.retention or "", row.state.value)
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
    for row in rows:
        for each in row.drifts:
            typer.echo(f"{row.topic}: {each}")
