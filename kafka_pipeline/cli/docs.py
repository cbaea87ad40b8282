"""Writes `docs/cli.md` from the program itself: `python -m kafka_pipeline.cli.docs [--write]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from kafka_pipeline.cli.app import ENTRIES, PROGRAM, app
from kafka_pipeline.cli.errors import ExitCode

PAGE: Final = Path(__file__).parents[2] / "docs" / "cli.md"
WIDTH: Final = 100

_MEANINGS: Final = {
    ExitCode.OK: "Done. A worker that was told to stop, and drained, ends so too.",
    ExitCode.PROBLEM: "A problem was found (a check failed, a topic is missing), or the command failed on its way.",
    ExitCode.CANNOT_START: "It could not start: wrong usage or settings, or a part it depends on does not answer.",
    ExitCode.INTERRUPTED: "Interrupted from the keyboard.",
}

_HEAD: Final = """\
# Commands

Generated from the code by `make docs`; do not edit. `python -m kafka_pipeline` is the same as `kafka-pipeline`, and
`claimx-dlq` the same as `kafka-pipeline claimx-dlq`.

What was wrong is told on stderr, a line each with what to do about it; a traceback is shown with `--debug` alone, which
stands before the command, and redacted. Where a command's output is data, `--json` gives it to programs, and nothing
else is on stdout.

| exit code | meaning |
|---|---|
"""

_COMPLETION: Final = """
`kafka-pipeline --install-completion` teaches bash, zsh, fish or PowerShell the commands and options;
`--show-completion` prints what it would install. It answers at once: nothing of the pipeline is loaded for it.
"""


def cli_markdown() -> str:
    """Return the page."""
    codes = "".join(f"| {code.value} | {meaning} |\n" for code, meaning in _MEANINGS.items())
    codes += "| 128 + n | Ended at once by the second signal n, before all was drained. |\n"
    return "".join((_HEAD, codes, _COMPLETION, *_sections()))


def _sections() -> Iterator[str]:
    yield from _section(typer.main.get_command(app), ())
    for entry in ENTRIES:
        yield from _tree(entry.load(), (entry.name,))


def _tree(command: Any, path: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401 - Typer keeps the type to itself
    yield from _section(command, path)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _tree(inner, (*path, name))


def _section(command: Any, path: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401 - as above
    words = " ".join((PROGRAM, *path))
    with typer.Context(
        command,
        info_name=words,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    ) as context:
        text = command.get_help(context)
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    yield f"\n{'#' * (2 if len(path) < 2 else 3)} {words}\n\n```text\n{lines}\n```\n"


def main() -> int:
    """Print the page, or write it where it belongs."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(cli_markdown(), encoding="utf-8")
    else:
        sys.stdout.write(cli_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
