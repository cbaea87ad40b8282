"""Writes `docs/tables.md` from the table declarations: `python -m kafka_pipeline.claimx.writers.docs [--write]`.

What is said of a table comes from `tables.py`, where its values come from, from `sources.py`; here is only the page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kafka_pipeline.claimx.writers.sources import RESERVED, ROWS, SOURCES, source_of
from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake import tables as types
from kafka_pipeline.common.lake.rules import (
    ClockOf,
    Earliest,
    Guarded,
    Kept,
    Latest,
    Newest,
    OwnClock,
    Rule,
    Weak,
    Winner,
)
from kafka_pipeline.common.lake.tables import Column, Mode, TableSpec

PAGE: Final = Path(__file__).parents[3] / "docs" / "tables.md"

JOIN: Final = """\
SELECT t.task_id, t.status, f.name AS form
FROM claimx_tasks t
LEFT JOIN claimx_task_templates f ON t.template_id = f.template_id AND t.project_id = f.project_id"""
"""The join that goes wrong most easily; a test runs it."""

_TYPES: Final = (
    (types.STRING, "str"),
    (types.INT, "int"),
    (types.BOOL, "bool"),
    (types.DOUBLE, "double"),
    (types.DATE, "date"),
    (types.TIMESTAMP, "timestamp UTC µs"),
    (types.STRINGS, "list of str"),
)

LEGEND: Final[tuple[tuple[type[Rule], str, str], ...]] = (
    (Newest, "newest", "The later observation wins; a null never replaces a value, an older one only fills a null."),
    (Guarded, "newest, no filling", "As newest, but an older observation does not even fill a null."),
    (Winner, "with its row", "Taken from the later observation, null or not."),
    (Kept, "first", "The first value, then kept."),
    (Earliest, "earliest", "The earliest value, whichever observation came later."),
    (Latest, "latest", "The latest value, whichever observation came later."),
    (Weak, "never back", "The value named never replaces another one, and any other replaces it; else as newest."),
    (OwnClock, "own time", "Ordered by the time in the column named instead of the row's; a null never competes."),
    (ClockOf, "time of", "When the value of the column named was observed."),
)
"""Every rule class, the word for it in the tables, and its sentence."""

_HEAD: Final = f"""\
# Tables

Generated from the code by `make docs`; do not edit. Every table is a Delta table in the lake at `lake_url`, with plain
features only, so that Fabric, Spark, Power BI and DuckDB read it.

- Times are UTC; an `int` has 64 bits. Ids are text, also where ClaimX sends numbers. Business dates of ClaimX are kept
  as the text received.
- Link columns hold no query and no fragment, unless `claimx_store_signed_links` is set: a signed link is a credential.
- `task_url`, `url` and `link_code` may open a form without login: grant them to those who may.
- Columns may be added in later versions; none is renamed or dropped. Select the columns you use.

A task's own id is its assignment's; its form is found by `template_id` **and** `project_id`:

```sql
{JOIN}
```

"""

_MERGE: Final = """\
## How two observations of one thing become one row

An observation is later if its guard clock is; none counts as the oldest. Rules:

| merge | meaning |
|---|---|
| key | Names the row. |
| as inserted | The first row stays as it is. |
"""


def tables_markdown() -> str:
    """Return the page."""
    legend = "".join(f"| {word} | {meaning} |\n" for _, word, meaning in LEGEND)
    sections = ("\n".join(["", *_section(name, spec), ""]) for name, spec in TABLES.items())
    return "".join((_HEAD, _reserved(), _MERGE, legend, *sections))


def _reserved() -> str:
    lines = ["Reserved columns, always null until a later version fills them:", ""]
    for name, spec in TABLES.items():
        columns = tuple(column for column, source in SOURCES[name].items() if source == RESERVED)
        if columns:
            lines.append(f"- {spec.name}: {_listed(columns)}")
    return "\n".join([*lines, "", ""])


def _section(name: str, spec: TableSpec) -> Iterator[str]:
    yield from (f"## {spec.name}", "", ROWS[name], "")
    yield from (f"- {fact}" for fact in _facts(spec))
    yield from ("", "| column | type | null | merge | source |", "|---|---|---|---|---|")
    for column in spec.columns:
        kind = next(word for known, word in _TYPES if known == column.type)
        null = "yes" if column.nullable else "no"
        yield f"| {column.name} | {kind} | {null} | {_rule(spec, column)} | {source_of(name, column.name)} |"


def _facts(spec: TableSpec) -> Iterator[str]:
    inserted = spec.mode is Mode.INSERT_ONLY
    yield f"lies in `Tables/{spec.name}`"
    yield f"merge key: {_listed(spec.keys)}"
    yield f"partition: {_listed(spec.partition_by) or 'none'}"
    yield f"mode: {'inserted once, never changed' if inserted else 'upserted'}"
    yield f"guard clock: {'none' if inserted or spec.clock is None else f'`{spec.clock}`'}"


def _rule(spec: TableSpec, column: Column) -> str:
    if column.name in spec.keys:
        return "key"
    if spec.mode is Mode.INSERT_ONLY:
        return "as inserted"
    word = next(word for kind, word, _ in LEGEND if type(column.rule) is kind)
    match column.rule:
        case Weak() as rule:
            return f"{word} to {_weakness(spec, rule)}"
        case OwnClock(clock=other) | ClockOf(value=other):
            return f"{word} {other}"
        case _:
            return word


def _weakness(spec: TableSpec, rule: Weak) -> str:
    words = ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in rule.values)
    if rule.only_at_equal_clock:
        words += f" at equal {spec.clock}"
    if rule.where is not None:
        words += " where {} is {}".format(*rule.where)
    return words


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: list[str] | None = None) -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description="Describe the tables of the lake, from their declarations.")
    parser.add_argument("--write", action="store_true", help="write docs/tables.md instead of printing")
    if parser.parse_args(arguments).write:
        PAGE.write_text(tables_markdown(), encoding="utf-8")
    else:
        sys.stdout.write(tables_markdown())


if __name__ == "__main__":
    main()
