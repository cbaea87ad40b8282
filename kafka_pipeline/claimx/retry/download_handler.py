"""What becomes of a file that could not be fetched or stored (WP-6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_pipeline.claimx.failures import DeadLetters
from kafka_pipeline.claimx.retry.schedule import RetrySchedule
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.outcomes import Dead, Retry
from kafka_pipeline.common.runtime.processor import Route, SetAside, TryAgain


class DownloadRetryHandler:
    """Sends a failed file back to the download stage, later; what is exhausted or permanent, to the dead letters.

    An upload task is a download task with more fields, so a failed upload begins with the download again [7.4]. Either
    way the inventory is told: `failed` while a retry follows, `failed_permanent` at the end [MSG-2].
    """

    def __init__(self, *, topics: Topics, policy: RetryPolicy, clock: Clock = SYSTEM_CLOCK) -> None:
        kind = DeadLetterKind.DOWNLOADS
        self._schedule = RetrySchedule(kind, topics.downloads_retry, policy, clock)
        self._dead_letters = DeadLetters(kind, topics, clock)
        self._results_topic = topics.downloads_results
        self._clock = clock

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return where the record goes [RTY-1], and what the inventory is told."""
        task = _read(record.value)
        if task is None:
            return SetAside(messages=(self._dead_letters.letter(record, outcome, attempts=1),))
        if isinstance(outcome, Retry):
            now_is = _read(outcome.value) or task
            again = self._schedule.message(record, outcome, task, now_is.retried().to_bytes())
            if again is not None:
                return TryAgain(messages=(again, self._result(task, outcome, ResultStatus.FAILED)))
        letter = self._dead_letters.letter(record, outcome, attempts=task.retry_count + 1)
        return SetAside(messages=(letter, self._result(task, outcome, ResultStatus.FAILED_PERMANENT)))

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter without its value."""
        return self._dead_letters.without_value(record, outcome)

    def _result(self, task: ClaimXDownloadTask, outcome: Retry | Dead, status: ResultStatus) -> Message:
        result = ClaimXUploadResult(
            media_id=task.media_id,
            project_id=task.project_id,
            blob_path=task.blob_path,
            status=status,
            file_type=task.file_type,
            file_name=task.file_name,
            source_event_id=task.source_event_id,
            retry_count=task.retry_count,
            error_category=outcome.category.value if isinstance(outcome, Retry) else outcome.reason,
            error_message=outcome.error_text,
            created_at=self._clock.now(),
        )
        return Message(topic=self._results_topic, key=task.media_id.encode(), value=result.to_bytes())


def _read(value: bytes | None) -> ClaimXDownloadTask | None:
    try:
        return ClaimXDownloadTask.from_bytes(value)
    except PipelineError:
        return None
