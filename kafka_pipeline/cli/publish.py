"""`claimx-publish`: put events in by hand."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

import orjson
import typer

from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.cli.errors import ExitCode
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.config import PipelineConfig

_CHECK_S = 10.0
_BATCH = 1_000
_NAMED_LINES = 20


@dataclass(slots=True)
class Published:
    """What became of the lines; numbers count from 1."""

    sent: int = 0
    refused: list[int] = field(default_factory=list)


def claimx_publish(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines, one event each; - is standard input.")],
) -> None:
    """Send every line that is valid JSON, unchanged, to the events topic.

    Lines that are not JSON are told by number and not sent; then the exit code is 1. Blank lines are passed over.
    """
    config = invocation(context).load_config()
    with _lines(file) as source:
        published = asyncio.run(_publish(config, source))
    typer.echo(f"{published.sent} events sent to {config.claimx_events_topic}")
    if published.refused:
        named = ", ".join(map(str, published.refused[:_NAMED_LINES]))
        more = len(published.refused) - _NAMED_LINES
        typer.echo(f"not JSON, not sent: line {named}{f' and {more} more' if more > 0 else ''}", err=True)
        raise typer.Exit(ExitCode.PROBLEM)


async def _publish(config: PipelineConfig, source: BinaryIO) -> Published:
    broker = open_broker(config, os.environ)
    producer = broker.producer()
    published = Published()
    batch: list[Message] = []
    try:
        await broker.check(_CHECK_S)
        await ensure_topics(broker, Topics.from_config(config), config)
        for number, line in enumerate(source, start=1):
            value = line.strip()
            if not value:
                continue
            if not _is_json(value):
                published.refused.append(number)
                continue
            batch.append(Message(topic=config.claimx_events_topic, value=value))
            if len(batch) == _BATCH:
                await producer.send(batch)
                published.sent += len(batch)
                batch = []
        await producer.send(batch)
        published.sent += len(batch)
    finally:
        await producer.close()
        await broker.close()
    return published


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


@contextmanager
def _lines(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as source:
        yield source
