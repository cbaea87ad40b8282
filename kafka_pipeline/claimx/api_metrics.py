"""Numbers about the calls of the ClaimX API. Labels hold endpoint templates and fixed words only [SEC-11]."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

API_CALLS: Final = Counter(
    "claimx_api_calls",
    "Requests sent to the ClaimX API, by endpoint template and outcome (success, not_found or a failure category).",
    ["endpoint", "outcome"],
)
# Remedy: `transient` rising: the service is ill or slow, lower claimx_api_max_concurrent, see the retry topics.
# `auth` at all: renew the token named by claimx_api_token_env. `permanent`: see the enrichment dead letters.

API_CALL_SECONDS: Final = Histogram(
    "claimx_api_call_seconds",
    "Time from sending a request to its last byte (seconds), by endpoint template; failed tries included.",
    ["endpoint"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
)
# Remedy: near claimx_api_timeout_seconds: very large media lists or an overloaded service; raise the time-out
# for the former, lower the concurrency for the latter.

API_CALLS_SAVED: Final = Counter(
    "claimx_api_calls_saved",
    "Requests not sent because an equal one was under way and its answer was shared, by endpoint template.",
    ["endpoint"],
)
# Remedy: none needed; near zero during a burst of one project's events means that batches are too small.
