"""What the lake counts. Labels are table names, a small fixed set."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.metrics import counter, gauge, histogram

MERGE_SECONDS: Final = histogram(
    "lake_merge_seconds",
    labels=("table",),
    meaning="Seconds of one durable write to a table, with reload and reruns.",
    remedy="Growing: compact the table (claimx-maintain). High with lake_conflicts_total: too many writers of it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ROWS_WRITTEN: Final = counter(
    "lake_rows_written_total",
    labels=("table",),
    meaning="Rows inserted or updated.",
    remedy="Flat while events arrive: see lake_unavailable, then the worker's own metrics.",
)
ROWS_KNOWN: Final = counter(
    "lake_rows_known_total",
    labels=("table",),
    meaning="Rows that an append found in the table already, after a redelivery or a replay.",
    remedy="Harmless. Steady growth means redelivery: look at commits_total.",
)
CONFLICTS: Final = counter(
    "lake_conflicts_total",
    labels=("table",),
    meaning="Merges rerun because another writer was faster.",
    remedy="Writers of one table leave each other room by themselves. Most writes rerun: run fewer of them, or raise "
    "delta_flush_seconds.",
)
FILES_SKIPPED: Final = counter(
    "lake_files_skipped_total",
    labels=("table",),
    meaning="Files that upserts left unread thanks to key ranges.",
    remedy="Low against lake_files_scanned_total: compact the table in key order (claimx-maintain).",
)
FILES_SCANNED: Final = counter(
    "lake_files_scanned_total",
    labels=("table",),
    meaning="Files that upserts had to read.",
    remedy="High for small batches: compact the table in key order (claimx-maintain).",
)
FLUSH_ROWS: Final = histogram(
    "lake_flush_rows",
    labels=("table",),
    meaning="Rows per flush.",
    remedy="Near 1 under load: raise delta_flush_seconds. At the limit: raise delta_flush_rows.",
    buckets=(1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0),
)
UNAVAILABLE: Final = gauge(
    "lake_unavailable",
    labels=("table",),
    meaning="1 while writes to the table fail and are repeated.",
    remedy="Check the storage account, the network and the credential; nothing is lost meanwhile.",
)
RETRIES: Final = counter(
    "lake_retries_total",
    labels=("table",),
    meaning="Flushes and reads repeated because the lake could not be reached, or other writers kept winning.",
    remedy="Growing: see lake_unavailable, then lake_conflicts_total.",
)
