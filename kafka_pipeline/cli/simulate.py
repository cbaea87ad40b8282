"""`simulate`: a ClaimX to point the pipeline at."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from kafka_pipeline.cli.errors import starting
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.cli.workers import stop_on_signals
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.simulator.feed import FeedItem, FeedKind
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator

MAX_LATENCY_MS = 600_000.0
"""Ten minutes: nobody waits longer, and a number that is no time is no latency."""


def simulate(
    context: typer.Context,
    *,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world, feed and files.")] = 1,
    projects: Annotated[int, typer.Option(min=1, help="Projects in the world.")] = 100,
    events: Annotated[int, typer.Option(min=1, help="Events in the feed, flawed ones included.")] = 1_000,
    latency_ms: Annotated[
        float, typer.Option(min=0, max=MAX_LATENCY_MS, help="Mean time the API takes to answer.")
    ] = 0.0,
    link_lifetime: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long links are good.")] = 86_400,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the API; 0 lets the system choose.")] = 0,
    storage_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the storage behind its links.")] = 0,
    write_feed: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write the events as JSON lines for claimx-publish, and end."),
    ] = None,
) -> None:
    """Run a ClaimX that behaves, on this machine.

    It has the REST API, and signed links to files. Prints the settings that point the pipeline at it, then serves
    until it is interrupted.
    """
    invocation(context).refuse_settings("simulate")
    configure_logging("auto", "info")
    with believable():
        settings = SimulatorSettings(
            seed=seed,
            projects=projects,
            events=events,
            latency_ms=latency_ms,
            link_lifetime_s=link_lifetime,
            api_port=port,
            storage_port=storage_port,
        )
        simulator = Simulator(settings)
        feed = simulator.feed() if write_feed is not None else ()
    if write_feed is not None:
        _write_feed(feed, write_feed)
        return
    asyncio.run(_serve(simulator))


@contextmanager
def believable() -> Iterator[None]:
    """Say in one line why no world can be made of the numbers that were given. Raises typer.BadParameter."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


async def _serve(simulator: Simulator) -> None:
    stop = asyncio.Event()
    with starting("the simulator"):
        await simulator.__aenter__()
    try:
        typer.echo(f"export CLAIMX_API_URL={simulator.api_url}")
        typer.echo(f"export CLAIMX_API_TOKEN={simulator.token}")
        typer.echo("export CLAIMX_API_SENDER_USERNAME=integration@example.com")
        typer.echo(f"export ALLOW_PRIVATE_DOWNLOAD_HOSTS={','.join(simulator.download_hosts)}")
        sys.stdout.flush()
        with stop_on_signals(stop):
            await stop.wait()
    finally:
        await simulator.__aexit__(None, None, None)


def _write_feed(feed: tuple[FeedItem, ...], target: str) -> None:
    """Write what claimx-publish takes: malformed items are left out, they would not survive as lines."""
    lines = [item.value for item in feed if item.kind is not FeedKind.MALFORMED]
    with _opened(target) as out:
        out.writelines(line + b"\n" for line in lines)
    if target != "-":
        typer.echo(f"{len(lines)} events written to {target}")


@contextmanager
def _opened(target: str) -> Iterator[BinaryIO]:
    if target == "-":
        yield sys.stdout.buffer
        return
    with starting("simulate"):
        out = Path(target).open("wb")  # noqa: SIM115  # closed below
    with out:
        yield out
