"""The one place where an exception becomes a line on the terminal and an exit code.

    0    done
    1    the command found a problem, or failed on its way
    2    the command could not start: wrong usage or configuration, or a part it depends on does not answer
    130  interrupted from the keyboard

A traceback is shown with `--debug` alone, and redacted (I10).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import typer

from kafka_pipeline.claimx.dlq.desk import RefusedError
from kafka_pipeline.cli.invocation import Invocation
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import BrokerRefusedError, BrokerUnavailableError, MessagingError
from kafka_pipeline.common.observability.redaction import redact, safe_error_text
from kafka_pipeline.config import ConfigError


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to tell, and how to end."""

    lines: tuple[str, ...]
    code: ExitCode


@contextmanager
def starting(part: str) -> Iterator[None]:
    """Name the part that is being reached (`the lake`): if it does not answer, the command cannot start.

    Raises CannotStartError for what the part itself raises (PipelineError, MessagingError, OSError).
    """
    try:
        yield
    except (PipelineError, MessagingError, OSError) as error:
        raise CannotStartError(f"{part}: {_one_line(error)}") from error


def verdict(error: BaseException) -> Verdict:
    """Decide what to tell of an exception, and how to end. Of a group each member is told; the worst code counts."""
    if isinstance(error, BaseExceptionGroup):
        verdicts = [verdict(member) for member in error.exceptions]
        lines = dict.fromkeys(line for each in verdicts for line in each.lines)
        return Verdict(lines=tuple(lines), code=max(each.code for each in verdicts))
    return Verdict(lines=_lines(error), code=_exit_code(error))


def _exit_code(error: BaseException) -> ExitCode:
    match error:
        case ConfigError() | CannotStartError() | RefusedError() | BrokerUnavailableError() | BrokerRefusedError():
            return ExitCode.CANNOT_START
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED
        case _:
            return ExitCode.PROBLEM


def _lines(error: BaseException) -> tuple[str, ...]:
    match error:
        case ConfigError():
            return tuple(map(str, error.problems))
        case MessagingError():
            return (f"broker: {_one_line(error)}",)
        case PipelineError():
            return (f"{_one_line(error)} ({error.reason})",)
        case CannotStartError() | RefusedError() | OSError():
            return (_one_line(error),)
        case KeyboardInterrupt():
            return ("interrupted",)
        case _:
            return (_unexpected(error),)


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


def _one_line(error: BaseException) -> str:
    """Tell an exception safely. Of a file, its path is told too: it is what the person at the terminal named."""
    text = safe_error_text(error)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        text = f"{redact(error.filename)}: {error.strerror}"
    return " ".join(text.split())


def _unexpected(error: BaseException) -> str:
    """Name the class and the place. The message stays out: nobody foresaw it, so nobody knows what it holds."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "kafka_pipeline" in frame.filename] or frames
    place = f" at {ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"unexpected {type(error).__name__}{place}; run it again with --debug before the command for the traceback"
