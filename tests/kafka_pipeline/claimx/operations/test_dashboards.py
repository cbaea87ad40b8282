"""Dashboards name nothing that does not exist, and Grafana can import them."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from kafka_pipeline.claimx.operations.dashboards import DASHBOARDS
from kafka_pipeline.claimx.operations.files import GRAFANA
from kafka_pipeline.claimx.operations.panels import metrics_in
from kafka_pipeline.claimx.operations.sections import all_metrics
from tests.kafka_pipeline.claimx.operations.promql import problems_of, promtool

BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(GRAFANA.glob("*.json"))}


def graphs_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query with the place where it stands."""
    for board in BOARDS.values():
        for panel in graphs_of(board):
            for target in panel["targets"]:
                yield f"{board['uid']}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("place", "expr"), list(queries()))
def test_every_query_names_metrics_and_labels_that_exist(place: str, expr: str) -> None:
    """A graph that is always empty is taken for a quiet day."""
    assert problems_of(expr) == [], place


@pytest.mark.parametrize(
    ("expr", "problem"),
    [
        ("sum(rate(nothing_total{}[5m]))", "no metric nothing_total"),
        ('max(lag_seconds{group="x"})', "lag_seconds has no label group"),
        ("sum by (topic) (records_in_flight{})", "nothing has a label topic"),
        ("max(lag_seconds)", "lag_seconds has no selector"),
        ("max(batch_seconds{})", "no metric batch_seconds"),
        ("vector(1)", "no metric at all"),
    ],
)
def test_the_check_of_queries_sees_what_it_looks_for(expr: str, problem: str) -> None:
    """A check that finds nothing anywhere proves nothing."""
    assert problem in problems_of(expr)


def test_every_metric_is_shown_somewhere() -> None:
    """What nobody sees need not be counted."""
    shown = {name for _, expr in queries() for name in metrics_in(expr)}
    assert set(all_metrics()) - shown == set()


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_can_be_imported(uid: str) -> None:
    """It has an address of its own, its data source is a variable, and each panel a place that no other one has."""
    board = BOARDS[uid]
    assert board["uid"] == uid
    assert "id" not in board  # Grafana gives it one
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert {"job", "worker"} < variables.keys()
    assert all(variables[name]["datasource"] == source for name in ("job", "worker"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in graphs_of(board):
        assert panel["datasource"] == source, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
    for one, other in itertools.combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_no_dashboard_is_left_behind() -> None:
    """What the code no longer describes is deleted."""
    assert set(BOARDS) == {board.uid for board in DASHBOARDS}


def test_prometheus_understands_every_query(missing: Callable[[str], NoReturn], tmp_path: Path) -> None:
    """Promtool reads them as rules, with Grafana's variables filled in."""
    rules = [
        {
            "record": f"dashboard:query:{number}",
            "expr": expr.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$worker", ".*"),
        }
        for number, (_, expr) in enumerate(queries())
    ]
    assert not any("$" in rule["expr"] for rule in rules)
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    ended = subprocess.run(
        [promtool(missing), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
