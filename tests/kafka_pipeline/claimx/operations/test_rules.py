"""Alerts come when they should, name nothing that does not exist, and lead to what can be done."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from kafka_pipeline.claimx.operations.dashboards import DASHBOARDS
from tests.kafka_pipeline.claimx.operations.promql import problems_of, promtool

ROOT = Path(__file__).parents[4]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
CASES = RULES.with_name("rules.test.yml")
RUNBOOK = ROOT / "docs" / "claimx_runbook.md"

ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


def sections() -> dict[str, str]:
    """Return the runbook's section of each alert."""
    text = RUNBOOK.read_text(encoding="utf-8").split("\n## Alerts\n")[1].split("\n## ")[0]
    title, *rest = re.split(r"^### (\w+)\n", text, flags=re.MULTILINE)
    assert "### " not in title
    return dict(zip(rest[::2], rest[1::2], strict=True))


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_names_metrics_and_labels_that_exist(name: str) -> None:
    """An alert on a metric that is gone never comes."""
    assert problems_of(ALERTS[name]["expr"]) == []


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_bad_what_and_where_to_read_on(name: str) -> None:
    """Its severity is one of two, its summary a sentence, its runbook a heading that is there."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/claimx_runbook.md#{name.lower()}"
    assert name in sections()


@pytest.mark.parametrize("name", sections())
def test_every_section_of_the_runbook_leads_from_symptom_to_mend(name: str) -> None:
    """In that order, for an alert that there is."""
    assert name in ALERTS
    parts = re.findall(r"^- \*\*(\w+)\*\*: ", sections()[name], flags=re.MULTILINE)
    assert parts == ["Symptom", "Why", "See", "Mend"]


def test_the_runbook_names_graphs_that_exist() -> None:
    """Whoever is woken has no time to guess what a graph is called by now."""
    titles = [board.title for board in DASHBOARDS]
    titles += [row.title for board in DASHBOARDS for row in board.rows]
    titles += [panel.title for board in DASHBOARDS for row in board.rows for panel in row.panels]
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOK.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not any(title.startswith(" ".join(name.split())) for title in titles)] == []


def test_no_alert_counts_offsets() -> None:
    """Lag is time."""
    assert [name for name, rule in ALERTS.items() if "offset" in rule["expr"]] == []


def test_every_alert_is_seen_to_come_and_to_stay_away() -> None:
    """By a case where it fires, and by the day on which nothing is wrong."""
    quiet, *cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    assert all(test["exp_alerts"] == [] for test in quiet["alert_rule_test"])
    assert {test["alertname"] for test in quiet["alert_rule_test"]} == set(ALERTS)
    fired = {test["alertname"] for case in cases for test in case["alert_rule_test"] if test["exp_alerts"]}
    assert fired == set(ALERTS)


@pytest.mark.parametrize("command", [("check", "rules", RULES.name), ("test", "rules", CASES.name)])
def test_promtool_agrees(missing: Callable[[str], NoReturn], command: tuple[str, ...]) -> None:
    """Prometheus itself reads the rules, and plays the cases."""
    ended = subprocess.run([promtool(missing), *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
