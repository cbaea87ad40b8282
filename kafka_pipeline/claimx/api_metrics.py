"""What is counted about the calls of the ClaimX API. Labels hold endpoint templates and fixed words only [SEC-11]."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.metrics import counter, histogram

API_CALLS: Final = counter(
    "claimx_api_calls_total",
    labels=("endpoint", "outcome"),
    meaning="Requests sent to the ClaimX API, by endpoint template and outcome: success, not_found, a failure"
    " category or cancelled. Each quick retry, probe and second opinion is a request of its own.",
    remedy="transient rising: the service is ill or slow; breaker_state and concurrency_limit say how much."
    " auth: renew the token named by claimx_api_token_env. permanent: `claimx-dlq list --kind enrichment`.",
)
API_CALL_SECONDS: Final = histogram(
    "claimx_api_call_seconds",
    labels=("endpoint",),
    meaning="Seconds from sending a request to its last byte, failed tries included.",
    remedy="Near claimx_api_timeout_seconds: for huge media lists raise the time-out; else see concurrency_limit.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)
API_CALLS_SAVED: Final = counter(
    "claimx_api_calls_saved_total",
    labels=("endpoint",),
    meaning="Requests not sent because an equal one was under way and its answer was shared.",
    remedy="No remedy needed; near zero in a burst of one project's events, batches may be too small.",
)
API_SECOND_OPINIONS: Final = counter(
    "claimx_api_second_opinions_total",
    labels=("result",),
    meaning="Requests that were answered before, asked again to tell whose fault a failure is: answered, then the"
    " record fails by itself, or unanswered, then the service or the credential does.",
    remedy="answered rising: certain ids always fail, `claimx-dlq list --kind enrichment` will show them."
    " unanswered: an outage; its records wait, and breaker_state follows.",
)
