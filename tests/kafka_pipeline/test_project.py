"""The project keeps the shape that its design promises: a pure core, a lock that can be trusted, no loose ends."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import resolve_name
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

PURE_CORE = [
    "kafka_pipeline._settings.checks",
    "kafka_pipeline.claimx.blob_path",
    "kafka_pipeline.claimx.coercion",
    "kafka_pipeline.claimx.dlq.letters",
    "kafka_pipeline.claimx.dlq.masking",
    "kafka_pipeline.claimx.dlq.options",
    "kafka_pipeline.claimx.links",
    "kafka_pipeline.claimx.retry.link_rules",
    "kafka_pipeline.claimx.schemas.event_id",
    "kafka_pipeline.claimx.shapes",
    "kafka_pipeline.claimx.topic_drift",
    "kafka_pipeline.common.deadletter.marks",
    "kafka_pipeline.common.deadletter.record",
    "kafka_pipeline.common.deadletter.selection",
    "kafka_pipeline.common.deadletter.summary",
    "kafka_pipeline.common.failures",
    "kafka_pipeline.common.lake.layout",
    "kafka_pipeline.common.lake.merge",
    "kafka_pipeline.common.lake.rules",
    "kafka_pipeline.common.lake.sql",
    "kafka_pipeline.common.messaging.carried",
    "kafka_pipeline.common.messaging.record",
    "kafka_pipeline.common.observability.redaction",
    "kafka_pipeline.common.resilience.aimd",
    "kafka_pipeline.common.resilience.circuit",
    "kafka_pipeline.common.runtime.batching",
    "kafka_pipeline.common.runtime.liveness",
    "kafka_pipeline.common.runtime.offsets",
    "kafka_pipeline.common.runtime.outcomes",
]
"""Decisions on data. Whoever adds one of the kind adds it here."""

IMPURE = {
    "aiohttp", "asyncio", "confluent_kafka", "deltalake", "ftplib", "http", "multiprocessing", "obstore", "random",
    "secrets", "select", "signal", "socket", "sqlite3", "ssl", "subprocess", "threading", "time", "urllib.request",
}  # fmt: skip
"""Modules that do I/O, tell the time or throw dice."""

TIME_OF_DAY = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
"""What `datetime` and `date` offer for the same."""


@pytest.mark.parametrize("module", PURE_CORE)
def test_pure_core_does_no_io_tells_no_time_and_throws_no_dice(module: str) -> None:
    """A decision depends on its arguments alone, also through the modules of ours that it imports."""
    impure = {name: sorted(found) for name in _reached(module) if (found := _impurities(name, deep=name != module))}
    assert impure == {}


@pytest.mark.parametrize(
    "source",
    ["import socket", "from aiohttp import ClientSession", "import urllib.request", "x = datetime.now(UTC)"],
)
def test_the_purity_check_sees_what_it_looks_for(source: str) -> None:
    """A check that finds nothing anywhere proves nothing."""
    assert _found_in(ast.parse(source), clock=True)


@pytest.mark.parametrize("name", sorted(PROJECT["project"]["scripts"]))
def test_every_script_can_be_started(name: str) -> None:
    """A script of the package points at something that can be called."""
    module, _, attribute = PROJECT["project"]["scripts"][name].partition(":")
    assert callable(getattr(import_module(module), attribute))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_lock_pins_every_package_with_hashes_and_names_no_index(name: str) -> None:
    """What is installed is what was locked, from whichever index is set up where it is installed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    assert [
        entry
        for entry in entries
        if not re.match(r"[A-Za-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry, re.DOTALL)
    ] == []
    assert re.findall(r"https?://\S+|--(?:extra-)?index-url|--find-links|file:", text) == []


def test_lock_for_work_holds_the_same_versions_as_the_lock_for_production() -> None:
    """What is tested is what runs."""
    locks = [
        set(re.findall(r"^([A-Za-z0-9._-]+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert locks[0] - locks[1] == set()


def test_lock_covers_every_dependency_of_the_project() -> None:
    """A dependency added without `make lock` is found here, not on a fresh machine."""
    wanted = {
        re.split(r"[<>=~!\[ ;]", line, maxsplit=1)[0].lower()
        for line in [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]
    }
    locked = re.findall(
        r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert wanted - {name.lower() for name in locked} == set()


def test_every_ruff_ignore_has_its_reason() -> None:
    """A rule is switched off for a reason that stands beside it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r'\s+"[A-Z]+[0-9]+"', line)]
    assert lines
    assert [line for line in lines if not re.search(r"# \w+", line)] == []


def test_make_alone_lists_every_recipe_that_the_documents_name() -> None:
    """`make` is where one looks first."""
    listed = _make().stdout
    assert [
        name for name in ("demo", "test", "bench", "lint", "fmt", "lock", "clean") if f"make {name} " not in listed
    ] == []


def test_make_says_in_one_line_that_a_python_is_missing(tmp_path: Path) -> None:
    """A fresh machine without a fitting Python is told what to do."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    ended = _make("lock", "PYTHON=/nowhere/python", folder=tmp_path)
    assert ended.returncode == 2
    assert "No Python 3.11 or newer with venv was found at /nowhere/python" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("arguments", [("demo", "--", "--faults"), ("demo", "ARGS=--faults")])
def test_make_passes_options_on(arguments: tuple[str, ...]) -> None:
    """Both ways to pass an option reach the command."""
    assert "-m kafka_pipeline demo --faults\n" in _make("-n", *arguments).stdout


def _make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make, "make is what this project is worked with"
    return subprocess.run([make, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(module: str) -> Iterator[str]:
    path = _file(module)
    assert path is not None, f"{module} is gone: take it off the list"
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield base
            yield from (name for alias in node.names if _file(name := f"{base}.{alias.name}"))


def _reached(module: str) -> set[str]:
    reached, ahead = set[str](), [module]
    while ahead:
        current = ahead.pop()
        if current not in reached and current.startswith("kafka_pipeline.") and _file(current):
            reached.add(current)
            ahead.extend(_imports(current))
    return reached


def _impurities(module: str, *, deep: bool) -> set[str]:
    """Of a module that is only reached, calls of the clock do not count: `clock.py` may be there for its Protocol."""
    path = _file(module)
    assert path is not None
    return _found_in(ast.parse(path.read_text(encoding="utf-8")), clock=not deep)


def _found_in(tree: ast.AST, *, clock: bool) -> set[str]:
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if _is_impure(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_impure(node.module):
            found.add(node.module)
        elif clock and isinstance(node, ast.Attribute) and ast.unparse(node) in TIME_OF_DAY:
            found.add(ast.unparse(node))
    return found if clock else found - {"time"}


def _is_impure(module: str) -> bool:
    return module in IMPURE or module.partition(".")[0] in IMPURE


def test_every_test_that_a_document_names_exists() -> None:
    """A promise in the docs names the test that holds it; a renamed test must be renamed there too."""
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        there |= set(re.findall(r"def (test_\w+)", path.read_text()))
    for document in (ROOT / "docs").glob("*.md"):
        named = set(re.findall(r"`(test_\w+)`", document.read_text()))
        assert named <= there, f"{document.name}: {sorted(named - there)}"
    assert "`test_" in (ROOT / "docs" / "design.md").read_text()
