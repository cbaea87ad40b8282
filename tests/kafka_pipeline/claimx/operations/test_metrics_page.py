"""The catalogue is complete, and the page and the dashboards are what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kafka_pipeline.claimx.operations.files import PAGE, made_files
from kafka_pipeline.claimx.operations.sections import LABELS, SECTIONS, all_metrics, metrics_of
from kafka_pipeline.common.observability.catalogue import MetricKind

_EVERY_MODULE = """
import importlib, json, pkgutil, kafka_pipeline
from prometheus_client import REGISTRY
from kafka_pipeline.common.observability.catalogue import CATALOGUE
for module in pkgutil.walk_packages(kafka_pipeline.__path__, "kafka_pipeline."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
families = {family.name: family.type for family in REGISTRY.collect()}
print(json.dumps([[spec.name for spec in CATALOGUE.specs()], families]))
"""

_OF_THE_CLIENT = ("process_", "python_")


@pytest.mark.parametrize("path", made_files(), ids=lambda path: path.name)
def test_what_is_made_from_the_catalogue_is_up_to_date(path: Path) -> None:
    """A page or a dashboard that tells of yesterday's metrics is worse than none."""
    current = path.is_file() and path.read_text(encoding="utf-8") == made_files()[path]
    assert current, f"{path.name} is stale: run `make docs` and commit it"


def test_every_metric_of_every_module_is_in_the_catalogue_and_on_the_page() -> None:
    """A module that defines metrics and was forgotten here, or defines them past the catalogue, is found."""
    ended = subprocess.run([sys.executable, "-c", _EVERY_MODULE], capture_output=True, text=True, check=True)
    defined, families = json.loads(ended.stdout)
    exposed = {
        f"{name}_total" if kind == "counter" else name
        for name, kind in families.items()
        if not name.startswith(_OF_THE_CLIENT)
    }
    assert set(defined) == set(all_metrics()) == exposed
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in defined if f"| `{name}` |" not in page] == []


def test_every_metric_stands_in_one_section() -> None:
    """Nobody has to look twice."""
    names = [spec.name for section in SECTIONS for spec in metrics_of(section)]
    assert sorted(names) == sorted(set(names))


def test_every_label_is_described_and_used() -> None:
    """What values a label has, so that nobody guesses; and nothing of labels that are gone."""
    assert {label for spec in all_metrics().values() for label in spec.labels} == set(LABELS)


@pytest.mark.parametrize("name", all_metrics())
def test_a_name_tells_unit_and_kind(name: str) -> None:
    """By Prometheus' conventions: base units, `_total` for counters alone, sentences for meaning and remedy."""
    spec = all_metrics()[name]
    assert name.endswith("_total") == (spec.kind is MetricKind.COUNTER)
    assert not name.endswith(("_count", "_sum", "_bucket", "_ms", "_kb", "_mb"))
    assert spec.meaning.endswith(".")
    assert spec.remedy.endswith(".")
    assert "|" not in spec.meaning + spec.remedy  # it would end a cell of the page
