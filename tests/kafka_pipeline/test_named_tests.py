"""Pages that name a test to prove a promise name one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NAMED = re.compile(r"`(test_\w+|Test\w+)`")
DEFINED = re.compile(r"^\s*(?:(?:async )?(?:def|class) (?=[Tt]est))?([Tt]est\w+)(?=[(:]| =)", re.MULTILINE)


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """Return the names of all tests."""
    return {name for file in (ROOT / "tests").rglob("test_*.py") for name in DEFINED.findall(file.read_text())}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path, defined: set[str]) -> None:
    """A renamed test would otherwise leave a promise without its proof."""
    assert sorted(set(NAMED.findall(page.read_text())) - defined) == []


def test_every_invariant_names_its_tests() -> None:
    """I1 to I10, each held by something."""
    rows = re.findall(r"^\| (I[0-9]+) \|.*\| (.*) \|$", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    assert [name for name, held_by in rows if NAMED.search(held_by)] == [f"I{number}" for number in range(1, 11)]
