"""`simulate`: a ClaimX to point the pipeline at."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from kafka_pipeline.cli.errors import CannotStartError, starting
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.cli.workers import stop_on_signals
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.simulator.fault_script import FaultScriptError, parse_fault_script
from kafka_pipeline.simulator.faults import NO_FAULTS, FaultScript
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
    control_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port over which faults are changed.")] = 0,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What goes wrong, and when: a fault script, YAML or JSON."),
    ] = None,
    write_feed: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write the events as JSON lines for claimx-publish, and end."),
    ] = None,
) -> None:
    """Run a ClaimX on this machine. It behaves, unless it is told not to.

    It has the REST API, and signed links to files. Prints the settings that point the pipeline at it, then serves
    until it is interrupted.

    A fault script lists what goes wrong:

    \b
        - {at: 5s, for: 20s, outage: refuse}
        - {endpoint: project, fail: 0.3, status: [500, 503]}
        - {endpoint: file, cut: 0.1, times: 2}

    One word says what: latency, fail, throttle, outage, short_links, expired, cut or drip. The others are optional
    and say where, when and how often: endpoint (project, media, task, report, link, file, or api, files, all), ids,
    at, for, times. docs/faults.md has them all.

    While it runs, faults are changed, told and ended over HTTP:

    \b
        curl -X PUT --data-binary @FILE $SIMULATOR_FAULTS_URL
        curl $SIMULATOR_FAULTS_URL
        curl -X DELETE $SIMULATOR_FAULTS_URL
    """  # noqa: D301  # the backspace keeps lines as they are in the help
    invocation(context).refuse_settings("simulate")
    configure_logging("auto", "info")
    script = read_fault_script(faults) if faults is not None else NO_FAULTS
    with believable():
        settings = SimulatorSettings(
            seed=seed,
            projects=projects,
            events=events,
            latency_ms=latency_ms,
            link_lifetime_s=link_lifetime,
            api_port=port,
            storage_port=storage_port,
            control_port=control_port,
        )
        simulator = Simulator(settings, faults=script)
        feed = simulator.feed() if write_feed is not None else ()
    if write_feed is not None:
        _write_feed(feed, write_feed)
        return
    asyncio.run(_serve(simulator))


def read_fault_script(path: Path) -> FaultScript:
    """Read a fault script from a file. Raises CannotStartError, one for each thing that is wrong, in a group."""
    with starting("faults"):
        content = path.read_bytes()
    try:
        return parse_fault_script(content)
    except FaultScriptError as error:
        problems = error.problems
    raise ExceptionGroup("the fault script cannot be used", [CannotStartError(f"{path}: {each}") for each in problems])


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
        typer.echo(f"export SIMULATOR_FAULTS_URL={simulator.faults_url}")
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
