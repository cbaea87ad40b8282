"""The ids that the pipeline makes, made a second time from their description: event_id [EID-2], contact_id [CON-1]."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

_CONTACTS = UUID("3b7754e1-77f9-5a83-a233-8583de31c1fd")
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_PHONE_DIGITS = 7


def event_id(
    *,
    event_type: str,
    project_id: str,
    ingested_at: datetime | None = None,
    media_id: str | None = None,
    task_assignment_id: str | None = None,
    video_collaboration_id: str | None = None,
    master_file_name: str | None = None,
    media_ids: tuple[str, ...] | None = None,
) -> str:
    """Return the UUIDv8 of an event that brought no id of its own; `ingested_at` is the payload's, in UTC."""
    moment = None if ingested_at is None else ingested_at.isoformat(timespec="microseconds")
    listed = None if media_ids is None else sorted(media_ids)
    ids = (media_id, task_assignment_id, video_collaboration_id, master_file_name)
    digest = hashlib.sha256(_canonical([event_type, project_id, moment, *ids, listed])).digest()
    millis = 0 if ingested_at is None else (ingested_at - _UNIX_EPOCH) // timedelta(milliseconds=1)
    raw = bytearray(millis.to_bytes(6, "big") + digest[:10])
    raw[6] = 0x80 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return str(UUID(bytes=bytes(raw)))


def contact_id(
    *,
    project_id: str,
    contact_type: str,
    email: str | None = None,
    phone: str | None = None,
    name: str | None = None,
) -> str | None:
    """Return the id of a contact, by the first of e-mail, phone and name that can tell it; None where none can."""
    digits = "".join(char for char in phone or "" if char in "0123456789")
    key = (email or "").strip().lower()
    if not key and len(digits) >= _MIN_PHONE_DIGITS:
        key = digits
    if not key:
        key = " ".join(unicodedata.normalize("NFC", name or "").split()).lower()
    return str(uuid5(_CONTACTS, _canonical([project_id, contact_type, key]).decode())) if key else None


def _canonical(values: list[object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
