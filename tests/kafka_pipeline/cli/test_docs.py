"""The description of the commands is the one that the program gives."""

from __future__ import annotations

import re

from kafka_pipeline.cli.app import ENTRIES
from kafka_pipeline.cli.docs import PAGE, WIDTH, cli_markdown
from kafka_pipeline.cli.errors import ExitCode


def test_the_page_is_what_the_program_says_of_itself() -> None:
    """Whoever changes a command writes the page anew: `make docs`."""
    assert PAGE.read_text(encoding="utf-8") == cli_markdown()


def test_the_page_does_not_depend_on_the_terminal_it_is_made_on() -> None:
    """No line of a help is longer than the page is wide, and none was cut."""
    for block in re.findall(r"```text\n(.*?)\n```", cli_markdown(), re.DOTALL):
        lines = block.splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert not any(line.endswith("...") for line in lines if "[ARGS]..." not in line)


def test_every_command_and_every_exit_code_is_described() -> None:
    """None is left out."""
    page = cli_markdown()
    assert all(f"## kafka-pipeline {entry.name}\n" in page for entry in ENTRIES)
    assert all(f"\n| {code.value} | " in page for code in ExitCode)
