"""What downloads and their cache count. Results are the words of `Fault`, a small fixed set; hosts are no labels."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.metrics import counter, gauge, histogram

DOWNLOADS: Final = counter(
    "downloads_total",
    labels=("result",),
    meaning="Attempts on files by result: success, cancelled, or the fault of those that failed. What waits for a host"
    " that is down is no attempt.",
    remedy="expired: links die before their turn, add downloaders. link_refused, redirect_refused: see"
    " allowed_download_hosts. server_error, network, timed_out: the host is ill, its files come again. too_large: see"
    " claimx_max_file_bytes.",
)
DOWNLOAD_SECONDS: Final = histogram(
    "download_seconds",
    meaning="Seconds from asking for a file until all of it was there, for those that came.",
    remedy="Growing with equal sizes: the network or the host is slow. It is the time of one file, not of its wait.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0),
)
CACHE_USED: Final = gauge(
    "cache_used_bytes",
    meaning="Bytes of the files in the cache, and of the room that running downloads have reserved.",
    remedy="Near cache_limit_bytes for long: uploads are slower than downloads, see the uploader's lag.",
)
CACHE_LIMIT: Final = gauge(
    "cache_limit_bytes",
    meaning="The most bytes that the cache may hold; 0 is no limit.",
    remedy="No remedy needed; it is a setting.",
)
CACHE_WAITING: Final = gauge(
    "cache_waiting_downloads",
    meaning="Downloads that wait for room in the cache.",
    remedy="Above 0 for long: add uploaders, or raise the cache's limit.",
)
CACHE_UNWRITABLE: Final = gauge(
    "cache_unwritable",
    meaning="1 while the disk of the cache takes nothing.",
    remedy="Free space on the disk or mend its mount; downloads wait and go on by themselves.",
)
