"""`--help`: what a newcomer reads first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.cli import errors
from kafka_pipeline.cli.app import ENTRIES, PROGRAM, app
from kafka_pipeline.cli.lazy import Entry

ROOT = Path(__file__).parents[3]

COMMANDS_OF_DESIGN = {
    *("claimx-ingester", "claimx-enricher", "claimx-downloader", "claimx-uploader", "claimx-result-processor"),
    *("claimx-all", "claimx-publish", "claimx-topics", "claimx-maintain", "simulate", "demo", "doctor"),
    *("config show", "config check", "claimx-dlq list"),
}
WIDTH = 80
HEAVY = ("aiohttp", "azure", "confluent_kafka", "deltalake", "obstore", "prometheus_client", "pyarrow", "pydantic")
"""What takes long to import."""


def paths(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the program and every command of it, by the words that lead there."""
    yield before
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*before, name))


ALL = [(), *(path for entry in ENTRIES for path in paths(entry.load(), (entry.name,)))]


def test_every_command_of_the_design_is_there() -> None:
    """Section 9 of the design."""
    assert {" ".join(path) for path in ALL} >= COMMANDS_OF_DESIGN


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_command_is_listed_with_the_first_sentence_of_its_own_help(entry: Entry) -> None:
    """The list is written down, so that it needs no import; it must not tell anything else."""
    assert entry.load().get_short_help_str(limit=200).rstrip(".") == entry.summary.rstrip(".")


def test_help_and_completion_import_nothing_that_takes_long() -> None:
    """Whoever presses the tab key does not wait for a Kafka client to load."""
    script = (
        "import sys; from kafka_pipeline.cli import app, errors; errors.run(app.app, program='p', arguments=['-h']);"
        f"sys.exit(', '.join(name for name in {HEAVY} if name in sys.modules) or None)"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("kafka-pipeline claimx-t", "claimx-topics"), ("kafka-pipeline claimx-topics --ch", "--check")],
)
def test_the_shell_completes_commands_and_their_options(
    words: str, offered: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As bash asks for it."""
    monkeypatch.setenv("_KAFKA_PIPELINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert errors.run(app, program=PROGRAM, arguments=[]) == errors.ExitCode.OK
    assert offered in capfd.readouterr().out.split()


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
