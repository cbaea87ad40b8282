"""The helpers to define metrics with, and what the worker loop counts, for every worker in the same way."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.catalogue import (
    BYTES_BUCKETS,
    CATALOGUE,
    OTHER,
    RECORDS_BUCKETS,
    SECONDS_BUCKETS,
    MetricConflictError,
    MetricKind,
    MetricSpec,
    bounded,
    counter,
    gauge,
    histogram,
)

__all__ = [
    "BATCH_RECORDS",
    "BATCH_SECONDS",
    "BYTES_BUCKETS",
    "CATALOGUE",
    "COMMITS",
    "DEAD_LETTERS",
    "EVENT_LATENCY",
    "FLOOD_STOPS",
    "LAG",
    "OTHER",
    "PARTITIONS_ASSIGNED",
    "PARTITIONS_PAUSED",
    "PRODUCE_FAILURES",
    "RECORDS_BUCKETS",
    "RECORDS_IN_FLIGHT",
    "RECORDS_PROCESSED",
    "RECORDS_WAITING",
    "REDELIVERIES",
    "RETRIES_SCHEDULED",
    "RETRY_LATENESS",
    "SECONDS_BUCKETS",
    "SINCE_TURN",
    "WAITS",
    "MetricConflictError",
    "MetricKind",
    "MetricSpec",
    "bounded",
    "counter",
    "gauge",
    "histogram",
]

RECORDS_PROCESSED: Final = counter(
    "records_processed_total",
    labels=("worker", "outcome"),
    meaning="Records that came to an outcome: success or the worker's own word for it, skipped, retry, dead_letter.",
    remedy="A rate of zero while there is lag: look at breaker_state, partitions_paused and the worker's errors.",
)
LAG: Final = gauge(
    "lag_seconds",
    labels=("worker", "topic"),
    meaning="Age of the oldest record that the worker was given and has not finished, from its Kafka timestamp, or from"
    " when it was due if it is a retry; 0 if there is none. Known when asked, also if the loop hangs.",
    remedy="Growing: records_waiting says what is down. Nothing waits: the worker is too slow, add workers, up to one"
    " for each partition.",
)
EVENT_LATENCY: Final = histogram(
    "event_latency_seconds",
    labels=("worker",),
    meaning="Seconds from the arrival of an event in Kafka until what a worker makes of it is durable: its row, its"
    " facts, its file. Retries, waits and replays are in it.",
    remedy="lag_seconds shows the stage that takes the time; a long tail alone is retries.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0),
)
PARTITIONS_ASSIGNED: Final = gauge(
    "partitions_assigned",
    labels=("worker",),
    meaning="Partitions that the group gave this worker, retry topics included.",
    remedy="0 for long: more workers than partitions, or it cannot join its group; look at its log.",
)
SINCE_TURN: Final = gauge(
    "loop_turn_age_seconds",
    labels=("worker",),
    meaning="Seconds since the loop of the worker last turned; an outage of a dependency does not stop it.",
    remedy="Above 60: the loop hangs and liveness fails. Not restarted? Restart it; nothing is lost.",
)
BATCH_RECORDS: Final = histogram(
    "batch_records",
    labels=("worker",),
    meaning="Records per batch.",
    remedy="Always full: the worker is behind, add partitions and workers. Always 1: raise the batch wait.",
    buckets=RECORDS_BUCKETS,
)
BATCH_SECONDS: Final = histogram(
    "batch_seconds",
    labels=("worker",),
    meaning="Seconds from the first record of a batch being polled until all its records have an outcome.",
    remedy="Growing: the dependency behind the worker is slow, or the lake's tables want maintenance.",
)
RECORDS_IN_FLIGHT: Final = gauge(
    "records_in_flight",
    labels=("worker",),
    meaning="Records polled whose outcome is not yet durable.",
    remedy="At its bound for long: the worker waits for its dependency. It is the bound on memory, not an error.",
)
COMMITS: Final = counter(
    "commits_total",
    labels=("worker", "result"),
    meaning="Offset commits; result is stored, fenced or failed.",
    remedy="fenced now and then is a rebalance. Often: batches outlast max.poll.interval, make them smaller.",
)
DEAD_LETTERS: Final = counter(
    "dead_letters_total",
    labels=("kind", "reason"),
    meaning="Records sent to the dead letters.",
    remedy="`claimx-dlq inspect` shows them by reason; repair the cause, then replay.",
)
PRODUCE_FAILURES: Final = counter(
    "produce_failures_total",
    labels=("worker",),
    meaning="Sends that the broker did not acknowledge; their records were not committed.",
    remedy="Look at the broker: full disk, too few in-sync replicas, missing rights.",
)
REDELIVERIES: Final = counter(
    "redeliveries_total",
    labels=("worker",),
    meaning="Records polled again although this process had seen their offset.",
    remedy="Harmless by design. A steady rate means commits do not succeed: look at commits_total.",
)
PARTITIONS_PAUSED: Final = gauge(
    "partitions_paused",
    labels=("worker", "cause"),
    meaning="Partitions that wait; cause is full: as much is held as may be, unavailable: a dependency is down, or"
    " delayed: retries that are not due yet.",
    remedy="full for long: the dependency behind the worker is slow. unavailable: see records_waiting for what is down."
    " delayed is normal. Nothing is lost in any of them.",
)
RECORDS_WAITING: Final = gauge(
    "records_waiting",
    labels=("worker", "reason"),
    meaning="Records that wait for a dependency that is down, by what they wait for; no attempt counts meanwhile.",
    remedy="circuit_open, api_auth: the API. host_unavailable: a download host. dead_letter_flood: the worker has"
    " stopped, see flood_stops_total. They go on by themselves when the dependency is back.",
)
WAITS: Final = counter(
    "waits_total",
    labels=("worker", "reason"),
    meaning="Times a batch began to wait for a dependency, by what it waits for.",
    remedy="Growing while records_waiting is not zero: probes fail, the dependency is still down.",
)
RETRIES_SCHEDULED: Final = counter(
    "retries_scheduled_total",
    labels=("kind", "delay", "reason"),
    meaning="Failed records sent to a retry topic, by stage, delay and category of the failure.",
    remedy="A steady rate in the longest delays: they will end in the dead letters; repair the cause before that.",
)
RETRY_LATENESS: Final = histogram(
    "retry_lateness_seconds",
    labels=("worker",),
    meaning="Seconds between the time a retry was due and the time its worker began with it.",
    remedy="More than a second: the worker is full, or was not running when the retry was due.",
)
FLOOD_STOPS: Final = counter(
    "flood_stops_total",
    labels=("worker",),
    meaning="Times a worker stopped because most of its records would have gone to the dead letters.",
    remedy="Nothing was set aside by it: look at dead_letters_total by reason, repair the cause, restart the worker.",
)
