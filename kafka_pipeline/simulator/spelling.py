"""How the feed spells an event: all that sections 2.2 and 2.3 accept, and what each spelling must be understood as."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from random import Random
from typing import Any

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.happenings import Happening
from kafka_pipeline.simulator.identity import event_id
from kafka_pipeline.simulator.invitee import Invitee, snake_case, spell_invitee


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEvent:
    """An event as it must be understood: ids as text, times in UTC, the spelling gone."""

    event_id: str
    event_type: str
    project_id: str
    ingested_at: datetime | None
    """As in the payload; None where it has none, and the record's timestamp counts [EVT-6]."""
    media_id: str | None
    media_ids: tuple[str, ...] | None
    task_assignment_id: str | None
    video_collaboration_id: str | None
    master_file_name: str | None
    raw_data: dict[str, Any]
    """The decoded payload as it is stored: link-like values have lost their query [SEC-8]."""
    invitee: Invitee | None = None
    """Whom the payload names, and when it says that it happened."""

    @property
    def happened_at(self) -> datetime | None:
        """When it happened, as the payload says, else when it came; None where it has no time at all."""
        return (self.invitee and self.invitee.said_at) or self.ingested_at


class TimeStyle(Enum):
    """The ways IngestionTime is written."""

    TICKS = "ticks"
    """Seven fractional digits and `Z`; the seventh is cut off [CNV-2]."""
    MICROS = "micros"
    """Six digits and `+00:00`."""
    MILLIS = "millis"
    """Three digits and `Z`."""
    SECONDS = "seconds"
    """No fraction, and `Z`."""
    NAIVE = "naive"
    """No zone: UTC is meant [CNV-2]."""
    OFFSET = "offset"
    """The zone of another place."""
    EPOCH_MS = "epoch_ms"
    """A number: epoch milliseconds (settled point 14)."""
    NONE = "none"
    """Null, as on streaming feeds."""


_WEIGHTS = {
    TimeStyle.TICKS: 40,
    TimeStyle.MICROS: 20,
    TimeStyle.MILLIS: 10,
    TimeStyle.SECONDS: 8,
    TimeStyle.NAIVE: 6,
    TimeStyle.OFFSET: 4,
    TimeStyle.EPOCH_MS: 2,
    TimeStyle.NONE: 10,
}
EXACT_STYLES = (TimeStyle.TICKS, TimeStyle.MICROS, TimeStyle.NAIVE, TimeStyle.OFFSET)
"""Those that keep a moment to the microsecond, so that no two happenings fall together."""

_LINK = "https://claimx.example.com/conversation/1"
_CAMEL_TIMES = ("IngestionTime", "IngestionTime", "IngestionTime", "$IngestionTime", "ingestedAt")
_SNAKE_TIMES = ("ingested_at", "ingestion_time")


def spell(rng: Random, happening: Happening, *, number: int, exact: bool) -> tuple[bytes, FeedEvent]:
    """Return a record's value and what it means.

    `number` tells this event from all others (some carry an id of their own made of it). `exact` asks for an
    ingestion time of full precision; events whose order decides something always get one.
    """
    exact = exact or happening.event_type == words.PROJECT_MFN_ADDED or happening.invitee is not None
    styles = EXACT_STYLES if exact else tuple(TimeStyle)
    style = rng.choices(styles, [_WEIGHTS[style] for style in styles])[0]
    written_time, ingested_at = write_time(rng, happening.at, style)
    snake = rng.random() < 0.08
    media_id, media_ids = happening.media_id, happening.media_ids
    written_media: Any = None if media_id is None else _write_id(rng, media_id)
    if happening.event_type == words.PROJECT_FILE_ADDED and rng.random() < 0.03:
        media_id, written_media = None, rng.choice((None, None, True, "", {"id": media_id}))
    type_padding = " " if rng.random() < 0.03 else ""
    body: dict[str, Any] = {
        "eventType": f"{type_padding}{happening.event_type}{type_padding}",
        "projectId": _write_id(rng, happening.project_id),
        "mediaId": written_media,
        "mediaIds": None if media_ids is None else rng.choice((list(media_ids), json.dumps(media_ids))),
        "taskAssignmentId": happening.task_assignment_id,
        "videoCollaborationId": happening.video_collaboration_id,
        "masterFileName": happening.master_file_name,
    }
    if snake:
        body = {snake_case(name): value for name, value in body.items()}
    body[rng.choice(_SNAKE_TIMES if snake else _CAMEL_TIMES)] = written_time
    given_id = f"evt-{number:08}" if rng.random() < 0.01 else None
    if given_id:
        body["event_id" if snake else "eventId"] = rng.choice((given_id, f" {given_id}\t"))
    if happening.invitee is not None:
        joined = happening.event_type == words.POLICYHOLDER_JOINED
        body |= spell_invitee(Random(number), happening.invitee, joined=joined, snake=snake)
    stored = dict(body)
    if rng.random() < 0.05:
        body["note"] = stored["note"] = "invented \U0001f9ea \u00fcber"
    if happening.event_type in words.UNROUTED_TYPES and rng.random() < 0.3:
        body["conversationUrl"], stored["conversationUrl"] = f"{_LINK}?token=INVENTED#top", _LINK
    facts: dict[str, Any] = {
        "event_type": happening.event_type,
        "project_id": str(happening.project_id),
        "ingested_at": ingested_at,
        "media_id": _text(media_id),
        "media_ids": tuple(map(str, media_ids)) if media_ids else None,
        "task_assignment_id": _text(happening.task_assignment_id),
        "video_collaboration_id": _text(happening.video_collaboration_id),
        "master_file_name": happening.master_file_name,
    }
    event = FeedEvent(**facts, event_id=given_id or event_id(**facts), raw_data=stored, invitee=happening.invitee)
    separators = (",", ":") if rng.random() < 0.9 else (", ", ": ")
    return json.dumps(body, ensure_ascii=rng.random() < 0.5, separators=separators).encode(), event


def write_time(rng: Random, moment: datetime, style: TimeStyle) -> tuple[str | int | None, datetime | None]:
    """Return how a moment is written, and the moment that the writing means."""
    zone = timezone(timedelta(hours=rng.choice((-8, 2))))
    naive = moment.replace(tzinfo=None)
    whole = moment.replace(microsecond=0)
    millis = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ways: dict[TimeStyle, tuple[str | int | None, datetime | None]] = {
        TimeStyle.TICKS: (f"{naive.isoformat(timespec='microseconds')}{rng.randrange(10)}Z", moment),
        TimeStyle.MICROS: (moment.isoformat(timespec="microseconds"), moment),
        TimeStyle.MILLIS: (f"{naive.isoformat(timespec='milliseconds')}Z", millis),
        TimeStyle.SECONDS: (f"{naive.isoformat(timespec='seconds')}Z", whole),
        TimeStyle.NAIVE: (naive.isoformat(timespec="microseconds"), moment),
        TimeStyle.OFFSET: (moment.astimezone(zone).isoformat(timespec="microseconds"), moment),
        TimeStyle.EPOCH_MS: ((millis - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1), millis),
        TimeStyle.NONE: (None, None),
    }
    return ways[style]


def _write_id(rng: Random, number: int) -> int | str | float:
    return rng.choices((number, str(number), f" {number} ", float(number)), (85, 8, 2, 5))[0]


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
