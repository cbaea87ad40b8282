"""The page `docs/metrics.md`, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kafka_pipeline.claimx.operations.sections import LABELS, SECTIONS, metrics_of
from kafka_pipeline.common.observability.catalogue import MetricSpec

_HEAD: Final = """\
# Metrics

Generated from the code by `make docs`; do not edit. With `health_port` set, every process serves them at `/metrics` in
Prometheus' format. `deploy/grafana` shows them, `deploy/prometheus/rules.yml` watches them, and
[the runbook](claimx_runbook.md) says what to do.

- Time is what counts: `lag_seconds` is the age of the oldest unfinished record. Offsets say nothing about how late you
  are, and during a backlog of small events nothing about how much is left.
- A counter ends in `_total`: look at its rate. A histogram has `_bucket`, `_sum` and `_count`. All else is a level.
- Sum over processes what is counted, take the greatest of what is an age.
- No label holds an id, a link, a host or a name.
"""


def metrics_markdown() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_labels(), *(line for section in SECTIONS for line in _section(section))])


def _labels() -> Iterator[str]:
    yield from ("## Labels", "", "| label | values |", "|---|---|")
    yield from (f"| `{label}` | {values} |" for label, values in LABELS.items())
    yield ""


def _section(section: str) -> Iterator[str]:
    yield from (f"## {section}", "", "| metric | kind | labels | what it says | what to do |", "|---|---|---|---|---|")
    yield from map(_line, metrics_of(section))
    yield ""


def _line(spec: MetricSpec) -> str:
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"| `{spec.name}` | {spec.kind.value} | {labels} | {spec.meaning} | {spec.remedy} |"
