"""Where a failed record of the ClaimX pipeline goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.deadletter.record import DeadLetterRouter, reason_of, without_value
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.runtime.outcomes import Dead, Retry

TaskT = TypeVar("TaskT", ClaimXEnrichmentTask, ClaimXDownloadTask)


class ClaimXFailureRouter:
    """Sends every failed record to the dead letters of its kind, and tells the inventory about files that failed.

    There are no retries outside the process yet: a Retry ends in the dead letters too, under its category, from where
    it can be replayed. Nothing disappears.
    """

    def __init__(self, *, kind: DeadLetterKind, topics: Topics, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kind = kind
        self._results_topic = topics.downloads_results
        self._dead_letters = DeadLetterRouter(kind=kind.value, topic=topics.dead_letters(kind), clock=clock)
        self._clock = clock

    def route(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter and, for a file, its `failed_permanent` result [MSG-2]."""
        metrics.DEAD_LETTERS.labels(kind=self._kind.value, reason=metrics.bounded("reason", reason_of(outcome))).inc()
        match self._kind:
            case DeadLetterKind.EVENTS:
                return (self._dead_letters.route(record, outcome, attempts=1),)
            case DeadLetterKind.ENRICHMENT:
                task = _read(ClaimXEnrichmentTask, record)
                return (self._dead_letters.route(record, outcome, attempts=_attempts(task)),)
            case DeadLetterKind.DOWNLOADS:
                download = _read(ClaimXDownloadTask, record)
                letter = self._dead_letters.route(record, outcome, attempts=_attempts(download))
                if download is None or record.topic == self._results_topic:
                    return (letter,)
                return letter, self._failed(download, outcome)

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter alone, with everything but its value."""
        return (without_value(self._dead_letters.route(record, outcome, attempts=1)),)

    def _failed(self, task: ClaimXDownloadTask, outcome: Retry | Dead) -> Message:
        result = ClaimXUploadResult(
            media_id=task.media_id,
            project_id=task.project_id,
            blob_path=task.blob_path,
            status=ResultStatus.FAILED_PERMANENT,
            file_type=task.file_type,
            file_name=task.file_name,
            source_event_id=task.source_event_id,
            retry_count=task.retry_count,
            error_category=outcome.category.value if isinstance(outcome, Retry) else outcome.reason,
            error_message=outcome.error_text,
            created_at=self._clock.now(),
        )
        return Message(topic=self._results_topic, key=task.media_id.encode(), value=result.to_bytes())


def _read(schema: type[TaskT], record: Record) -> TaskT | None:
    try:
        return schema.from_bytes(record.value)
    except PipelineError:
        return None


def _attempts(task: ClaimXEnrichmentTask | ClaimXDownloadTask | None) -> int:
    return 1 if task is None else task.retry_count + 1
