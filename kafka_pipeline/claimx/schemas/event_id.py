"""The identity of an event: the feed's own id, or one made of nothing but what the event says [EID-1..6].

    canonical = JSON [event_type, project_id, ingested_at, media_id, task_assignment_id,
                      video_collaboration_id, master_file_name, media_ids]
    bytes 0-5   Unix milliseconds of the payload's ingestion time, rounded down; zero where it has none
    bytes 6-15  the first ten bytes of SHA-256(canonical), with the version (8) and variant bits of RFC 9562 set

The time in front keeps ids of one day together in the lake, which is what lets a merge skip files. No clock and no
broker timestamp enters, so a redelivered event keeps its id [EID-4].
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from kafka_pipeline.claimx.coercion import EPOCH
from kafka_pipeline.claimx.schemas.wire import encode

_MS_A_DAY: Final = 86_400_000
_TIME_MASK: Final = (1 << 48) - 1
_HASH_MASK: Final = (1 << 80) - 1
_VERSION: Final = 8 << 76
_VARIANT: Final = 0b10 << 62
_FREE_BITS: Final = _HASH_MASK & ~(0xF << 76) & ~(0b11 << 62)


def derive_event_id(
    *,
    event_type: str,
    project_id: str,
    ingested_at: datetime | None,
    media_id: str | None = None,
    task_assignment_id: str | None = None,
    video_collaboration_id: str | None = None,
    master_file_name: str | None = None,
    media_ids: Sequence[str] | None = None,
) -> str:
    """Return the event's id, lower-case canonical UUID text [EID-2, EID-3].

    `ingested_at` is the payload's own value, aware UTC, or None; a broker timestamp must not be given here.
    """
    canonical = encode(
        (
            event_type,
            project_id,
            None if ingested_at is None else ingested_at.isoformat(timespec="microseconds"),
            media_id,
            task_assignment_id,
            video_collaboration_id,
            master_file_name,
            sorted(media_ids) if media_ids else None,
        )
    )
    milliseconds = 0 if ingested_at is None else unix_milliseconds(ingested_at) & _TIME_MASK
    hashed = int.from_bytes(sha256(canonical).digest()[:10])
    number = milliseconds << 80 | hashed & _FREE_BITS | _VERSION | _VARIANT
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def carries_time(event_id: str, ingested_at: datetime) -> bool:
    """Tell whether the id was made with this ingestion time, so that equal ids mean equal times [EVW-1].

    False for an id from the feed and for one of an event without ingestion time: those may come again with another.
    """
    if len(event_id) != 36 or event_id[14] != "8":
        return False
    milliseconds = unix_milliseconds(ingested_at) & _TIME_MASK
    return milliseconds != 0 and event_id.startswith(f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-")


def unix_milliseconds(time: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down."""
    since = time - EPOCH
    return since.days * _MS_A_DAY + since.seconds * 1_000 + since.microseconds // 1_000
