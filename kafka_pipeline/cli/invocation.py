"""What was said before the name of the command: which configuration, and how much to tell of a failure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kafka_pipeline.config import PipelineConfig

DISTRIBUTION = "kafka-pipeline"


@dataclass(slots=True, kw_only=True)
class Invocation:
    """The global options of one run; filled while the command line is read."""

    config_file: Path | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    debug: bool = False

    def load_config(self, overrides: Mapping[str, str] | None = None) -> PipelineConfig:
        """Load the configuration for this run. `overrides`, from the command's own options, win over `--set`.

        Raises ConfigError.
        """
        from kafka_pipeline.config import load_config  # noqa: PLC0415 - help needs no settings, and shall not wait

        return load_config(self.config_file, {**self.overrides, **(overrides or {})}, os.environ)

    def refuse_settings(self, command: str) -> None:
        """Tell whoever gives settings to a command that has its own. Raises typer.BadParameter."""
        if self.config_file is not None or self.overrides:
            raise typer.BadParameter(f"{command} takes no settings: leave --config and --set out")


def invocation(context: typer.Context) -> Invocation:
    """Return the global options of the run that a command belongs to."""
    return context.ensure_object(Invocation)


def version() -> str:
    """Return the installed version."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit


def global_options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="YAML file with settings, one `field: value` a line."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="One setting; wins over file and environment. Repeatable."),
    ] = None,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where a command fails, redacted.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Read the options that stand before the command. The callback of every program of ours."""
    run = invocation(context)
    run.config_file = config
    run.debug = debug
    run.overrides = dict(map(_setting, settings or []))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter("takes FIELD=VALUE, such as --set log_level=debug", param_hint="--set")
    return name.strip(), value
