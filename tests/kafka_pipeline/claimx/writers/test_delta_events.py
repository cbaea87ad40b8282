"""The events table: every event once, however often and wherever it was delivered (I2, I6)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage, parse_event
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter, PlacedEvent
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.writer import LakeWriter
from kafka_pipeline.common.messaging import Record, TopicPartition

TOPIC = "claimx.events.raw"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
DAY_MS = 86_400_000


def event(*, timestamp_ms: int = 1772460310000, **payload: Any) -> ClaimXEventMessage:
    """Return an event of project 1."""
    raw = json.dumps({"eventType": "PROJECT_CREATED", "projectId": 1, **payload}).encode()
    return parse_event(raw, record_timestamp_ms=timestamp_ms, now=NOW)


def placed(message: ClaimXEventMessage, offset: int, partition: int = 0) -> PlacedEvent:
    """Return the event at a place."""
    return PlacedEvent(event=message, topic_partition=TopicPartition(TOPIC, partition), offset=offset)


def timed(number: int) -> ClaimXEventMessage:
    """Return one of many different events with a time."""
    return event(mediaId=number, IngestionTime=f"2026-03-0{1 + number % 5}T14:00:{number % 60:02}Z")


@pytest.fixture
def events(lake: LakeWriter, clock: Any) -> ClaimXEventsWriter:
    """Return the writer."""
    return ClaimXEventsWriter(lake, clock=clock)


async def test_an_event_is_stored_with_its_day(events: ClaimXEventsWriter, clock: Any, look: Any) -> None:
    """Its ids, its payload, the time of the write, the UTC day of its ingestion (9.2)."""
    message = event(IngestionTime="2026-03-02T23:30:00-05:00", mediaIds=[2, 1], extra="x")
    await events.write([placed(message, 0)])
    (row,) = look(EVENTS)
    assert row["event_id"] == message.event_id
    assert row["event_date"] == date(2026, 3, 3)
    assert row["ingested_at"] == datetime(2026, 3, 3, 4, 30, tzinfo=UTC)
    assert row["created_at"] == clock.now()
    assert json.loads(row["media_ids"]) == ["2", "1"]
    assert json.loads(row["raw_data"]) == message.raw_data


async def test_the_table_is_partitioned_by_day(events: ClaimXEventsWriter, tmp_path: Path) -> None:
    """So that a look-up of timed ids reads one day."""
    await events.write([placed(timed(1), 0)])
    assert DeltaTable(str(tmp_path / "Tables" / EVENTS.name)).metadata().partition_columns == ["event_date"]


async def test_nothing_is_no_write(events: ClaimXEventsWriter, tmp_path: Path) -> None:
    """No events, no table."""
    await events.write([])
    assert not (tmp_path / "Tables").exists()


async def test_a_redelivered_batch_adds_nothing(events: ClaimXEventsWriter, tmp_path: Path, look: Any) -> None:
    """Same records, same or another process: no row, no commit (I2, I6)."""
    batch = [placed(timed(n), n) for n in range(10)]
    await events.write(batch)
    version = DeltaTable(str(tmp_path / "Tables" / EVENTS.name)).version()
    for _ in range(2):
        other = LakeWriter(DeltaStore(LakeLocation.parse(tmp_path)), flush_rows=100, flush_seconds=0)
        await ClaimXEventsWriter(other).write(batch)
        await other.close()
    assert len(look(EVENTS)) == 10
    assert DeltaTable(str(tmp_path / "Tables" / EVENTS.name)).version() == version


async def test_an_overlapping_redelivery_adds_only_what_is_new(events: ClaimXEventsWriter, look: Any) -> None:
    """A batch cut differently after a crash."""
    await events.write([placed(timed(n), n) for n in range(5)])
    await events.write([placed(timed(n), n) for n in range(3, 9)])
    assert sorted({row["media_id"] for row in look(EVENTS)}) == [str(n) for n in range(9)]
    assert len(look(EVENTS)) == 9


async def test_a_second_copy_under_another_offset_is_dropped(events: ClaimXEventsWriter, look: Any) -> None:
    """In the same call, in a later one, and on another partition [EVW-1]."""
    await events.write([placed(timed(1), 0), placed(timed(1), 1)])
    await events.write([placed(timed(1), 2)])
    await events.write([placed(timed(1), 0, partition=3)])
    assert len(look(EVENTS)) == 1


@pytest.mark.parametrize("payload", [{"eventId": "feed-1"}, {}], ids=["id of the feed", "id without time"])
async def test_a_copy_on_another_day_is_dropped_where_the_id_carries_no_time(
    events: ClaimXEventsWriter, look: Any, payload: dict[str, Any]
) -> None:
    """The broker's time, and so the day, may differ between deliveries: all days are searched [EVW-1]."""
    first, again = (event(timestamp_ms=1772460310000 + n * DAY_MS, **payload) for n in (0, 3))
    assert first.event_id == again.event_id
    assert first.ingested_at.date() != again.ingested_at.date()
    await events.write([placed(first, 0)])
    await events.write([placed(again, 1)])
    assert [row["event_date"] for row in look(EVENTS)] == [first.ingested_at.date()]


async def test_of_copies_in_one_call_the_first_place_is_kept(events: ClaimXEventsWriter, look: Any) -> None:
    """Lowest partition, then lowest offset, whatever the order of the call [settled point 4]."""
    copies = [
        placed(event(eventId="x", mediaId="late"), 9),
        placed(event(eventId="x", mediaId="first"), 7),
        placed(event(eventId="x", mediaId="elsewhere"), 1, partition=1),
    ]
    await events.write(copies)
    assert [row["media_id"] for row in look(EVENTS)] == ["first"]


async def test_a_long_number_in_the_payload_is_stored_exactly(events: ClaimXEventsWriter, look: Any) -> None:
    """raw_data is the payload, digit by digit."""
    await events.write([placed(event(other=2**80), 0)])
    assert json.loads(look(EVENTS)[0]["raw_data"])["other"] == 2**80


async def test_signed_links_are_stored_only_where_the_setting_says_so(lake: LakeWriter, look: Any) -> None:
    """[SEC-8], settled point 18."""
    link = "https://a.example.com/f?sig=SECRET"
    await ClaimXEventsWriter(lake).write([placed(event(eventId="cut", link=link), 0)])
    await ClaimXEventsWriter(lake, signed_links=True).write([placed(event(eventId="kept", link=link), 1)])
    stored = {row["event_id"]: json.loads(row["raw_data"])["link"] for row in look(EVENTS)}
    assert stored == {"cut": "https://a.example.com/f", "kept": link}


def test_an_event_is_placed_where_its_record_was() -> None:
    """Topic, partition, offset of the record."""
    record = Record(topic=TOPIC, partition=4, offset=17, key=None, value=b"{}")
    assert PlacedEvent.of(timed(1), record) == placed(timed(1), 17, partition=4)
