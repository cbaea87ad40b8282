"""What the ClaimX workers count, beside what the loop, the lake and the API client count for themselves."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.metrics import BYTES_BUCKETS, counter, histogram

ENRICHED: Final = counter(
    "claimx_events_enriched_total",
    labels=("event_type", "outcome"),
    meaning="Events by type and outcome: success, skipped, not_found, retry or dead_letter [HND-10].",
    remedy="skipped: a type without a handler, stored all the same. dead_letter: `claimx-dlq list --kind enrichment`.",
)
PREFLIGHT_PROJECTS: Final = counter(
    "claimx_preflight_projects_total",
    labels=("found",),
    meaning="Projects looked up before their events were handled: in memory, in the table or in the api.",
    remedy="Mostly `api` for long: many new projects, or the memory of known projects is too small.",
)
DOWNLOADS_QUEUED: Final = counter(
    "claimx_downloads_queued_total",
    labels=("decision",),
    meaning="Files found in media lists: queued, already_stored, queued_before by another event a short while ago, or"
    " of_another_project, which showed the file first and keeps it.",
    remedy="queued alone in a burst of one project's events: the memory of queued files is off. of_another_project:"
    " ClaimX lists a file in two projects; it is stored once, under the first.",
)
CALLS_SAVED: Final = counter(
    "claimx_enrichment_calls_saved_total",
    labels=("how",),
    meaning="API calls that events did not need: grouped with another event of the batch for the same project or task;"
    " remembered, a project that the batch had read before; or cached, one that an earlier batch had read since the"
    " event. Beside them: claimx_api_calls_saved_total.",
    remedy="No remedy needed; near zero in a burst of one project's events: raise worker_batch_records or its seconds."
    " No `cached` while a backlog is worked off: raise claimx_project_cache_size or its seconds.",
)
TRANSFERS: Final = counter(
    "claimx_transfers_total",
    labels=("status",),
    meaning="Files by final status: completed, failed (a retry follows) or failed_permanent (dead-lettered).",
    remedy="failed_permanent: `claimx-dlq list --kind downloads` says why.",
)
TRANSFER_FAILURES: Final = counter(
    "claimx_transfer_failures_total",
    labels=("status", "category"),
    meaning="Files that failed, by what is to follow (status, as in claimx_transfers_total) and by category.",
    remedy="Its rate against that of claimx_transfers_total is the failure rate. auth: the token, or the lake's"
    " credential. transient: the storage or the network. permanent: `claimx-dlq inspect --kind downloads` says why.",
)
LINK_REFRESHES: Final = counter(
    "claimx_link_refreshes_total",
    labels=("result",),
    meaning="Download links past their end: refreshed, or the category of what stood in the way of it.",
    remedy="refreshed for most files: they wait longer than links live, add downloaders. transient: ClaimX lists the"
    " file no more, or without a link. circuit_open: the API is down, and the files wait.",
)
FILE_BYTES: Final = histogram(
    "claimx_file_bytes",
    meaning="Size of the files brought into the lake, in bytes.",
    remedy="No remedy needed; the sum is what storage grows by.",
    buckets=BYTES_BUCKETS,
)
