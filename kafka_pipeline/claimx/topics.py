"""Topic and group names: one object that producers and consumers read, so that no name can differ between them [TOP-1].

events ─▶ enrichment_pending ─▶ downloads_pending ─▶ downloads_cached ─▶ downloads_results
             enrichment_retry      downloads_retry            dlq_events · dlq_enrichment · dlq_downloads
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from kafka_pipeline.config import PipelineConfig


class DeadLetterKind(str, Enum):
    """Which stage a dead letter comes from; also the last word of its topic's name."""

    EVENTS = "events"
    ENRICHMENT = "enrichment"
    DOWNLOADS = "downloads"


class Group(str, Enum):
    """Consumer groups [TOP-2], without the configured prefix."""

    INGESTER = "claimx-event-ingester"
    ENRICHER = "claimx-enrichment-worker"
    ENRICHER_RETRIES = "claimx-enrichment-retries"
    DOWNLOADER = "claimx-download-worker"
    DOWNLOADER_RETRIES = "claimx-download-retries"
    UPLOADER = "claimx-upload-worker"
    RESULT_PROCESSOR = "claimx-result-processor"
    DEAD_LETTERS = "claimx-dlq-cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """Every topic of the pipeline, by its role, and the prefix of its groups."""

    events: str
    enrichment_pending: str
    downloads_pending: str
    downloads_cached: str
    downloads_results: str
    enrichment_retry: tuple[str, ...]
    """One per delay, in the order of the delays."""
    downloads_retry: tuple[str, ...]
    dlq: str
    """What the names of the dead-letter topics begin with."""
    group_prefix: str = ""

    @classmethod
    def from_config(cls, config: PipelineConfig) -> Topics:
        """Read the names from the configuration."""
        suffixes = retry_suffixes(config.claimx_retry_delays_seconds)
        return cls(
            events=config.claimx_events_topic,
            enrichment_pending=config.claimx_enrichment_pending_topic,
            downloads_pending=config.claimx_downloads_pending_topic,
            downloads_cached=config.claimx_downloads_cached_topic,
            downloads_results=config.claimx_downloads_results_topic,
            enrichment_retry=tuple(f"{config.claimx_enrichment_retry_topic_prefix}.{suffix}" for suffix in suffixes),
            downloads_retry=tuple(f"{config.claimx_downloads_retry_topic_prefix}.{suffix}" for suffix in suffixes),
            dlq=config.claimx_dlq_topic,
            group_prefix=config.kafka_group_prefix,
        )

    def dead_letters(self, kind: DeadLetterKind) -> str:
        """Return the dead-letter topic of a kind."""
        return f"{self.dlq}.{kind.value}"

    def group(self, group: Group) -> str:
        """Return the full name of a consumer group."""
        return f"{self.group_prefix}{group.value}"

    @property
    def work(self) -> tuple[str, ...]:
        """Every topic that a worker drains."""
        return (
            self.events,
            self.enrichment_pending,
            *self.enrichment_retry,
            self.downloads_pending,
            *self.downloads_retry,
            self.downloads_cached,
            self.downloads_results,
        )

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic, dead letters included."""
        return (*self.work, *(self.dead_letters(kind) for kind in DeadLetterKind))


def retry_suffixes(delays_s: Sequence[int]) -> tuple[str, ...]:
    """Name each delay: whole minutes `5m`, else seconds `90s`; equal delays get an ordinal (settled point 5).

    >>> retry_suffixes([300, 90, 300])
    ('5m', '90s', '5m-2')
    """
    seen: Counter[int] = Counter()
    names = []
    for delay_s in delays_s:
        seen[delay_s] += 1
        name = f"{delay_s // 60}m" if delay_s and delay_s % 60 == 0 else f"{delay_s}s"
        names.append(name if seen[delay_s] == 1 else f"{name}-{seen[delay_s]}")
    return tuple(names)
