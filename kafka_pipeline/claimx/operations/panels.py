"""A small description of dashboards, and the JSON that Grafana imports.

A dashboard is rows of panels; a panel is a title, a unit and queries. Everything else follows: places on the grid, the
data source and the filters as variables, and as each panel's description what the catalogue says of its metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kafka_pipeline.common.observability.catalogue import MetricSpec

Unit = Literal["short", "s", "bytes", "Bps", "ops", "percentunit", "dateTimeFromNow"]
"""Grafana's own names of units."""

OF_THE_CLIENT: Final[Mapping[str, str]] = {
    "process_cpu_seconds_total": "Processor time of the process.",
    "process_resident_memory_bytes": "Memory of the process.",
    "process_open_fds": "Open files and sockets of the process.",
}
"""Metrics that the Prometheus client brings along, with their meaning."""

_SUFFIX: Final = re.compile(r"_(bucket|sum|count)$")
_NAME: Final = re.compile(r"\b[a-z][a-z0-9_]*\b(?=\{)")

_COLUMNS: Final = 24
_PER_ROW: Final = 3
_HEIGHT: Final = 8
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a panel. `expr` names every metric with its selector in braces, so that all of them are found."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One graph."""

    title: str
    unit: Unit
    queries: tuple[Query, ...]
    stacked: bool = False
    """Whether its lines add up to something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard. `uid` is its address, and stays."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]


def metrics_in(expr: str) -> list[str]:
    """Return the metrics of a query, each as the catalogue calls it."""
    return list(dict.fromkeys(_SUFFIX.sub("", name) for name in _NAME.findall(expr)))


def grafana_json(dashboard: Dashboard, metrics: Mapping[str, MetricSpec]) -> dict[str, Any]:
    """Return what Grafana imports. Raises KeyError for a metric that does not exist."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["claimx", "kafka-pipeline"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "ClaimX", "tags": ["claimx"], "asDropdown": True, "keepTime": True},
        ],
        "templating": {"list": _variables()},
        "panels": list(_panels(dashboard.rows, metrics)),
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    return [
        source,
        _values("job", "Job", "label_values(loop_turn_age_seconds, job)"),
        _values("worker", "Worker", 'label_values(loop_turn_age_seconds{job=~"$job"}, worker)'),
    ]


def _values(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(rows: Sequence[Row], metrics: Mapping[str, MetricSpec]) -> Iterator[dict[str, Any]]:
    width, number, top = _COLUMNS // _PER_ROW, 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        for index, panel in enumerate(row.panels):
            number += 1
            line, column = divmod(index, _PER_ROW)
            place = {"x": column * width, "y": top + line * _HEIGHT, "w": width, "h": _HEIGHT}
            yield {"id": number, "gridPos": place, **_graph(panel, metrics)}
        top += -(-len(row.panels) // _PER_ROW) * _HEIGHT


def _graph(panel: Panel, metrics: Mapping[str, MetricSpec]) -> dict[str, Any]:
    custom: dict[str, Any] = {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    custom["stacking"] = {"mode": "normal" if panel.stacked else "none", "group": "A"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": _description(panel, metrics),
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def _description(panel: Panel, metrics: Mapping[str, MetricSpec]) -> str:
    names = dict.fromkeys(name for query in panel.queries for name in metrics_in(query.expr))
    return "\n\n".join(
        f"**{name}** {OF_THE_CLIENT[name]}"
        if name in OF_THE_CLIENT
        else f"**{name}** {metrics[name].meaning} *{metrics[name].remedy}*"
        for name in names
    )
