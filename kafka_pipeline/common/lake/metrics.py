"""What the lake counts. Labels are table names, a small fixed set."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000)

MERGE_SECONDS = Histogram(
    "lake_merge_seconds",
    "Time of one durable write to a table, with reload and reruns. Growing: compact the table (claimx-maintain).",
    ["table"],
    buckets=SECONDS,
)
ROWS_WRITTEN = Counter(
    "lake_rows_written",
    "Rows inserted or updated. Flat while events arrive: see lake_unavailable, then the worker's own metrics.",
    ["table"],
)
ROWS_KNOWN = Counter(
    "lake_rows_known",
    "Rows that an append found in the table already (redelivery, replay). Harmless; steady growth means redelivery.",
    ["table"],
)
CONFLICTS = Counter(
    "lake_conflicts",
    "Merges rerun because another writer was faster. Many: run fewer writers of this table or flush less often.",
    ["table"],
)
FILES_SKIPPED = Counter(
    "lake_files_skipped",
    "Files an upsert left unread thanks to key ranges. Low against lake_files_scanned: compact the table in key order.",
    ["table"],
)
FILES_SCANNED = Counter(
    "lake_files_scanned",
    "Files an upsert had to read. High for small batches: compact the table in key order.",
    ["table"],
)
FLUSH_ROWS = Histogram(
    "lake_flush_rows",
    "Rows per flush. Always near 1 under load: raise delta_flush_seconds; always at the limit: raise delta_flush_rows.",
    ["table"],
    buckets=ROWS,
)
UNAVAILABLE = Gauge(
    "lake_unavailable",
    "1 while writes to the table fail and are repeated. Check the storage account, the network and the credential.",
    ["table"],
)
RETRIES = Counter(
    "lake_retries",
    "Flushes repeated because the lake could not be reached. Growing: see lake_unavailable.",
    ["table"],
)
