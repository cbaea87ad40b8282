"""`claimx-publish`: put events in by hand."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

import orjson
import typer

from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.cli.errors import ExitCode, starting
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.messaging import Message, MessageTooLargeError, Producer
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

_CHECK_S = 10.0
_BATCH = 1_000
_NAMED_LINES = 20


@dataclass(slots=True)
class Published:
    """What became of the lines; numbers count from 1."""

    sent: int = 0
    no_json: list[int] = field(default_factory=list)
    too_large: list[int] = field(default_factory=list)


def claimx_publish(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON lines, one event each; - is standard input.")],
) -> None:
    """Send JSON lines, unchanged, to the events topic.

    Lines that are not JSON, or larger than the broker admits, are told by number and not sent; then the exit code is 1.
    Blank lines are passed over.
    """
    config = invocation(context).load_config()
    configure_logging(config.log_format, config.log_level)
    with _lines(file) as source:
        published = asyncio.run(_publish(config, source))
    typer.echo(f"{published.sent} events sent to {config.claimx_events_topic}")
    for numbers, why in ((published.no_json, "not JSON"), (published.too_large, "too large for the broker")):
        if numbers:
            typer.echo(f"{why}, not sent: {_named(numbers)}", err=True)
    if published.no_json or published.too_large:
        raise typer.Exit(ExitCode.PROBLEM)


def _named(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:_NAMED_LINES]))
    more = len(numbers) - _NAMED_LINES
    return f"line{'s' if len(numbers) > 1 else ''} {named}{f' and {more} more' if more > 0 else ''}"


async def _publish(config: PipelineConfig, source: BinaryIO) -> Published:
    broker = open_broker(config, os.environ)
    producer = broker.producer()
    published = Published()
    batch: dict[int, Message] = {}
    try:
        await broker.check(_CHECK_S)
        await ensure_topics(broker, Topics.from_config(config), config)
        for number, line in enumerate(source, start=1):
            value = line.strip()
            if not value:
                continue
            if not _is_json(value):
                published.no_json.append(number)
                continue
            batch[number] = Message(topic=config.claimx_events_topic, value=value)
            if len(batch) == _BATCH:
                await _send(producer, batch, published)
                batch = {}
        await _send(producer, batch, published)
    finally:
        await producer.close()
        await broker.close()
    return published


async def _send(producer: Producer, batch: Mapping[int, Message], published: Published) -> None:
    """Send lines by number; where one is too large, halve until it stands alone."""
    try:
        await producer.send(list(batch.values()))
        published.sent += len(batch)
    except MessageTooLargeError:
        if len(batch) == 1:
            published.too_large += batch
            return
        lines = list(batch.items())
        for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
            await _send(producer, dict(half), published)


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
    with starting("claimx-publish"):
        source = Path(file).open("rb")  # noqa: SIM115  # closed below: what goes wrong while sending is no start
    with source:
        yield source
