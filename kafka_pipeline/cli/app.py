"""The program `kafka-pipeline`: every command of it, registered here and nowhere else.

A command module offers functions or a Typer app of its own, imports nothing from here, and asks
`invocation(context).load_config()` for the configuration. What it raises becomes a line and an exit code in `errors`.
"""

from __future__ import annotations

from typing import Final

import typer

from kafka_pipeline.cli import errors
from kafka_pipeline.cli.lazy import Entry
from kafka_pipeline.cli.program import new_program

PROGRAM: Final = "kafka-pipeline"
DLQ_PROGRAM: Final = "claimx-dlq"
DLQ_MODULE: Final = "kafka_pipeline.claimx.dlq.cli"
DLQ_SUMMARY: Final = "Look at the dead letters, send them back, edit or delete them."


def _entry(name: str, module: str, summary: str, attribute: str | None = None) -> Entry:
    """Return a command of this package; its function has its name."""
    return Entry(
        name=name,
        module=f"kafka_pipeline.cli.{module}",
        attribute=attribute or name.replace("-", "_"),
        summary=summary,
    )


ENTRIES: Final = (
    _entry("claimx-all", "workers", "Run all five workers in one process."),
    _entry("claimx-ingester", "workers", "Append raw events to the lake."),
    _entry("claimx-enricher", "workers", "Ask the API for rows, and queue the files."),
    _entry("claimx-downloader", "workers", "Download queued files into the cache."),
    _entry("claimx-uploader", "workers", "Upload cached files into the lake."),
    _entry("claimx-result-processor", "workers", "Bring each outcome into the inventory."),
    _entry("claimx-publish", "publish", "Send JSON lines, unchanged, to the events topic."),
    _entry("claimx-topics", "topics", "Create the topics that are missing, and list all."),
    _entry("claimx-maintain", "maintain", "Keep the tables fast and small."),
    Entry(name=DLQ_PROGRAM, module=DLQ_MODULE, attribute="app", summary=DLQ_SUMMARY),
    _entry("doctor", "doctor", "Check everything the pipeline needs, and say what to do where it is missing."),
    _entry("config", "config", "Show or check the settings.", "app"),
    _entry("simulate", "simulate", "Run a ClaimX on this machine."),
    _entry("demo", "demo.command", "See the whole pipeline work, and have it proved."),
)
"""In the order of the help: work, look after, try out."""

app = new_program("ClaimX events from Kafka become rows and files in a Delta lakehouse.", ENTRIES)


def dlq_program() -> typer.Typer:
    """Return `claimx-dlq`, which has the commands of `kafka-pipeline claimx-dlq`."""
    from kafka_pipeline.claimx.dlq import cli as dlq  # noqa: PLC0415 - the big program does without it until it is run

    program = new_program(DLQ_SUMMARY)
    program.registered_commands = dlq.app.registered_commands
    return program


def main() -> int:
    """Run `kafka-pipeline` with the arguments of the process and return its exit code."""
    return errors.run(app, program=PROGRAM)


def dlq_main() -> int:
    """Run `claimx-dlq`, which is `kafka-pipeline claimx-dlq` under a name of its own."""
    return errors.run(dlq_program(), program=DLQ_PROGRAM)
