"""What the dead letters of a demo hold, against what they should: named one by one, never by what they contain."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kafka_pipeline.claimx.dlq.desk import Desk, Found, Progress
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.selection import Selection
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.simulator.feed import FeedItem, FeedKind
from kafka_pipeline.simulator.poison import Poison

_ALL = 10**9

Expected = Mapping[DeadLetterKind, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The dead letters that wait, by kind: how many of each thing, and why."""

    things: Mapping[DeadLetterKind, Counter[str]]
    reasons: Mapping[str, frozenset[str]]
    """By thing."""

    def count(self, kind: DeadLetterKind) -> int:
        """Return how many dead letters of a kind wait."""
        return self.things[kind].total()

    def problems(self, expected: Expected) -> list[str]:
        """Return how this differs from what should wait, one line each. A thing may be there twice."""
        return [line for kind in DeadLetterKind for line in self._differences(kind, expected[kind])]

    def _differences(self, kind: DeadLetterKind, expected: frozenset[str]) -> Iterator[str]:
        for thing in sorted(set(self.things[kind]) - expected):
            yield f"dead letters of {kind.value}: {thing} extra ({', '.join(sorted(self.reasons[thing]))})"
        for thing in sorted(expected - set(self.things[kind])):
            yield f"dead letters of {kind.value}: {thing} missing"


def expected_set_aside(feed: Iterable[FeedItem], poison: Poison | None = None) -> Expected:
    """Return what should wait: every malformed record, and what is poisoned."""
    items = tuple(feed)
    return {
        DeadLetterKind.EVENTS: frozenset(_bytes_name(item.value) for item in items if item.kind is FeedKind.MALFORMED),
        DeadLetterKind.ENRICHMENT: frozenset(map(_event_name, poison.events(items))) if poison else frozenset(),
        DeadLetterKind.DOWNLOADS: frozenset(map(_file_name, poison.files)) if poison else frozenset(),
    }


async def read_set_aside(desk: Desk) -> SetAside:
    """Read all dead letters that wait: those that were sent again do no longer."""
    things: dict[DeadLetterKind, Counter[str]] = {kind: Counter() for kind in DeadLetterKind}
    reasons: dict[str, set[str]] = {}
    for found in await desk.inspect(tuple(DeadLetterKind), Selection(), _ALL):
        thing = _name(found)
        things[found.kind][thing] += 1
        reasons.setdefault(thing, set()).add(found.letter.reason)
    return SetAside(things=things, reasons={thing: frozenset(words) for thing, words in reasons.items()})


async def send_again(desk: Desk) -> int:
    """Do what `claimx-dlq replay --all` does for enrichment and downloads; return how many were sent."""
    progress = Progress()
    kinds = (DeadLetterKind.ENRICHMENT, DeadLetterKind.DOWNLOADS)
    await desk.replay(kinds, desk.rules(Selection()), progress, limit=None)
    return sum(progress.sent.values())


def _name(found: Found) -> str:
    value = found.letter.record.value
    try:
        match found.kind:
            case DeadLetterKind.EVENTS:
                return _bytes_name(value or b"")
            case DeadLetterKind.ENRICHMENT:
                return _event_name(ClaimXEnrichmentTask.from_bytes(value).event_id)
            case DeadLetterKind.DOWNLOADS:
                return _file_name(ClaimXDownloadTask.from_bytes(value).media_id)
    except PipelineError:
        return f"{found.name}, which cannot be read"


def _bytes_name(value: bytes) -> str:
    """Name a record by its bytes: the ones with flaws have no id."""
    return f"record {hashlib.sha256(value).hexdigest()[:12]}"


def _event_name(event_id: str) -> str:
    return f"event {event_id}"


def _file_name(media_id: str) -> str:
    return f"file {media_id}"
