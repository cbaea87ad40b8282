"""The event feed: what happens in the world, as records for claimx.events.raw, with the flaws that real feeds have.

The same settings give the same bytes in the same order. Every item says what it is, so that a test can tell what must
become of it: an event is stored once, a duplicate changes nothing, a malformed item ends in the dead letters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from kafka_pipeline.simulator.happenings import happenings
from kafka_pipeline.simulator.malformed import malformed_value
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.spelling import FeedEvent, spell
from kafka_pipeline.simulator.world import World


class FeedKind(str, Enum):
    """What an item of the feed is."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    """A later copy of an event, byte for byte."""
    MALFORMED = "malformed"
    """No event at all [EVT-5]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedItem:
    """One record of the feed."""

    kind: FeedKind
    value: bytes
    key: bytes | None
    event_type: str
    """Empty for malformed items."""
    event: FeedEvent | None
    """What the item means; None for malformed items. A duplicate has its original's."""


def build_feed(settings: SimulatorSettings, world: World) -> tuple[FeedItem, ...]:
    """Return exactly `settings.events` items.

    No two events share an id: content that is equal gets an ingestion time that is not [EID-5]. Raises ValueError
    where the world has too little, or too much, to tell (see `happenings`).
    """
    rng = Random(f"{settings.seed}:feed")
    items = list(_events(settings, world, rng))
    for number in range(settings.malformed):
        items.insert(rng.randint(0, len(items)), _malformed(rng, world, number))
    return tuple(_with_duplicates(rng, items, settings.duplicates))


def _events(settings: SimulatorSettings, world: World, rng: Random) -> Iterator[FeedItem]:
    seen: set[str] = set()
    for number, happening in enumerate(happenings(settings, world, rng)):
        value, event = spell(rng, happening, number=number, exact=False)
        while event.event_id in seen:
            value, event = spell(rng, happening, number=number, exact=True)
        seen.add(event.event_id)
        key = event.project_id.encode() if rng.random() < 0.5 else None
        yield FeedItem(kind=FeedKind.EVENT, value=value, key=key, event_type=event.event_type, event=event)


def _malformed(rng: Random, world: World, number: int) -> FeedItem:
    project_id = str(rng.choice(tuple(world.projects) or (1,)))
    value = malformed_value(rng, project_id, number)
    return FeedItem(kind=FeedKind.MALFORMED, value=value, key=b"unread", event_type="", event=None)


def _with_duplicates(rng: Random, items: list[FeedItem], count: int) -> Iterator[FeedItem]:
    """Yield the items with copies of some events, most soon behind the original, some much later."""
    places = [place for place, item in enumerate(items) if item.kind is FeedKind.EVENT]
    copies: dict[int, list[FeedItem]] = {}
    for _ in range(count):
        place = rng.choice(places)
        last = len(items) - 1
        later = min(place + rng.randint(0, 5), last) if rng.random() < 0.7 else rng.randint(place, last)
        copies.setdefault(later, []).append(replace(items[place], kind=FeedKind.DUPLICATE))
    for place, item in enumerate(items):
        yield item
        yield from copies.get(place, ())
