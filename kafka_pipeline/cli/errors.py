"""The one place where an exception becomes a line on the terminal and an exit code.

    0    done
    1    the command found a problem, or failed on its way
    2    the command could not start: wrong usage or configuration, or a part it depends on does not answer
    130  interrupted from the keyboard

A traceback is shown with `--debug` alone, and redacted (I10). What to tell of which exception is in `verdict`, imported
when there is one: it knows the exceptions of every part, and help must not wait for them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import typer

from kafka_pipeline.cli.invocation import Invocation
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import MessagingError


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Done."""
    PROBLEM = 1
    """The command found a problem, or failed on its way."""
    CANNOT_START = 2
    """Wrong usage or configuration, or a part it depends on does not answer."""
    INTERRUPTED = 130
    """Interrupted from the keyboard."""


class CannotStartError(Exception):
    """A command cannot begin. The text is one safe line that names the part and the remedy."""


@contextmanager
def starting(part: str) -> Iterator[None]:
    """Name the part that is being reached (`the lake`): if it does not answer, the command cannot start.

    Raises CannotStartError for what the part itself raises (PipelineError, MessagingError, OSError).
    """
    try:
        yield
    except (PipelineError, MessagingError, OSError) as error:
        from kafka_pipeline.cli.verdict import one_line  # noqa: PLC0415 - see above

        raise CannotStartError(f"{part}: {one_line(error)}") from error


def run(app: typer.Typer, *, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; whatever went wrong is on stderr by then, one line each.

    `arguments` are those of the process unless given.
    """
    invocation = Invocation()
    try:
        app(args=arguments, prog_name=program, obj=invocation)
    except SystemExit as end:
        code = _code(end)
        if code == ExitCode.INTERRUPTED:
            _tell(program, "interrupted")
        return code
    except BaseException as error:  # noqa: BLE001 - this is where every exception ends
        from kafka_pipeline.cli.verdict import redact, verdict  # noqa: PLC0415 - see above

        if invocation.debug:
            sys.stderr.write(redact("".join(traceback.format_exception(error))))
        result = verdict(error)
        for line in result.lines:
            _tell(program, line)
        return result.code
    return ExitCode.OK


def _code(end: SystemExit) -> int:
    if end.code is None:
        return ExitCode.OK
    return end.code if isinstance(end.code, int) else ExitCode.PROBLEM


def _tell(program: str, line: str) -> None:
    sys.stderr.write(f"{program}: {line}\n")
