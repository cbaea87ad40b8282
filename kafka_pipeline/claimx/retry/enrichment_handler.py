"""What becomes of an event that could not be enriched (WP-6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_pipeline.claimx.failures import DeadLetters
from kafka_pipeline.claimx.retry.schedule import RetrySchedule
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.outcomes import Dead, Retry
from kafka_pipeline.common.runtime.processor import Route, SetAside, TryAgain


class EnrichmentRetryHandler:
    """Sends a failed task to the retry topic of its attempt; what is exhausted or permanent, to the dead letters."""

    def __init__(self, *, topics: Topics, policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK) -> None:
        kind = DeadLetterKind.ENRICHMENT
        self._schedule = RetrySchedule(kind, topics.enrichment_retry, policy, clock)
        self._dead_letters = DeadLetters(kind, topics, clock)

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return where the record goes [RTY-1]. An unreadable one is set aside, with one attempt."""
        task = _read(record)
        if isinstance(outcome, Retry) and task is not None:
            again = self._schedule.message(record, outcome, task, task.retried().to_bytes())
            if again is not None:
                return TryAgain(messages=(again,))
        attempts = 1 if task is None else task.retry_count + 1
        return SetAside(messages=(self._dead_letters.letter(record, outcome, attempts=attempts),))

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter without its value."""
        return self._dead_letters.without_value(record, outcome)


def _read(record: Record) -> ClaimXEnrichmentTask | None:
    try:
        return ClaimXEnrichmentTask.from_bytes(record.value)
    except PipelineError:
        return None
