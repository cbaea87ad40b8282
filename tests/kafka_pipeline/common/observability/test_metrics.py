"""Every metric says what it means and what to do, and has few label values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.observability.catalogue import (
    CATALOGUE,
    OTHER,
    SECONDS_BUCKETS,
    Catalogue,
    LabelBound,
    ManyHistogram,
    MetricConflictError,
    MetricKind,
    MetricSpec,
    counter,
    gauge,
    histogram,
)


def test_every_metric_has_a_meaning_and_a_remedy() -> None:
    """Sentences, so that documentation can be made of them."""
    for spec in CATALOGUE.specs():
        assert spec.meaning.endswith("."), spec.name
        assert spec.remedy.endswith("."), spec.name


def test_the_loop_has_its_metrics() -> None:
    """By the names and labels that dashboards rely on."""
    labels = {spec.name: spec.labels for spec in CATALOGUE.specs()}

    assert labels["records_processed_total"] == ("worker", "outcome")
    assert labels["batch_seconds"] == ("worker",)
    assert labels["dead_letters_total"] == ("kind", "reason")
    assert labels["commits_total"] == ("worker", "result")


def test_everything_that_metrics_names_is_there() -> None:
    """`__all__` is complete and true."""
    public = {name for name in vars(metrics) if name.isupper() or name in {"counter", "gauge", "histogram", "bounded"}}

    assert public <= set(metrics.__all__)
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_defining_the_same_metric_twice_gives_the_same_metric() -> None:
    """Modules may be imported again, tests may define again."""
    one = counter("test_same_total", labels=("a",), meaning="M.", remedy="R.")
    two = counter("test_same_total", labels=("a",), meaning="M.", remedy="R.")

    assert one is two


def test_two_metrics_of_one_name_are_a_bug() -> None:
    """Of another kind, or with other labels."""
    gauge("test_conflict", meaning="M.", remedy="R.")

    with pytest.raises(MetricConflictError):
        gauge("test_conflict", labels=("a",), meaning="M.", remedy="R.")
    with pytest.raises(MetricConflictError):
        histogram("test_conflict", meaning="M.", remedy="R.")
    with pytest.raises(ValueError, match="_total"):
        counter("test_count", meaning="M.", remedy="R.")


def test_what_is_counted_is_exposed() -> None:
    """Each kind, in a registry of its own."""
    registry = CollectorRegistry()
    catalogue = Catalogue(registry)
    for kind, name in ((MetricKind.COUNTER, "a_total"), (MetricKind.GAUGE, "b"), (MetricKind.HISTOGRAM, "c_seconds")):
        catalogue.define(MetricSpec(name=name, kind=kind, labels=(), meaning="M.", remedy="R."))

    assert {"a_total", "b", "c_seconds_bucket"} <= {
        sample.name for family in registry.collect() for sample in family.samples
    }


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=100), max_size=60))
def test_label_values_are_few_and_plain(values: list[str]) -> None:
    """Whatever comes in: at most `limit` words and `other`, none of them long or strange."""
    bound = LabelBound(limit=5)

    labels = [bound("reason", value) for value in values]

    assert len(set(labels) - {OTHER}) <= 5
    assert all(0 < len(label) <= 64 and label.isascii() and label.isprintable() for label in labels)
    assert labels[:1] == [bound("reason", value) for value in values[:1]]


@given(st.lists(st.floats(0, 400) | st.sampled_from(SECONDS_BUCKETS)))
def test_many_values_at_once_count_like_one_after_the_other(values: list[float]) -> None:
    """Also on the bounds of buckets, which belong below."""
    together, singly = (
        ManyHistogram("test_many_seconds", "M.", buckets=SECONDS_BUCKETS, registry=None) for _ in range(2)
    )
    together.observe_many(values)
    for value in values:
        singly.observe(value)
    assert _buckets(together) == _buckets(singly)


def _buckets(histogram: ManyHistogram) -> list[float]:
    return [each.value for metric in histogram.collect() for each in metric.samples if each.name.endswith("_bucket")]
