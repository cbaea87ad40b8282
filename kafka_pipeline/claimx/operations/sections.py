"""Every metric of the pipeline, by what it is about. Importing this defines all of them."""

from __future__ import annotations

from types import MappingProxyType, ModuleType
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from kafka_pipeline.claimx import api_health, api_metrics, monitoring
from kafka_pipeline.common.azure import metrics as azure
from kafka_pipeline.common.http import metrics as http
from kafka_pipeline.common.lake import metrics as lake
from kafka_pipeline.common.messaging import metrics as messaging
from kafka_pipeline.common.observability import metrics as runtime
from kafka_pipeline.common.observability.catalogue import CATALOGUE, MetricSpec
from kafka_pipeline.common.resilience import breaker, limiter

SECTIONS: Final[MappingProxyType[str, tuple[ModuleType, ...]]] = MappingProxyType(
    {
        "The worker loop": (runtime, messaging),
        "Events and files": (monitoring,),
        "The ClaimX API": (api_metrics, api_health),
        "Breakers and limits": (breaker, limiter),
        "Downloads and their cache": (http,),
        "The lake": (lake,),
        "Signing in to Azure": (azure,),
    }
)
"""Each section with the modules that define its metrics. A test finds the module that was forgotten."""

LABELS: Final[MappingProxyType[str, str]] = MappingProxyType(
    {
        "breaker": "`claimx_api`, `claimx_api_credential`, or `download_host_N`, in the order of the settings",
        "category": "category of a failure: `transient`, `auth`, `permanent`, `url_expired`, `circuit_open`, `unknown`",
        "cause": "one of the few words that the metric names",
        "decision": "one of the few words that the metric names",
        "delay": "a retry topic, by the last word of its name: `5m`, `10m`, `20m`, `40m`",
        "endpoint": "path of the API with `{id}` for every id",
        "event_type": "one of the nine routed types, or `other`",
        "found": "`memory`, `table` or `api`",
        "how": "one of the few words that the metric names",
        "kind": "stage of a dead letter or a retry: `events`, `enrichment`, `downloads`",
        "limiter": "`claimx_api`",
        "outcome": "one of the few words that the metric names",
        "purpose": "`storage` or `kafka`",
        "reason": "why a record failed or what it waits for, a word of ours; 40 of them at most, then `other`",
        "result": "one of the few words that the metric names",
        "status": "status of a transfer",
        "table": "name of a Delta table",
        "topic": "name of a Kafka topic that a worker reads",
        "worker": "a worker, by the name of its command (`claimx-ingester`); with `-retries`, its loop for retries",
    }
)
"""Every label with the values it can have: few, and known in advance [SEC-11]."""


def metrics_of(section: str) -> list[MetricSpec]:
    """Return the descriptions of a section's metrics, in the order in which they are defined."""
    specs: dict[str, MetricSpec] = {}
    for module in SECTIONS[section]:
        for value in vars(module).values():
            if isinstance(value, Counter | Gauge | Histogram):
                spec = CATALOGUE.spec_of(value)
                specs.setdefault(spec.name, spec)
    return list(specs.values())


def all_metrics() -> dict[str, MetricSpec]:
    """Return the descriptions of all metrics, by name."""
    return {spec.name: spec for section in SECTIONS for spec in metrics_of(section)}
