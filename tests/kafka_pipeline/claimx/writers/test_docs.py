"""The description of the tables is the one that the code gives."""

from __future__ import annotations

import pytest

from kafka_pipeline.claimx.writers.docs import PAGE, ROWS, SOURCES, source_of, tables_markdown
from kafka_pipeline.claimx.writers.tables import TABLES


def test_the_page_is_what_the_code_says() -> None:
    """Stale? Run `make docs` and commit the page."""
    assert PAGE.read_text(encoding="utf-8") == tables_markdown()


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described(name: str) -> None:
    """By type, null, rule and source, in the order of the table; what a row is stands above."""
    spec = TABLES[name]
    section = tables_markdown().split(f"## {spec.name}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cell[0] for cell in cells] == list(spec.names)
    assert all(all(cell) for cell in cells)
    assert ROWS[name] in section


@pytest.mark.parametrize("name", TABLES)
def test_no_source_is_told_of_a_column_that_does_not_exist(name: str) -> None:
    """A renamed column takes its source along."""
    assert set(SOURCES[name]) <= set(TABLES[name].names)
    assert all(source_of(name, column) for column in TABLES[name].names)
