"""What the pipeline did while a demo ran, by its own metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import REGISTRY

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """Counts since the watch began."""

    retries: Mapping[str, int]
    """Records sent to a retry topic, by stage."""
    refreshed_links: int
    waits: Mapping[str, int]
    """Times a batch waited for something that was down, by what it was."""
    openings: Mapping[str, int]
    """Times a circuit breaker opened, by breaker; a probe that fails counts."""
    not_closed_s: Mapping[str, float]
    """How long it was not closed."""
    failed_calls: int
    """Calls of the API that failed in a way that may pass."""


class Watch:
    """Remembers the counters as they were, and looks at the breakers now and then."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._before = _counters()
        self._open_s: dict[str, float] = {}
        self._looked_s = clock.monotonic()

    def look(self) -> None:
        """Count the time since the last look for every breaker that is not closed."""
        now_s = self._clock.monotonic()
        for sample in _samples("breaker_state"):
            if sample[1]:
                breaker = dict(sample[0])["breaker"]
                self._open_s[breaker] = self._open_s.get(breaker, 0.0) + now_s - self._looked_s
        self._looked_s = now_s

    def deeds(self) -> Deeds:
        """Return what happened since the watch began."""
        grown = {key: int(value - self._before.get(key, 0)) for key, value in _counters().items()}
        calls = _by_label(grown, "claimx_api_calls_total", "outcome")
        return Deeds(
            retries=_by_label(grown, "retries_scheduled_total", "kind"),
            refreshed_links=_by_label(grown, "claimx_link_refreshes_total", "result").get("refreshed", 0),
            waits=_by_label(grown, "waits_total", "reason"),
            openings=_by_label(grown, "breaker_openings_total", "breaker"),
            not_closed_s=dict(self._open_s),
            failed_calls=calls.get("transient", 0),
        )


def _samples(name: str) -> list[tuple[frozenset[tuple[str, str]], float]]:
    return [
        (frozenset(sample.labels.items()), sample.value)
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == name
    ]


def _counters() -> dict[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in REGISTRY.collect()
        if metric.type == "counter"
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def _by_label(samples: Mapping[Sample, int], name: str, label: str) -> dict[str, int]:
    """Add up a counter's samples by one label; what did not grow is left out."""
    totals: Counter[str] = Counter()
    for (sample, labels), value in samples.items():
        if sample == name and value:
            totals[dict(labels).get(label, "")] += value
    return dict(totals)
