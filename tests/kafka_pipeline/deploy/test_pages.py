"""Pages for operators lead to what there is: links, commands, options, deployments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from kafka_pipeline.claimx.api_health import API_AUTH, API_UNREACHABLE, CIRCUIT_OPEN
from kafka_pipeline.claimx.monitoring import KAFKA_DISCONNECTED, STARTING
from kafka_pipeline.cli.app import ENTRIES, app, dlq_program
from kafka_pipeline.common.http.cache import CACHE_UNWRITABLE
from kafka_pipeline.common.http.hosts import UNAVAILABLE
from kafka_pipeline.common.lake.writer import LAKE_UNAVAILABLE
from kafka_pipeline.common.runtime.outbox import FLOOD
from tests.kafka_pipeline.deploy.test_chart import manifests

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
FOR_OPERATORS: Final = [ROOT / "docs" / name for name in ("claimx_runbook.md", "getting-started.md")]

_PROGRAMS: Final = {"kafka-pipeline": app, "kp": app, "claimx-dlq": dlq_program()}
"""`kp` is what the runbook calls ours in a pod."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them of its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(page: Path) -> set[str]:
    """Return the commands of ours that a page shows, in console blocks and between backticks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^\$ (.+)$", text, flags=re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    parts = [part.split("#")[0].strip() for line in shown for part in re.split(r"[|;] | -- ", line)]
    return {part for part in parts if re.match(rf"({'|'.join(_PROGRAMS)}) \S", part)}


def unknown(command: str) -> list[str]:
    """Return the words of a command that its program does not know: its subcommands and options."""
    program, *words = shlex.split(command)
    node: Any = get_command(_PROGRAMS[program])
    lazy = {entry.name: entry for entry in ENTRIES}
    found = []
    for word in words:
        below = getattr(node, "commands", {})
        options = {name for parameter in node.params for name in parameter.opts}
        if word in below:
            node = lazy[word].load() if word in lazy else below[word]
        elif word.partition("=")[0] not in options and re.fullmatch(r"--.+" if not below else r"--.+|[a-z-]+", word):
            found.append(word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """To a file, and to a heading of it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", FOR_OPERATORS, ids=lambda page: page.name)
def test_every_command_of_ours_on_a_page_for_operators_exists(page: Path) -> None:
    """With the options it is shown with: at night nobody looks for the right spelling."""
    assert commands(page)
    assert {command: words for command in commands(page) if (words := unknown(command))} == {}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("kp claimx-dlq list --kind events", []),
        ("kafka-pipeline --set data_dir=/srv config check", []),
        ("kp claimx-dlq lst", ["lst"]),
        ("kp claimx-maintain --dry", ["--dry"]),
        ("claimx-dlq replay --everything", ["--everything"]),
    ],
)
def test_the_check_of_commands_finds_what_it_looks_for(command: str, words: list[str]) -> None:
    """A check that finds nothing anywhere proves nothing."""
    assert unknown(command) == words


@pytest.mark.parametrize("page", FOR_OPERATORS, ids=lambda page: page.name)
def test_what_kubectl_is_told_to_work_on_exists(page: Path) -> None:
    """Deployments and the job under the names that the chart gives them."""
    named = set(re.findall(r"(?:deployment|deploy|cronjob)/(claimx-[a-z-]+)", page.read_text(encoding="utf-8")))
    made = {made["metadata"]["name"] for kind in ("Deployment", "CronJob") for made in manifests("smallest", kind)}
    assert named
    assert named <= made | {"claimx-"}


def test_the_runbook_explains_every_word_that_a_worker_gives_for_not_being_ready() -> None:
    """Each with what to do."""
    words = {STARTING, KAFKA_DISCONNECTED, CIRCUIT_OPEN, API_UNREACHABLE, API_AUTH}
    words |= {LAKE_UNAVAILABLE, UNAVAILABLE, FLOOD, CACHE_UNWRITABLE}
    text = FOR_OPERATORS[0].read_text(encoding="utf-8").split("What `/readyz` says:")[1].split("\n## ")[0]
    explained = {
        word
        for line in text.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert words <= explained
