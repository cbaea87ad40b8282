"""`config show` and `config check`: what is in force, and where it comes from."""

from __future__ import annotations

import json
from enum import Enum
from math import inf
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
import yaml

from kafka_pipeline.cli.invocation import invocation
from kafka_pipeline.config import PipelineConfig, Privacy, Source

app = typer.Typer(help="Show or check the settings.", no_args_is_help=True)

MASK: Final = "***"
"""Stands for a value that is not shown."""

JsonValue: TypeAlias = str | int | float | bool | list[str] | list[int] | None


@app.command()
def show(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of YAML.")] = False,
) -> None:
    """Print every setting with its value and where it comes from.

    The output is YAML that `--config` reads again. Values that may identify or admit someone are masked and commented
    out.
    """
    config = invocation(context).load_config()
    if as_json:
        typer.echo(json.dumps(rows(config), indent=2))
        return
    for row in rows(config):
        value = yaml.safe_dump(row["value"], default_flow_style=True, width=inf).removesuffix("...\n").strip()
        line = f"{row['field']}: {value}  # {row['source']}"
        typer.echo(f"# {line}" if row["value"] == MASK else line)


@app.command()
def check(context: typer.Context) -> None:
    """Check the settings, each and together.

    Ends with 0 if all is well, else with 2 and a line for each problem.
    """
    config = invocation(context).load_config()
    changed = sum(source is not Source.DEFAULT for source in config.sources.values())
    typer.echo(f"configuration is valid: {changed} settings given, {len(config.sources) - changed} by default")


def rows(config: PipelineConfig) -> list[dict[str, JsonValue]]:
    """Return each setting as field, value, source, environment variable and description, safe to print."""
    return [
        {
            "field": name,
            "value": _shown(getattr(config, name), masked=Privacy.NEVER_SHOWN in field.metadata),
            "source": config.sources[name].value,
            "variable": name.upper(),
            "description": field.description,
        }
        for name, field in PipelineConfig.model_fields.items()
    ]


def _shown(value: object, *, masked: bool) -> JsonValue:
    match value:
        case None:
            return None
        case _ if masked:
            return MASK
        case Enum() | Path():
            return str(value)
        case float() if value.is_integer():
            return int(value)
        case bool() | int() | float() | str():
            return value
        case tuple():
            return list(value)
        case _:
            raise TypeError(f"a setting of type {type(value).__name__} has no printed form")
