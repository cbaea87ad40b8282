"""Every metric with its meaning and what to do about it, in one catalogue that documentation is generated from.

A module that has something to count defines its metrics at import with `counter`, `gauge` or `histogram`. Definitions
are idempotent: the same one twice is one metric, two that differ under one name are a bug and raise.

Labels have few values, all known in advance: workers, outcomes, categories, topics. Never an id, a host of a link or
a file name ([SEC-11]); `bounded` is for values that come from elsewhere.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

OTHER: Final = "other"
"""Label value that stands for every value beyond the bound."""

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
RECORDS_BUCKETS: Final = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0)
BYTES_BUCKETS: Final = tuple(float(4**power) for power in range(5, 16))
"""1 KiB to 1 GiB."""


class MetricKind(str, Enum):
    """How a metric is read."""

    COUNTER = "counter"
    """Only grows; look at its rate."""
    GAUGE = "gauge"
    """A level; look at its value."""
    HISTOGRAM = "histogram"
    """A distribution; look at its quantiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a metric is called, means and asks for. `name` carries the unit; a counter's ends in `_total`."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    meaning: str
    remedy: str
    buckets: tuple[float, ...] = ()


class MetricConflictError(ValueError):
    """Two different metrics claim one name."""


class ManyHistogram(Histogram):
    """A histogram that takes many values at once, for what is told of every record: a fifth of the cost of each."""

    def observe_many(self, values: Sequence[float]) -> None:
        """Take these values, as `observe` would one after the other."""
        places = Counts(bisect_left(self._upper_bounds, value) for value in values)
        for place, count in places.items():
            self._buckets[place].inc(count)
        self._sum.inc(sum(values))


class Catalogue:
    """The metrics of one registry, with their descriptions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._defined: dict[str, tuple[MetricSpec, Counter | Gauge | Histogram]] = {}

    def specs(self) -> list[MetricSpec]:
        """Return all descriptions, by name."""
        return [spec for _, (spec, _) in sorted(self._defined.items())]

    def spec_of(self, metric: Counter | Gauge | Histogram) -> MetricSpec:
        """Return the description of a metric. Raises KeyError if it was defined past the catalogue."""
        for spec, known in self._defined.values():
            if known is metric:
                return spec
        raise KeyError("a metric that is not in the catalogue")

    def define(self, spec: MetricSpec) -> Counter | Gauge | Histogram:
        """Return the metric of that description. Raises MetricConflictError if the name means something else."""
        known = self._defined.get(spec.name)
        if known is not None:
            if known[0] != spec:
                raise MetricConflictError(f"metric {spec.name} is defined twice, and differently")
            return known[1]
        metric = self._new(spec)
        self._defined[spec.name] = (spec, metric)
        return metric

    def _new(self, spec: MetricSpec) -> Counter | Gauge | Histogram:
        match spec.kind:
            case MetricKind.COUNTER:
                return Counter(spec.name, spec.meaning, spec.labels, registry=self._registry)
            case MetricKind.GAUGE:
                return Gauge(spec.name, spec.meaning, spec.labels, registry=self._registry)
            case MetricKind.HISTOGRAM:
                return ManyHistogram(
                    spec.name,
                    spec.meaning,
                    spec.labels,
                    buckets=spec.buckets or SECONDS_BUCKETS,
                    registry=self._registry,
                )


CATALOGUE: Final = Catalogue(REGISTRY)
"""The metrics of this process."""

_MetricT = TypeVar("_MetricT", Counter, Gauge, ManyHistogram)


def _defined(kind: type[_MetricT], spec: MetricSpec) -> _MetricT:
    metric = CATALOGUE.define(spec)
    if not isinstance(metric, kind):
        raise MetricConflictError(f"metric {spec.name} is not a {kind.__name__.lower()}")
    return metric


def counter(name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str) -> Counter:
    """Define a counter; its name ends in `_total`. Raises ValueError if it does not."""
    if not name.endswith("_total"):
        raise ValueError(f"the name of counter {name} does not end in _total")
    kind = MetricKind.COUNTER
    return _defined(Counter, MetricSpec(name=name, kind=kind, labels=tuple(labels), meaning=meaning, remedy=remedy))


def gauge(name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str) -> Gauge:
    """Define a gauge."""
    kind = MetricKind.GAUGE
    return _defined(Gauge, MetricSpec(name=name, kind=kind, labels=tuple(labels), meaning=meaning, remedy=remedy))


def histogram(
    name: str, *, labels: Sequence[str] = (), meaning: str, remedy: str, buckets: Sequence[float] = SECONDS_BUCKETS
) -> ManyHistogram:
    """Define a histogram; buckets are upper bounds in the unit of the name."""
    return _defined(
        ManyHistogram,
        MetricSpec(
            name=name,
            kind=MetricKind.HISTOGRAM,
            labels=tuple(labels),
            meaning=meaning,
            remedy=remedy,
            buckets=tuple(buckets),
        ),
    )


class LabelBound:
    """Keeps label values few: of each dimension the first `limit` values count, all later ones are `other`."""

    def __init__(self, limit: int = 40) -> None:
        self._limit = limit
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    def __call__(self, dimension: str, value: str) -> str:
        """Return the value as a label: a short plain word, or `other`."""
        word = _NOT_PLAIN.sub("_", value)[:64] or OTHER
        seen = self._seen[dimension]
        if word not in seen:
            if len(seen) >= self._limit:
                return OTHER
            seen.add(word)
        return word


_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.:\-]")

bounded: Final = LabelBound()
"""`bounded("reason", text)` for label values that this process did not choose itself."""
