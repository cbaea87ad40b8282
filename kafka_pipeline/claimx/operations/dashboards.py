"""The dashboards of the pipeline: is it well, what does it wait for, and what are its workers doing."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.claimx.operations.panels import Dashboard, Panel, Query, Row, Unit

_JOB: Final = 'job=~"$job"'
_WORKER: Final = 'job=~"$job", worker=~"$worker"'
_RANGE: Final = "[$__rate_interval]"


def _panel(title: str, unit: Unit, *queries: Query, stacked: bool = False) -> Panel:
    return Panel(title=title, unit=unit, queries=queries, stacked=stacked)


def _rate(name: str, *by: str, where: str = _JOB) -> Query:
    return Query(expr=f"sum by ({', '.join(by)}) (rate({name}{{{where}}}{_RANGE}))", legend=_legend(by))


def _greatest(name: str, *by: str, where: str = _JOB) -> Query:
    return Query(expr=f"max by ({', '.join(by)}) ({name}{{{where}}})", legend=_legend(by))


def _total(name: str, *by: str, where: str = _JOB) -> Query:
    return Query(expr=f"sum by ({', '.join(by)}) ({name}{{{where}}})", legend=_legend(by))


def _quantile(quantile: float, name: str, *by: str, where: str = _JOB) -> Query:
    rate = f"sum by ({', '.join(('le', *by))}) (rate({name}_bucket{{{where}}}{_RANGE}))"
    return Query(expr=f"histogram_quantile({quantile}, {rate})", legend=f"p{quantile * 100:.0f} {_legend(by)}".strip())


def _legend(by: tuple[str, ...]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by)


OVERVIEW: Final = Dashboard(
    uid="claimx-overview",
    title="ClaimX: overview",
    description="Whether events become rows and files in time, and where they wait if they do not.",
    rows=(
        Row(
            title="Is it in time?",
            panels=(
                _panel("Lag by worker", "s", _greatest("lag_seconds", "worker", where=_WORKER)),
                _panel(
                    "From event to row and file",
                    "s",
                    _quantile(0.5, "event_latency_seconds", "worker", where=_WORKER),
                    _quantile(0.99, "event_latency_seconds", "worker", where=_WORKER),
                ),
                _panel("Lag by topic", "s", _greatest("lag_seconds", "topic", where=_WORKER)),
            ),
        ),
        Row(
            title="How much is done?",
            panels=(
                _panel("Records by worker", "ops", _rate("records_processed_total", "worker", where=_WORKER)),
                _panel("Events by outcome", "ops", _rate("claimx_events_enriched_total", "outcome"), stacked=True),
                _panel("Files by status", "ops", _rate("claimx_transfers_total", "status"), stacked=True),
                _panel("Rows written by table", "ops", _rate("lake_rows_written_total", "table"), stacked=True),
                _panel(
                    "Bytes of files",
                    "Bps",
                    Query(expr=f"sum(rate(claimx_file_bytes_sum{{{_JOB}}}{_RANGE}))", legend="into the lake"),
                ),
                _panel("Events by type", "ops", _rate("claimx_events_enriched_total", "event_type"), stacked=True),
            ),
        ),
        Row(
            title="What stands in the way?",
            panels=(
                _panel(
                    "Records that wait, by reason",
                    "short",
                    _total("records_waiting", "worker", "reason", where=_WORKER),
                ),
                _panel("Breakers: 0 closed, 1 open, 2 half-open", "short", _greatest("breaker_state", "breaker")),
                _panel("Tables that cannot be written", "short", _greatest("lake_unavailable", "table")),
                _panel("Dead letters by reason", "ops", _rate("dead_letters_total", "kind", "reason"), stacked=True),
                _panel("Retries by reason", "ops", _rate("retries_scheduled_total", "kind", "reason"), stacked=True),
                _panel(
                    "Stops by a flood of dead letters", "short", _total("flood_stops_total", "worker", where=_WORKER)
                ),
            ),
        ),
    ),
)

DEPENDENCIES: Final = Dashboard(
    uid="claimx-dependencies",
    title="ClaimX: API, downloads, lake",
    description="What the pipeline depends on, and how it is treated by it.",
    rows=(
        Row(
            title="The ClaimX API",
            panels=(
                _panel("Calls by outcome", "ops", _rate("claimx_api_calls_total", "outcome"), stacked=True),
                _panel(
                    "Latency by endpoint",
                    "s",
                    _quantile(0.5, "claimx_api_call_seconds", "endpoint"),
                    _quantile(0.95, "claimx_api_call_seconds", "endpoint"),
                ),
                _panel(
                    "Calls under way, and allowed",
                    "short",
                    Query(expr=f"sum(concurrency_in_use{{{_JOB}}})", legend="under way"),
                    Query(expr=f"sum(concurrency_limit{{{_JOB}}})", legend="allowed"),
                ),
                _panel(
                    "Calls saved",
                    "ops",
                    _rate("claimx_enrichment_calls_saved_total", "how"),
                    Query(expr=f"sum(rate(claimx_api_calls_saved_total{{{_JOB}}}{_RANGE}))", legend="shared"),
                    stacked=True,
                ),
                _panel(
                    "Breakers: openings and refusals",
                    "ops",
                    _rate("breaker_openings_total", "breaker"),
                    _rate("breaker_refusals_total", "breaker"),
                ),
                _panel("Limit lowered, by cause", "ops", _rate("concurrency_decreases_total", "cause")),
                _panel("Second opinions", "ops", _rate("claimx_api_second_opinions_total", "result")),
                _panel(
                    "Where projects were found", "ops", _rate("claimx_preflight_projects_total", "found"), stacked=True
                ),
                _panel("Calls by endpoint", "ops", _rate("claimx_api_calls_total", "endpoint"), stacked=True),
            ),
        ),
        Row(
            title="Downloads and their cache",
            panels=(
                _panel("Attempts by result", "ops", _rate("downloads_total", "result"), stacked=True),
                _panel("Time of a file", "s", _quantile(0.5, "download_seconds"), _quantile(0.95, "download_seconds")),
                _panel(
                    "Size of a file", "bytes", _quantile(0.5, "claimx_file_bytes"), _quantile(0.95, "claimx_file_bytes")
                ),
                _panel(
                    "Cache",
                    "bytes",
                    Query(expr=f"max by (instance) (cache_used_bytes{{{_JOB}}})", legend="used {{instance}}"),
                    Query(expr=f"max by (instance) (cache_limit_bytes{{{_JOB}}})", legend="limit {{instance}}"),
                ),
                _panel(
                    "Downloads that wait for room",
                    "short",
                    _greatest("cache_waiting_downloads", "instance"),
                    Query(expr=f"max(cache_unwritable{{{_JOB}}})", legend="disk takes nothing"),
                ),
                _panel("Links refreshed", "ops", _rate("claimx_link_refreshes_total", "result"), stacked=True),
                _panel("Files found in lists", "ops", _rate("claimx_downloads_queued_total", "decision"), stacked=True),
                _panel(
                    "Failed transfers",
                    "ops",
                    _rate("claimx_transfer_failures_total", "status", "category"),
                    stacked=True,
                ),
            ),
        ),
        Row(
            title="The lake",
            panels=(
                _panel("Time of a write, p95", "s", _quantile(0.95, "lake_merge_seconds", "table")),
                _panel("Rows per flush, median", "short", _quantile(0.5, "lake_flush_rows", "table")),
                _panel(
                    "Reruns: conflicts and outages",
                    "ops",
                    _rate("lake_conflicts_total", "table"),
                    _rate("lake_retries_total", "table"),
                ),
                _panel("Files read by upserts", "ops", _rate("lake_files_scanned_total", "table")),
                _panel("Files skipped by upserts", "ops", _rate("lake_files_skipped_total", "table")),
                _panel("Events that were there already", "ops", _rate("lake_rows_known_total", "table")),
            ),
        ),
        Row(
            title="Signing in to Azure",
            panels=(
                _panel(
                    "Renewals",
                    "ops",
                    _rate("azure_credential_renewals_total", "purpose", "result"),
                ),
                _panel(
                    "End of the credential",
                    "dateTimeFromNow",
                    Query(
                        expr=f"min by (purpose) (azure_credential_expires_timestamp_seconds{{{_JOB}}} > 0) * 1000",
                        legend="{{purpose}}",
                    ),
                ),
            ),
        ),
    ),
)

WORKERS: Final = Dashboard(
    uid="claimx-workers",
    title="ClaimX: workers",
    description="How the loops of the workers run.",
    rows=(
        Row(
            title="Batches",
            panels=(
                _panel("Records per batch, median", "short", _quantile(0.5, "batch_records", "worker", where=_WORKER)),
                _panel("Time of a batch, p95", "s", _quantile(0.95, "batch_seconds", "worker", where=_WORKER)),
                _panel("Records in flight", "short", _total("records_in_flight", "worker", where=_WORKER)),
                _panel(
                    "Records by outcome",
                    "ops",
                    _rate("records_processed_total", "worker", "outcome", where=_WORKER),
                    stacked=True,
                ),
                _panel("Waits begun", "ops", _rate("waits_total", "worker", "reason", where=_WORKER)),
                _panel(
                    "Lateness of retries, p95", "s", _quantile(0.95, "retry_lateness_seconds", "worker", where=_WORKER)
                ),
            ),
        ),
        Row(
            title="Kafka",
            panels=(
                _panel("Partitions assigned", "short", _total("partitions_assigned", "worker", where=_WORKER)),
                _panel("Partitions paused", "short", _total("partitions_paused", "worker", "cause", where=_WORKER)),
                _panel("Commits", "ops", _rate("commits_total", "worker", "result", where=_WORKER)),
                _panel("Redeliveries", "ops", _rate("redeliveries_total", "worker", where=_WORKER)),
                _panel("Sends not acknowledged", "ops", _rate("produce_failures_total", "worker", where=_WORKER)),
                _panel("Clients replaced", "ops", _rate("kafka_clients_replaced_total", "job")),
                _panel("Retries by delay", "ops", _rate("retries_scheduled_total", "kind", "delay"), stacked=True),
            ),
        ),
        Row(
            title="Processes",
            panels=(
                _panel("Since the loop last turned", "s", _greatest("loop_turn_age_seconds", "worker", where=_WORKER)),
                _panel(
                    "Processor, cores",
                    "short",
                    Query(expr=f"rate(process_cpu_seconds_total{{{_JOB}}}{_RANGE})", legend="{{job}} {{instance}}"),
                ),
                _panel(
                    "Memory",
                    "bytes",
                    Query(expr=f"process_resident_memory_bytes{{{_JOB}}}", legend="{{job}} {{instance}}"),
                ),
            ),
        ),
    ),
)

DASHBOARDS: Final = (OVERVIEW, DEPENDENCIES, WORKERS)
