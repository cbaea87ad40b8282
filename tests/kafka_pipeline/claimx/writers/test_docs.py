"""The description of the tables is the one that the code gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafka_pipeline.claimx.writers import docs
from kafka_pipeline.claimx.writers.docs import LEGEND, PAGE, tables_markdown
from kafka_pipeline.claimx.writers.entities import LINK_COLUMNS
from kafka_pipeline.claimx.writers.sources import RESERVED, ROWS, SOURCES, source_of
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake import rules

WORDS = {
    "string": "str",
    "int64": "int",
    "bool": "bool",
    "double": "double",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp UTC µs",
}


def section_of(name: str) -> str:
    """Return what the page says of one table."""
    return tables_markdown().split(f"## {TABLES[name].name}\n")[1].split("\n## ")[0]


def cells_of(name: str) -> list[list[str]]:
    """Return the lines of a table's columns, cell by cell, without the head."""
    lines = [line for line in section_of(name).splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def merge_of(name: str) -> dict[str, str]:
    """Return the words for the merge, by column."""
    return {cells[0]: cells[3] for cells in cells_of(name)}


def test_the_page_is_what_the_code_says() -> None:
    """A page that tells yesterday's columns is worse than none."""
    current = PAGE.read_text(encoding="utf-8") == tables_markdown()
    assert current, "docs/tables.md is stale: run `make docs` and commit the page"


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_described(name: str) -> None:
    """By type, null, rule and source, in the order of the table."""
    cells = cells_of(name)
    expected = [
        (column.name, WORDS.get(str(column.type), "list of str"), "yes" if column.nullable else "no")
        for column in TABLES[name].columns
    ]
    assert expected == [(column, kind, null) for column, kind, null, _, _ in cells]
    assert all(merge and source for *_, merge, source in cells)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_says_what_it_is_and_how_it_lies(name: str) -> None:
    """A row in one sentence, then place, key, partition, mode and guard clock."""
    spec, section = TABLES[name], section_of(name)
    assert ROWS[name] in section
    assert f"lies in `Tables/{spec.name}`" in section
    assert f"merge key: {', '.join(f'`{key}`' for key in spec.keys)}\n" in section
    assert f"partition: {'`event_date`' if name == 'events' else 'none'}\n" in section
    assert ("inserted once" in section) == (name in {"events", "task_templates"})
    clock = {"events": "none", "task_templates": "none", "attachments": "`downloaded_at`"}
    assert f"guard clock: {clock.get(name, '`last_enriched_at`')}\n" in section


def test_every_merge_rule_is_explained_once() -> None:
    """A new rule class needs its sentence."""
    explained = [kind for kind, _, _ in LEGEND]
    known = {kind for kind in vars(rules).values() if isinstance(kind, type) and issubclass(kind, rules.Rule)}
    assert known - {rules.Rule} == set(explained)
    assert all(f"| {word} | {meaning} |" in tables_markdown() for _, word, meaning in LEGEND)
    assert len({word for _, word, _ in LEGEND}) == len(explained)


def test_where_weakness_is_limited_the_page_says_so() -> None:
    """Only a policyholder stays primary; only within one download `completed` stays."""
    assert merge_of("contacts")["is_primary_contact"] == "never back to false where contact_type is POLICYHOLDER"
    assert merge_of("contacts")["invite_status"] == "never back to INVITED"
    assert merge_of("attachments")["status"] == "never back to uploaded at equal downloaded_at"


@pytest.mark.parametrize("name", TABLES)
def test_no_source_is_told_of_a_column_that_does_not_exist(name: str) -> None:
    """A renamed column takes its source along."""
    assert set(SOURCES[name]) <= set(TABLES[name].names)
    assert all(source_of(name, column) for column in TABLES[name].names)


def test_reserved_columns_are_listed() -> None:
    """So that nobody waits for values in them."""
    reserved = {(name, column) for name in TABLES for column in SOURCES[name] if source_of(name, column) == RESERVED}
    assert {name for name, _ in reserved} == {"projects", "contacts", "external_links"}
    head = tables_markdown().split("\n## ")[0]
    lists = {line.split(":")[0]: line for line in head.splitlines() if line.startswith("- claimx_")}
    assert all(f"`{column}`" in lists[f"- {TABLES[name].name}"] for name, column in reserved)


def test_every_link_column_is_said_to_have_no_query() -> None:
    """What the writer cuts [SEC-8] is what readers are told."""
    for name, columns in LINK_COLUMNS.items():
        assert all("without query and fragment" in source_of(name, column) for column in columns)


def test_the_command_prints_the_page_or_writes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`make docs` writes."""
    docs.main([])
    assert capsys.readouterr().out == tables_markdown()
    monkeypatch.setattr(docs, "PAGE", tmp_path / "tables.md")
    docs.main(["--write"])
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == tables_markdown()
