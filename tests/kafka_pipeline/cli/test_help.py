"""`--help`: what a newcomer reads first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from kafka_pipeline.cli import errors
from kafka_pipeline.cli.app import PROGRAM, app

COMMANDS_OF_DESIGN = {
    *("claimx-ingester", "claimx-enricher", "claimx-downloader", "claimx-uploader", "claimx-result-processor"),
    *("claimx-all", "claimx-publish", "claimx-topics", "simulate", "demo", "config show", "claimx-dlq list"),
}
WIDTH = 80


def paths(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the program and every command of it, by the words that lead there."""
    yield before
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*before, name))


ALL = list(paths(typer.main.get_command(app)))


def test_every_command_that_the_first_issue_needs_is_there() -> None:
    """Section 9 of the design, as far as the straight path needs it."""
    assert {" ".join(path) for path in ALL} >= COMMANDS_OF_DESIGN


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_reads_well_and_ends_with_0(
    path: tuple[str, ...], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage, a whole sentence of what it does, every option with a word about it; no line too long for a terminal."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    assert errors.run(app, program=PROGRAM, arguments=[*path, "--help"]) == errors.ExitCode.OK
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith(f"Usage: {' '.join((PROGRAM, *path))} ")
    assert lines[2].startswith("  ")
    assert lines[2].strip()[0].isupper()
    assert "..." not in out.replace("[ARGS]...", "")  # no description is cut short
    assert max(map(len, lines)) <= WIDTH
    for line in lines:
        assert not line.lstrip().startswith("--") or len(line.split()) > 1, f"an option without a word: {line}"


async def test_help_is_the_same_from_outside(program: Any) -> None:
    """`python -m kafka_pipeline --help`, as a process of its own, lists the commands."""
    ended = await program.run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(name.partition(" ")[0] in ended.out for name in COMMANDS_OF_DESIGN)
