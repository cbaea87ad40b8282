"""The first worker: raw events become rows of `claimx_events` and enrichment tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage, MalformedEventError, parse_event
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter, PlacedEvent
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome
from kafka_pipeline.common.runtime.processor import failure_outcome


class ClaimXEventIngesterWorker:
    """Parses each event, appends it once (I2), and lets the loop produce its enrichment task.

    The rows are durable before the task is produced, and the task is produced also when the row already existed: a
    crash between the two steps would otherwise lose the task [WRK-1]. What cannot be parsed is set aside [EVT-5].

    Batches start in the order of arrival and hand their rows to the writer before their first wait, so the writer sees
    every partition's offsets ascending: what its transaction versions need.
    """

    name = "claimx-ingester"
    ordering = Ordering.ARRIVAL

    def __init__(
        self, *, topics: Topics, writer: ClaimXEventsWriter, max_event_bytes: int, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.group = topics.group(Group.INGESTER)
        self.topics = (topics.events,)
        self._tasks_topic = topics.enrichment_pending
        self._writer = writer
        self._max_event_bytes = max_event_bytes
        self._clock = clock

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done with the enrichment task of each event, Dead("malformed" or "too_large") for the others."""
        now = self._clock.now()
        parsed = [self._parse(record, now) for record in records]
        await self._writer.write(
            [
                PlacedEvent.of(event, record)
                for record, event in zip(records, parsed, strict=True)
                if isinstance(event, ClaimXEventMessage)
            ]
        )
        now = self._clock.now()
        return [Done((self._task(event, now),)) if isinstance(event, ClaimXEventMessage) else event for event in parsed]

    def _parse(self, record: Record, now: datetime) -> ClaimXEventMessage | Outcome:
        size_bytes = len(record.value or b"")
        if size_bytes > self._max_event_bytes:
            return Dead(
                reason="too_large",
                error_class="EventTooLargeError",
                error_text=f"The event has {size_bytes} bytes; max_event_bytes allows {self._max_event_bytes}.",
            )
        try:
            return parse_event(record.value, record_timestamp_ms=record.timestamp_ms, now=now)
        except MalformedEventError as error:
            return failure_outcome(error)

    def _task(self, event: ClaimXEventMessage, now: datetime) -> Message:
        task = ClaimXEnrichmentTask.from_event(event, now)
        return Message(self._tasks_topic, task.to_bytes(), event.project_id.encode())
