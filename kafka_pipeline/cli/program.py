"""What every program of ours has in common: the global options, how help looks, what exit codes mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer

from kafka_pipeline.cli.invocation import global_options
from kafka_pipeline.cli.lazy import Entry, lazy_group

EPILOG: Final = (
    "Settings: defaults < --config FILE < environment (the field in capitals) < --set FIELD=VALUE; "
    "`kafka-pipeline config show` lists them all. "
    "Exit codes: 0 done, 1 a problem was found, 2 could not start, 130 interrupted."
)


def new_program(help_text: str, entries: Sequence[Entry] = ()) -> typer.Typer:
    """Return a program that takes the global options and has these commands."""
    return typer.Typer(
        cls=lazy_group(entries),
        help=help_text,
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        callback=global_options,
    )
