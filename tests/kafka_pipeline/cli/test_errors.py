"""Every exception ends as a line and an exit code, and none of them tells a secret."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NoReturn

import pytest
import typer

from kafka_pipeline.claimx.dlq import cli as dlq
from kafka_pipeline.cli.app import dlq_program
from kafka_pipeline.cli.errors import CannotStartError, ExitCode, run, starting
from kafka_pipeline.cli.program import new_program
from kafka_pipeline.cli.verdict import verdict
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.messaging import BrokerRefusedError, BrokerUnavailableError, ProduceError
from kafka_pipeline.config import ConfigError, Problem

LINK = "https://files.example.com/a?X-Amz-Signature=hunter2"

CONFIG_ERROR = ConfigError(
    [
        Problem(field="a", what="is wrong", remedy="mend it", origin="x.yaml line 1"),
        Problem(field="b", what="is wrong", remedy="mend it"),
    ]
)

ENDS = [
    (CONFIG_ERROR, ExitCode.CANNOT_START, ("a in x.yaml line 1: is wrong; mend it", "b: is wrong; mend it")),
    (CannotStartError("the lake: nobody there"), ExitCode.CANNOT_START, ("the lake: nobody there",)),
    (BrokerUnavailableError(), ExitCode.CANNOT_START, ("broker: No broker answers.",)),
    (BrokerRefusedError(), ExitCode.CANNOT_START, ("broker: The broker refused the request.",)),
    (ProduceError(), ExitCode.PROBLEM, ("broker: A message was not acknowledged by the broker.",)),
    (
        PipelineError("project 900001", Category.PERMANENT, reason="not_found"),
        ExitCode.PROBLEM,
        ("project 900001 (not_found)",),
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "events.jsonl"),
        ExitCode.PROBLEM,
        ("events.jsonl: No such file",),
    ),
    (TimeoutError(), ExitCode.PROBLEM, ("TimeoutError",)),
    (KeyboardInterrupt(), ExitCode.INTERRUPTED, ("interrupted",)),
]


@pytest.mark.parametrize(("error", "code", "lines"), ENDS, ids=lambda value: type(value).__name__)
def test_each_exception_has_its_lines_and_its_code(
    error: BaseException, code: ExitCode, lines: tuple[str, ...]
) -> None:
    """One table from exceptions to endings."""
    result = verdict(error)
    assert (result.code, result.lines) == (code, lines)


def test_of_several_failures_each_is_told_once_and_the_worst_code_counts() -> None:
    """Workers that fail together do not hide each other."""
    group = ExceptionGroup("x", [ProduceError(), ExceptionGroup("y", [BrokerUnavailableError(), ProduceError()])])
    result = verdict(group)
    assert result.code is ExitCode.CANNOT_START
    assert result.lines == ("broker: A message was not acknowledged by the broker.", "broker: No broker answers.")


@pytest.mark.parametrize(
    "kind", [OSError, ProduceError, ValueError, lambda text: PipelineError(text, Category.UNKNOWN)]
)
def test_no_line_tells_a_link(kind: Callable[[str], Exception]) -> None:
    """Texts of others are redacted, texts nobody foresaw stay out (I10)."""
    [line] = verdict(kind(f"failed at {LINK}\nand more")).lines
    assert "hunter2" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ProduceError(), TimeoutError()]
)
def test_what_fails_while_starting_names_the_part_and_ends_with_code_2(error: Exception) -> None:
    """A part that does not answer at the start is told by name."""
    with pytest.raises(CannotStartError, match=r"^the lake: ") as caught, starting("the lake"):
        raise error
    assert verdict(caught.value).code is ExitCode.CANNOT_START


def test_a_bug_while_starting_stays_a_bug() -> None:
    """Only the failures of parts are renamed."""
    with pytest.raises(KeyError), starting("the lake"):
        raise KeyError


def _program(failure: BaseException) -> typer.Typer:
    program = new_program("Fails.")

    @program.command()
    def fail() -> NoReturn:
        """Fail."""
        raise failure

    return program


def _ended(failure: BaseException, *arguments: str) -> int:
    return run(_program(failure), program="x", arguments=[*arguments, "fail"])


@pytest.mark.parametrize(("error", "code", "lines"), ENDS, ids=lambda value: type(value).__name__)
def test_a_command_ends_as_the_table_says(
    error: BaseException, code: ExitCode, lines: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """The lines are on stderr, each under the program's name, and stdout stays clean."""
    assert _ended(error) == code
    assert capfd.readouterr() == ("", "".join(f"x: {line}\n" for line in lines))


def test_an_unforeseen_exception_is_one_line_without_its_text(capfd: pytest.CaptureFixture[str]) -> None:
    """The line names the class, the place and the way to see more."""
    assert _ended(ValueError(LINK)) == ExitCode.PROBLEM
    told = capfd.readouterr().err
    assert told.startswith("x: unexpected ValueError at ")
    assert "--debug" in told
    assert told.count("\n") == 1
    assert "hunter2" not in told


def test_debug_shows_the_traceback_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    """Where it happened is shown, the link in its text is not."""
    assert _ended(ValueError(LINK), "--debug") == ExitCode.PROBLEM
    told = capfd.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert "in fail" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("end", "code"), [(typer.Exit(), 0), (typer.Exit(1), 1), (SystemExit(), 0), (SystemExit("x"), 1)]
)
def test_a_command_that_ends_itself_keeps_its_code(end: BaseException, code: int) -> None:
    """`typer.Exit(1)` is how a command says that it found a problem."""
    assert _ended(end) == code


def test_the_dead_letter_program_has_the_commands_of_the_big_one() -> None:
    """`claimx-dlq list` is `kafka-pipeline claimx-dlq list`."""
    program = dlq_program()
    assert program.registered_commands == dlq.app.registered_commands
    assert run(program, program="claimx-dlq", arguments=["--help"]) == ExitCode.OK
