"""`doctor`: whether everything is there that the pipeline needs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from typing import Annotated

import typer

from kafka_pipeline.claimx.doctor import Examination, Finding, Status, checks, examine
from kafka_pipeline.cli.errors import ExitCode
from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.config import ConfigError, PipelineConfig

CONFIG = "config"


def doctor(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of the checks.")] = False,
) -> None:
    """Check everything the pipeline needs, and say what to do where it is missing.

    Checked side by side, each with a time-out: the settings, the broker and its topics, the API and its token, reading
    and writing in the lake, the clock against the API's, the disk. One line a check; nothing is left behind but the
    folders of a lake, a cache or a broker of this machine.

    Ends with 1 if a check failed; a warning is no failure.
    """
    findings, config = _settings(context)
    result = Examination(findings=[], timed_out=False)
    if config is not None:
        configure_logging(config.log_format, "error")
        result = asyncio.run(_examine(config, as_json=as_json, before=findings))
    elif as_json:
        _print_json(findings)
    else:
        _print(findings)
    failed = not result.passed or any(each.status is Status.FAILED for each in findings)
    code = ExitCode.PROBLEM if failed else ExitCode.OK
    if result.timed_out:
        sys.stdout.flush()
        os._exit(code)  # a thread that hangs would be waited for, for ever
    if failed:
        raise typer.Exit(code)


def _settings(context: typer.Context) -> tuple[list[Finding], PipelineConfig | None]:
    """Return what is to be said of the settings, one finding a problem, and the settings if they can be used."""
    try:
        config = invocation(context).load_config()
    except ConfigError as error:
        return [
            Finding(
                check=CONFIG,
                status=Status.FAILED,
                told=" in ".join(part for part in (each.field, each.origin) if part) + f": {each.what}",
                remedy=each.remedy,
            )
            for each in error.problems
        ], None
    return [Finding(check=CONFIG, status=Status.OK, told="the settings are valid, each and together")], config


async def _examine(config: PipelineConfig, *, as_json: bool, before: list[Finding]) -> Examination:
    result = await examine(checks(config, os.environ))
    findings = [*before, *result.findings]
    # Told in here: after a time-out the loop would wait for what hangs before it ends.
    if as_json:
        _print_json(findings)
    else:
        _print(findings)
    return result


def _print(findings: list[Finding]) -> None:
    for each in findings:
        remedy = f"; {each.remedy}" if each.remedy else ""
        typer.echo(f"{each.status.value:<8} {each.check:<7} {each.told}{remedy}")


def _print_json(findings: list[Finding]) -> None:
    typer.echo(json.dumps([dataclasses.asdict(each) for each in findings], indent=2))
