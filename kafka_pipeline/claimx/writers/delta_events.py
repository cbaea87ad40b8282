"""The events table: every event once, however often it was delivered (I2, [EVW-1])."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage
from kafka_pipeline.claimx.schemas.inventory import EventRow
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.lake.delta import Positioned
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record, TopicPartition


class PlacedEvent(NamedTuple):
    """An event, and the place in Kafka it was read from."""

    event: ClaimXEventMessage
    topic_partition: TopicPartition
    offset: int

    @classmethod
    def of(cls, event: ClaimXEventMessage, record: Record) -> PlacedEvent:
        """Return the event with the place of the record that held it."""
        return cls(event, record.topic_partition, record.offset)


class ClaimXEventsWriter:
    """Appends events to `claimx_events`, each event_id once.

    A redelivered batch adds nothing; a second copy under another offset is dropped, within the call and against the
    table; of copies in one call the one at the lowest place is kept [settled point 4]. `signed_links` keeps the
    queries of links inside payloads, which are dropped otherwise [SEC-8].
    """

    def __init__(self, lake: LakeWriter, *, clock: Clock = SYSTEM_CLOCK, signed_links: bool = False) -> None:
        self._rows = lake.appender(EVENTS)
        self._clock = clock
        self._signed_links = signed_links

    async def write(self, events: Sequence[PlacedEvent]) -> None:
        """Return when the events are durable. Waits while the lake is away (I7).

        Raises PipelineError, permanent or unknown, where these events cannot go in. No events is no write.
        """
        created_at = self._clock.now()
        await self._rows.write(
            [
                Positioned(
                    EventRow.columns_of(event, created_at, signed_links=self._signed_links),
                    topic,
                    partition,
                    offset,
                    not event.has_time,
                )
                for event, (topic, partition), offset in events
            ]
        )
