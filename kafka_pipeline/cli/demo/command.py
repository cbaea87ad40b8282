"""`demo`: see the whole pipeline work, and have it proved."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from kafka_pipeline.cli.demo.folder import DemoFolder, Plan, new_run_id
from kafka_pipeline.cli.demo.progress import progress_view
from kafka_pipeline.cli.demo.report import print_report
from kafka_pipeline.cli.demo.run import Interrupted, new_simulator, run_demo
from kafka_pipeline.cli.errors import CannotStartError, ExitCode
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.cli.simulate import MAX_LATENCY_MS, believable
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import load_config

_KAFKA_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
_KAFKA_SCRIPT = Path(__file__).parents[3] / "scripts" / "kafka"


def demo(
    context: typer.Context,
    *,
    data_dir: Annotated[Path, typer.Option(help="The demo's folder. Emptied at the start.")] = Path("data/demo"),
    events: Annotated[int, typer.Option(min=1, help="Events to publish, flawed ones included.")] = 1_000,
    projects: Annotated[int, typer.Option(min=1, help="Projects they are about.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world, feed and files.")] = 1,
    latency_ms: Annotated[
        float,
        typer.Option(min=0, max=MAX_LATENCY_MS, help="Mean time the simulated API takes to answer."),
    ] = 20.0,
    kafka: Annotated[
        bool, typer.Option("--kafka", help=f"Use a real broker: ${_KAFKA_VARIABLE}, or one started by scripts/kafka.")
    ] = False,
    faults: Annotated[
        bool,
        typer.Option(
            "--faults", help="Let ClaimX fail: 30 % errors, an outage, bad links, cut connections, poisoned events."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a demo that was stopped or killed.")] = False,
) -> None:
    """See the whole pipeline work, and have it proved.

    Starts a simulated ClaimX, publishes events, runs all workers, and compares the lake with the truth.

    With --faults everything goes wrong that may, and the end must be the same: what is poisoned waits in the dead
    letters, all the rest is in the lake; then the cause is repaired, the dead letters are sent again, and nothing is
    missing.

    Ends with 0 if every row and file is as it must be, with 1 and the first differences if not.
    """
    invocation(context).refuse_settings("demo")
    folder = DemoFolder(data_dir)
    console = Console()
    with folder.held():
        if resume:
            plan = folder.plan()
        else:
            plan = Plan(
                seed=seed,
                events=events,
                projects=projects,
                latency_ms=latency_ms,
                kafka_bootstrap_servers=_kafka(console) if kafka else None,
                run_id=new_run_id(),
                faults=faults,
            )
        with believable():
            simulator = new_simulator(plan)
        if not resume:
            folder.start_over(plan)
        with folder.log.open("a") as log:
            configure_logging("json", "info", stream=log)
            broker = plan.kafka_bootstrap_servers or "the embedded broker"
            console.print(f"{plan.events:,} events over {plan.projects:,} projects on {broker}, into {folder.path}")
            if plan.faults:
                console.print("ClaimX fails on purpose: this takes a little more than a minute")
            try:
                result = uvloop.run(run_demo(folder, plan, simulator, progress_view()))
            except Interrupted:
                console.print("Stopped; everything done so far is kept. --resume goes on from here.")
                raise typer.Exit(ExitCode.INTERRUPTED) from None
        print_report(result, console)
        console.print(f"Lake: {folder.lake}   log: {folder.log}")
        if result.problems:
            raise typer.Exit(ExitCode.PROBLEM)


def _kafka(console: Console) -> str:
    """Return the address of a real broker: the one that is named, or one that is started for this."""
    named = os.environ.get(_KAFKA_VARIABLE, "").strip()
    if named:
        load_config(None, {}, {_KAFKA_VARIABLE: named})
        return named
    if not _KAFKA_SCRIPT.exists():
        raise CannotStartError(f"set {_KAFKA_VARIABLE}: scripts/kafka, which would start a broker, is not here")
    console.print("Starting Apache Kafka (stop it with scripts/kafka down)")
    started = subprocess.run([_KAFKA_SCRIPT, "up"], check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if started.returncode or not started.stdout.strip():
        raise CannotStartError(f"scripts/kafka could not start a broker: see above, or set {_KAFKA_VARIABLE}")
    return started.stdout.split()[-1]
