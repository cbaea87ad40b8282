"""What a record is found by, in log lines and traces: its place in Kafka and the ids in its value, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kafka_pipeline.claimx.schemas import wire
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outbox import position

_LARGEST: Final = 65_536
"""Bytes of a value that is looked into: failures come in storms, and ours are far smaller."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_EVENT_ID: Final = re.compile(r"(?=.*[0-9])[A-Za-z0-9-]{1,64}")
_TYPES: Final = re.compile("|".join(each.value for each in EventType))

_IDS: Final = (
    ("event_id", _EVENT_ID, ("event_id", "eventId", "source_event_id")),
    ("event_type", _TYPES, ("event_type", "eventType")),
    ("project_id", _NUMBER, ("project_id", "projectId")),
    ("media_id", _NUMBER, ("media_id", "mediaId")),
)
"""Each with what it looks like, and its names in raw events, tasks and results. What looks otherwise is not shown."""


def ids_of(record: Record) -> dict[str, str]:
    """Return the ids in a record's value, those that are there and look like ids; none if it cannot be read."""
    value = record.value or b""
    if len(value) > _LARGEST:
        return {}
    try:
        document = wire.decode(value)
    except wire.JsonError:
        return {}
    if not isinstance(document, dict):
        return {}
    found: dict[str, str] = {}
    for name, shape, spellings in _IDS:
        text = next((str(document[each]).strip() for each in spellings if document.get(each) is not None), "")
        if shape.fullmatch(text):
            found[name] = text
    return found


def described(record: Record) -> Mapping[str, object]:
    """Return what to call a record in a log line: its place, its trace, and its ids."""
    return {**position(record), **ids_of(record)}
