"""The program `kafka-pipeline`: every command of it, registered here and nowhere else.

A command module offers functions or a Typer app of its own, imports nothing from here, and asks
`invocation(context).load_config()` for the configuration. What it raises becomes a line and an exit code in `errors`.
"""

from __future__ import annotations

from typing import Final

from kafka_pipeline.claimx.dlq import cli as dlq
from kafka_pipeline.cli import config, errors, publish, simulate, topics, workers
from kafka_pipeline.cli.demo import command as demo
from kafka_pipeline.cli.program import new_program

PROGRAM: Final = "kafka-pipeline"
DLQ_PROGRAM: Final = "claimx-dlq"

app = new_program("ClaimX events from Kafka become rows and files in a Delta lakehouse.")
app.add_typer(config.app, name="config")
app.add_typer(dlq.app, name=DLQ_PROGRAM)

for command in (
    workers.claimx_all,
    workers.claimx_ingester,
    workers.claimx_enricher,
    workers.claimx_downloader,
    workers.claimx_uploader,
    workers.claimx_result_processor,
    publish.claimx_publish,
    topics.claimx_topics,
    simulate.simulate,
    demo.demo,
):
    app.command()(command)

dlq_app = new_program("Look at the dead letters of the ClaimX pipeline, send them back, edit or delete them.")
dlq_app.registered_commands = dlq.app.registered_commands


def main() -> int:
    """Run `kafka-pipeline` with the arguments of the process and return its exit code."""
    return errors.run(app, program=PROGRAM)


def dlq_main() -> int:
    """Run `claimx-dlq`, which is `kafka-pipeline claimx-dlq` under a name of its own."""
    return errors.run(dlq_app, program=DLQ_PROGRAM)
