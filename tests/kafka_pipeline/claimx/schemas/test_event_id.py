"""The deterministic event id [EID-1..6]."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.schemas.event_id import carries_time, derive_event_id

IDS = st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
TIMES = st.none() | st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants it naive


def by_the_book(canonical: str, milliseconds: int) -> str:
    """Follow the rule step by step, with other tools than the code under test."""
    octets = bytearray(milliseconds.to_bytes(6, "big") + sha256(canonical.encode()).digest()[:10])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(octets)))


def test_canonical_texts_of_the_reference_hash_to_its_ids(sample: Any) -> None:
    """Appendix B, by the book: the vectors and this test's own reading of the rule agree."""
    time = json.loads(sample.canonical)[2]
    milliseconds = 0 if time is None else int(datetime.fromisoformat(time).timestamp() * 1000)
    assert sample.event_id == by_the_book(sample.canonical, milliseconds)


@settings(deadline=None, max_examples=200)
@given(
    texts=st.tuples(*[IDS] * 4),
    time=TIMES,
    media_ids=st.none() | st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4),
)
def test_any_event_gets_the_id_of_the_rule(
    texts: tuple[str | None, ...], time: datetime | None, media_ids: list[str] | None
) -> None:
    """The id is what the rule says, a valid UUIDv8, whatever the texts hold [EID-2]."""
    media, task, video, mfn = texts
    canonical = json.dumps(
        [
            "TYPE",
            "1",
            None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00").rjust(32, "0"),
            media,
            task,
            video,
            mfn,
            sorted(media_ids) if media_ids else None,
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )
    milliseconds = 0 if time is None else (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    event_id = derive_event_id(
        event_type="TYPE",
        project_id="1",
        ingested_at=time,
        media_id=media,
        task_assignment_id=task,
        video_collaboration_id=video,
        master_file_name=mfn,
        media_ids=media_ids,
    )
    assert by_the_book(canonical, milliseconds) == event_id
    assert uuid.UUID(event_id).version == 8
    assert uuid.UUID(event_id).variant == uuid.RFC_4122
    assert carries_time(event_id, time or datetime(2026, 1, 1, tzinfo=UTC)) == (time is not None)


def test_the_order_of_media_ids_does_not_matter() -> None:
    """Two deliveries that list the same files are one event [EID-2]."""
    time = datetime(2026, 3, 2, tzinfo=UTC)
    one = derive_event_id(event_type="X", project_id="1", ingested_at=time, media_ids=["10", "9"])
    two = derive_event_id(event_type="X", project_id="1", ingested_at=time, media_ids=["9", "10"])
    assert one == two


def test_ids_sort_by_time() -> None:
    """Later events have greater ids, which keeps days together in the lake."""
    start = datetime(2026, 3, 2, tzinfo=UTC)
    ids = [
        derive_event_id(event_type="X", project_id=str(n % 7), ingested_at=start + timedelta(milliseconds=n))
        for n in range(200)
    ]
    assert sorted(ids) == ids


def test_a_time_before_1970_still_gives_an_id() -> None:
    """Odd, but readable: the id is well formed."""
    time = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    event_id = derive_event_id(event_type="X", project_id="1", ingested_at=time)
    assert uuid.UUID(event_id).version == 8
    assert carries_time(event_id, time)


def test_a_time_at_the_epoch_counts_as_none() -> None:
    """A zero time part cannot be told from no time: the writer looks everywhere [EVW-1]."""
    time = datetime(1970, 1, 1, tzinfo=UTC)
    assert not carries_time(derive_event_id(event_type="X", project_id="1", ingested_at=time), time)
