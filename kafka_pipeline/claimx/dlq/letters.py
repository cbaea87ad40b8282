"""What the dead letters of ClaimX hold: what they are about, where they go back to, what a changed one must be. Pure.

| kind | the value is | goes back to | changed |
|---|---|---|---|
| events | a raw event | the events topic | nothing |
| enrichment | an enrichment task | the pending topic of enrichment | `retry_count` is 0 |
| downloads | a download task, also one from the cache | the pending topic of downloads | both counts are 0 |
| downloads | a result that could not be entered | the results topic | nothing |

A download goes back with its old link: the downloader sees that it expired and fetches a fresh one before it tries
[LNK-5]. `refresh_count` is 0 too, since a link of unknown expiry is refreshed only once [LNK-6].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.schemas.wire import JsonError, decode, encode
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.record import DeadLetter, replayed
from kafka_pipeline.common.deadletter.selection import Facts
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Message

EVENT_TYPE: Final = "event_type"
PROJECT: Final = "project"
ID: Final = "id"

_EVENT_TYPES: Final = frozenset({"eventtype"})
_PROJECTS: Final = frozenset({"projectid"})
_IDS: Final = frozenset({"eventid", "sourceeventid", "mediaid", "mediaids", "taskassignmentid", "videocollaborationid"})
_COUNTERS: Final = ("retry_count", "refresh_count")


def letter_id(kind: DeadLetterKind, letter: DeadLetter) -> str:
    """Return the name by which people ask for a letter: `downloads-2-15`."""
    return f"{kind.value}-{letter.record.partition}-{letter.record.offset}"


def plain(name: str) -> str:
    """Return a field's name without what spellings differ in: `mediaID`, `media_id` and `mediaId` are one."""
    return "".join(filter(str.isalnum, name)).lower()


def document(value: bytes | None) -> object:
    """Return what the value holds. Raises JsonError where it is no JSON."""
    if value is None:
        raise JsonError("no value")
    return decode(value)


def facts(kind: DeadLetterKind, letter: DeadLetter, now: datetime) -> Facts:
    """Return what filters may ask: event type, project, and every id of the letter and of what it is about."""
    found: dict[str, set[str]] = {EVENT_TYPE: set(), PROJECT: set(), ID: {letter_id(kind, letter)}}
    try:
        fields = document(letter.record.value)
    except JsonError:
        fields = None
    for name, value in fields.items() if isinstance(fields, dict) else ():
        for fact, names in ((EVENT_TYPE, _EVENT_TYPES), (PROJECT, _PROJECTS), (ID, _IDS)):
            if plain(name) in names:
                found[fact].update(_texts(value))
    if kind is DeadLetterKind.EVENTS:
        found[ID].update(_derived_id(letter, now))
    return {name: frozenset(texts) for name, texts in found.items()}


def home(kind: DeadLetterKind, letter: DeadLetter, topics: Topics) -> str:
    """Return the topic that a letter goes back to."""
    match kind:
        case DeadLetterKind.EVENTS:
            return topics.events
        case DeadLetterKind.ENRICHMENT:
            return topics.enrichment_pending
        case DeadLetterKind.DOWNLOADS if letter.original_topic == topics.downloads_results:
            return topics.downloads_results
        case DeadLetterKind.DOWNLOADS:
            return topics.downloads_pending


def sent_back(kind: DeadLetterKind, letter: DeadLetter, topics: Topics) -> Message:
    """Return the record that gives a letter another first attempt, with all further attempts before it."""
    topic = home(kind, letter, topics)
    value = letter.record.value
    if topic in {topics.enrichment_pending, topics.downloads_pending}:
        value = _unspent(value)
    return replayed(letter, topic=topic, value=value)


def require_valid(kind: DeadLetterKind, letter: DeadLetter, value: bytes, *, topics: Topics, now: datetime) -> None:
    """Raise PipelineError, whose text names the field, where a changed value is not what its topic takes."""
    match kind:
        case DeadLetterKind.EVENTS:
            parse_event(value, record_timestamp_ms=letter.record.timestamp_ms, now=now)
        case DeadLetterKind.ENRICHMENT:
            ClaimXEnrichmentTask.from_bytes(value)
        case DeadLetterKind.DOWNLOADS if home(kind, letter, topics) == topics.downloads_results:
            ClaimXUploadResult.from_bytes(value)
        case DeadLetterKind.DOWNLOADS:
            ClaimXDownloadTask.from_bytes(value)


def _unspent(value: bytes | None) -> bytes | None:
    """Return a task without the attempts it made; the same bytes where it made none or cannot be read."""
    try:
        fields = document(value)
    except JsonError:
        return value
    if not isinstance(fields, dict):
        return value
    spent = {name: 0 for name in _COUNTERS if fields.get(name)}
    return encode({**fields, **spent}) if spent else value


def _derived_id(letter: DeadLetter, now: datetime) -> Iterator[str]:
    """Yield the id that the event got, or would get, in the lake."""
    try:
        yield parse_event(letter.record.value, record_timestamp_ms=letter.record.timestamp_ms, now=now).event_id
    except PipelineError:
        return


def _texts(value: object) -> Iterator[str]:
    values: Iterable[object] = value if isinstance(value, list) else (value,)
    for each in values:
        if isinstance(each, str | int) and not isinstance(each, bool):
            yield str(each).strip()
