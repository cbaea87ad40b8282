"""Reads as much of PromQL as our queries use: metrics, matchers and the labels that are grouped by."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from typing import NoReturn

from kafka_pipeline.claimx.operations.panels import OF_THE_CLIENT
from kafka_pipeline.claimx.operations.sections import all_metrics
from kafka_pipeline.common.observability.catalogue import MetricKind, MetricSpec

_TARGET = {"job", "instance"}
"""Labels that Prometheus puts on everything it asks for."""

_SELECTOR = re.compile(r"\b([a-z][a-z0-9_]*)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_BARE = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b(?![{(])")
_WORDS = {"group_left", "group_right"}


def problems_of(expr: str) -> list[str]:
    """Return what is wrong with a query: metrics and labels that do not exist, metrics that are not found."""
    metrics = all_metrics()
    problems: list[str] = []
    known = set(_TARGET)
    for series, matchers in _SELECTOR.findall(expr):
        labels = _labels_of(series, metrics)
        if labels is None:
            problems.append(f"no metric {series}")
            continue
        known |= labels
        problems += [f"{series} has no label {label}" for label in _MATCHER.findall(matchers) if label not in labels]
    grouped = [label.strip() for group in _GROUPED.findall(expr) for label in group.split(",") if label.strip()]
    problems += [f"nothing has a label {label}" for label in grouped if label not in known]
    rest = _GROUPED.sub(" ", re.sub(r'"[^"]*"', " ", _SELECTOR.sub(" ", expr)))
    problems += [f"{word} has no selector" for word in _BARE.findall(rest) if word not in _WORDS]
    return problems if _SELECTOR.search(expr) else [*problems, "no metric at all"]


def _labels_of(series: str, metrics: Mapping[str, MetricSpec]) -> set[str] | None:
    if series in OF_THE_CLIENT:
        return set(_TARGET)
    name, _, part = series.rpartition("_")
    histogram = metrics.get(name)
    if histogram is not None and histogram.kind is MetricKind.HISTOGRAM and part in {"bucket", "sum", "count"}:
        return {*histogram.labels, *_TARGET, *(("le",) if part == "bucket" else ())}
    spec = metrics.get(series)
    return None if spec is None or spec.kind is MetricKind.HISTOGRAM else {*spec.labels, *_TARGET}


def promtool(missing: Callable[[str], NoReturn]) -> str:
    """Return the path of promtool; where there is none, the test is skipped here and fails in CI."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool is not installed: apt-get install prometheus")
    return found
