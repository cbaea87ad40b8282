"""Which retry topic takes a failed task, and when it is due there."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.deadletter.retries import retry_message
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.outcomes import Retry


class RetrySchedule:
    """The retry topics of one stage, one for each delay of the policy, in its order [RTY-2]."""

    def __init__(
        self, kind: DeadLetterKind, topics: Sequence[str], policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if len(topics) != len(policy.delays_s):
            raise ValueError("every delay has a topic of its own")
        self._kind = kind
        self._topics = tuple(topics)
        self._policy = policy
        self._clock = clock

    def message(
        self, record: Record, failure: Retry, task: ClaimXEnrichmentTask | ClaimXDownloadTask, value: bytes
    ) -> Message | None:
        """Return what waits in a retry topic for the task's next attempt; None if this attempt was the last."""
        now = self._clock.now()
        decision = self._policy.decide(task.retry_count, now, failure.not_before)
        if decision is None:
            return None
        topic = self._topics[decision.delay]
        metrics.RETRIES_SCHEDULED.labels(
            kind=self._kind.value, delay=topic.rsplit(".", 1)[-1], reason=failure.category.value
        ).inc()
        return retry_message(
            record,
            failure,
            topic=topic,
            value=value,
            attempts=task.retry_count + 1,
            due_at=decision.due_at,
            now=now,
        )
