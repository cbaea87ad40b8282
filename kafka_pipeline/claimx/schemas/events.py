"""ClaimX events: what the feed sends, read into what the pipeline works with (`claimx-domain`, section 2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

import structlog
from pydantic import Field

from kafka_pipeline.claimx.coercion import EPOCH, CoercionError, strict_id, utc_from
from kafka_pipeline.claimx.schemas.event_id import carries_time, derive_event_id
from kafka_pipeline.claimx.schemas.types import OptionalId, RawData, RequiredId, UtcDatetime, WireMessage, assembled
from kafka_pipeline.claimx.schemas.wire import JsonError, decode
from kafka_pipeline.common.failures import Category, PipelineError

_log = structlog.get_logger(__name__)

# In each: snake_case first, then camelCase [EVT-4]. Only what the feed documents; everything else stays in raw_data.
_EVENT_ID: Final = ("event_id", "eventId")
_EVENT_TYPE: Final = ("event_type", "eventType")
_PROJECT_ID: Final = ("project_id", "projectId")
_MEDIA_ID: Final = ("media_id", "mediaId")
_MEDIA_IDS: Final = ("media_ids", "mediaIds")
_TASK_ASSIGNMENT_ID: Final = ("task_assignment_id", "taskAssignmentId")
_VIDEO_COLLABORATION_ID: Final = ("video_collaboration_id", "videoCollaborationId")
_MASTER_FILE_NAME: Final = ("master_file_name", "masterFileName")
_INGESTED_AT: Final = ("ingested_at", "ingestion_time", "ingestedAt", "IngestionTime", "$IngestionTime")


class EventType(str, Enum):
    """The types that have a handler [EVT-1]. Any other is stored, and skipped by the enricher."""

    PROJECT_CREATED = "PROJECT_CREATED"
    """A project was created."""
    PROJECT_FILE_ADDED = "PROJECT_FILE_ADDED"
    """One file was added."""
    PROJECT_MFN_ADDED = "PROJECT_MFN_ADDED"
    """A master file name was attached."""
    CUSTOM_TASK_ASSIGNED = "CUSTOM_TASK_ASSIGNED"
    """A form was assigned."""
    CUSTOM_TASK_COMPLETED = "CUSTOM_TASK_COMPLETED"
    """A form was submitted."""
    POLICYHOLDER_INVITED = "POLICYHOLDER_INVITED"
    """The policyholder was invited."""
    POLICYHOLDER_JOINED = "POLICYHOLDER_JOINED"
    """The policyholder joined."""
    VIDEO_COLLABORATION_INVITE_SENT = "VIDEO_COLLABORATION_INVITE_SENT"
    """An invitation to a video call was sent."""
    VIDEO_COLLABORATION_COMPLETED = "VIDEO_COLLABORATION_COMPLETED"
    """A video call ended."""


class MalformedEventError(PipelineError):
    """A record cannot be an event [EVT-5]. The text names what is wrong with which field, never what it holds."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Category.PERMANENT, reason="malformed")


class ClaimXEventMessage(WireMessage):
    """One event (`claimx.events.raw`, parsed). Its type is any text: routing decides later [EVT-1]."""

    event_id: RequiredId
    event_type: RequiredId
    project_id: RequiredId
    ingested_at: UtcDatetime
    """When ClaimX's feed took it in; the record's timestamp where the payload does not say [EVT-6]."""
    media_id: OptionalId = None
    media_ids: list[str] | None = None
    task_assignment_id: OptionalId = None
    video_collaboration_id: OptionalId = None
    master_file_name: OptionalId = None
    raw_data: RawData = Field(default_factory=dict, repr=False)
    """The whole decoded payload."""

    @property
    def has_time(self) -> bool:
        """Whether the id carries the ingestion time, so that equal ids are of one day [EVW-1]."""
        return carries_time(self.event_id, self.ingested_at)

    @property
    def routed_type(self) -> EventType | None:
        """The routing type, None for one that no handler takes."""
        return _ROUTED.get(self.event_type)


_ROUTED: Final = {member.value: member for member in EventType}


def parse_event(value: bytes | None, *, record_timestamp_ms: int, now: datetime) -> ClaimXEventMessage:
    """Read one record of the feed [EVT-4..6, EID-1..4]. Raises MalformedEventError and nothing else.

    `record_timestamp_ms` (Unix milliseconds, negative for none) and then `now` stand in for an absent ingestion
    time; neither enters the event's id. Unusable optional ids become null with a warning [settled point 14].
    """
    payload = _payload(value)
    event_type = _event_type(payload)
    project_id = _required_id(payload, _PROJECT_ID)
    media_id = _optional_id(payload, _MEDIA_ID)
    media_ids = _media_ids(payload)
    task_assignment_id = _optional_id(payload, _TASK_ASSIGNMENT_ID)
    video_collaboration_id = _optional_id(payload, _VIDEO_COLLABORATION_ID)
    master_file_name = _optional_id(payload, _MASTER_FILE_NAME)
    payload_time = _ingested_at(payload)
    event_id = _optional_id(payload, _EVENT_ID)
    if event_id is None:
        event_id = derive_event_id(
            event_type=event_type,
            project_id=project_id,
            ingested_at=payload_time,
            media_id=media_id,
            task_assignment_id=task_assignment_id,
            video_collaboration_id=video_collaboration_id,
            master_file_name=master_file_name,
            media_ids=media_ids,
        )
    return assembled(
        ClaimXEventMessage,
        {
            "schema_version": 1,
            "event_id": event_id,
            "event_type": event_type,
            "project_id": project_id,
            "ingested_at": payload_time or _record_time(record_timestamp_ms) or now,
            "media_id": media_id,
            "media_ids": media_ids,
            "task_assignment_id": task_assignment_id,
            "video_collaboration_id": video_collaboration_id,
            "master_file_name": master_file_name,
            "raw_data": payload,
        },
    )


def _payload(value: bytes | None) -> RawData:
    if value is None:
        raise MalformedEventError("the record has no value")
    try:
        payload = decode(value)
    except JsonError as problem:
        raise MalformedEventError(f"the record cannot be read: {problem}") from None
    if not isinstance(payload, dict):
        raise MalformedEventError("the record is not a JSON object")
    return payload


def _event_type(payload: RawData) -> str:
    for key in _EVENT_TYPE:
        value = payload.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise MalformedEventError("event_type is not text")
        if text := value.strip():
            return text
    raise MalformedEventError("event_type is missing or empty")


def _required_id(payload: RawData, keys: tuple[str, ...]) -> str:
    try:
        value = _first_id(payload, keys)
    except CoercionError as problem:
        raise MalformedEventError(f"{keys[0]} is not an id: {problem}") from None
    if value is None:
        raise MalformedEventError(f"{keys[0]} is missing or empty")
    return value


def _optional_id(payload: RawData, keys: tuple[str, ...]) -> str | None:
    try:
        return _first_id(payload, keys)
    except CoercionError as problem:
        _log.warning("optional_id_ignored", field=keys[0], problem=str(problem))
        return None


def _first_id(payload: RawData, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = payload.get(key)
        if value is not None and (text := strict_id(value)) is not None:
            return text
    return None


def _media_ids(payload: RawData) -> list[str] | None:
    for key in _MEDIA_IDS:
        value = payload.get(key)
        if isinstance(value, str):
            value = _list_in_text(value)
        if value is None or value == []:
            continue
        if not isinstance(value, list):
            _log.warning("optional_id_ignored", field="media_ids", problem="not a list")
            return None
        ids: list[str] = []
        for item in value:
            try:
                text = strict_id(item)
            except CoercionError as problem:
                _log.warning("optional_id_ignored", field="media_ids", problem=str(problem))
                continue
            if text is not None:
                ids.append(text)
        return ids or None
    return None


def _list_in_text(text: str) -> object:
    """Return what the JSON text of a list holds; anything that is not JSON comes back as it is, no list."""
    if not text.strip():
        return None
    try:
        return decode(text.encode())
    except JsonError:
        return text


def _ingested_at(payload: RawData) -> datetime | None:
    for key in _INGESTED_AT:
        value = payload.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        try:
            return utc_from(value)
        except CoercionError as problem:
            raise MalformedEventError(f"ingested_at cannot be read: {problem}") from None
    return None


def _record_time(timestamp_ms: int) -> datetime | None:
    """Return the broker's time for the record; None where it gave none, or one that no calendar holds."""
    if timestamp_ms < 0:
        return None
    try:
        return EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
