"""What to tell of an exception, and how to end: one table for all parts."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from kafka_pipeline.claimx.dlq.desk import RefusedError
from kafka_pipeline.cli.errors import CannotStartError, ExitCode
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import BrokerRefusedError, BrokerUnavailableError, MessagingError
from kafka_pipeline.common.observability.redaction import redact, safe_error_text
from kafka_pipeline.config import ConfigError

__all__ = ["Verdict", "one_line", "redact", "verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to tell, and how to end."""

    lines: tuple[str, ...]
    code: ExitCode


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
            return (f"broker: {one_line(error)}",)
        case PipelineError():
            return (f"{one_line(error)} ({error.reason})",)
        case CannotStartError() | RefusedError() | OSError():
            return (one_line(error),)
        case KeyboardInterrupt():
            return ("interrupted",)
        case _:
            return (_unexpected(error),)


def one_line(error: BaseException) -> str:
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
