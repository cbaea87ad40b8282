"""The commands that run workers: each of the five, and all of them in one process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated

import structlog
import typer
import uvloop

from kafka_pipeline.claimx.monitoring import HealthBoard
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.cli.errors import starting
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.observability.health import HealthServer
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import PipelineConfig

_YOUNG_OBJECTS = 100_000
"""So many new objects, freed ones not counted, let the collector of cycles look at them."""

_log = structlog.get_logger(__name__)

ExitWhenIdle = Annotated[
    float | None,
    typer.Option(
        "--exit-when-idle",
        metavar="SECONDS",
        min=0.0,
        help="End with 0 once every topic but the dead letters is drained and committed for that long.",
    ),
]


def claimx_all(context: typer.Context, *, exit_when_idle: ExitWhenIdle = None) -> None:
    """Run all five workers in one process.

    SIGTERM and SIGINT let what is in flight finish and be committed, and end it with 0; a second signal ends it at
    once, which loses nothing. health_port serves the probes: /startupz, /livez, /readyz, and /metrics. All this holds
    for each worker by itself, too.
    """
    _run(context, tuple(WorkerKind), exit_when_idle)


def claimx_ingester(context: typer.Context) -> None:
    """Append raw events to the lake.

    Each event is also queued for its enrichment; what is no event goes to the dead letters.
    """
    _run(context, (WorkerKind.INGESTER,))


def claimx_enricher(context: typer.Context) -> None:
    """Ask the API for rows, and queue the files.

    Each event is enriched by the handler of its type; events of other types are counted and skipped.
    """
    _run(context, (WorkerKind.ENRICHER,))


def claimx_downloader(context: typer.Context) -> None:
    """Download queued files into the cache."""
    _run(context, (WorkerKind.DOWNLOADER,))


def claimx_uploader(context: typer.Context) -> None:
    """Upload cached files into the lake."""
    _run(context, (WorkerKind.UPLOADER,))


def claimx_result_processor(context: typer.Context) -> None:
    """Bring each outcome into the inventory."""
    _run(context, (WorkerKind.RESULT_PROCESSOR,))


def _run(context: typer.Context, kinds: Sequence[WorkerKind], exit_when_idle_s: float | None = None) -> None:
    config = invocation(context).load_config()
    configure_logging(config.log_format, config.log_level)
    _spare_the_collector()
    uvloop.run(run_workers(config, kinds, exit_when_idle_s=exit_when_idle_s))


def _spare_the_collector() -> None:
    """Let the collector of cycles look less often, and never again at what was imported.

    Thousands of records are in flight, none of them in a cycle, and it would go through all of them again and again: in
    a full ingester that was a third of all time. Counting references frees them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


async def run_workers(
    config: PipelineConfig, kinds: Sequence[WorkerKind], *, exit_when_idle_s: float | None = None
) -> None:
    """Run these workers until a signal says stop, or until there is nothing left to do."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        with starting(kinds[0].value if len(kinds) == 1 else "claimx-all"):
            board = HealthBoard()
            if config.health_port:
                server = HealthServer(config.health_port, started=board.started, live=board.live, ready=board.ready)
                await stack.enter_async_context(server)
            pipeline = await stack.enter_async_context(Pipeline(config, kinds, environ=os.environ))
            board.watch(pipeline)
        with stop_on_signals(stop):
            await pipeline.run(stop, exit_when_idle_s=exit_when_idle_s)


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for a stop; the second one ends the process at once, drained or not."""
    loop = asyncio.get_running_loop()
    asked: set[signal.Signals] = set()

    def on_signal(number: signal.Signals) -> None:
        if asked:
            os._exit(128 + number)
        asked.add(number)
        _log.info("stopping", signal=number.name)
        stop.set()

    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
