"""What happened, taken together: the world, the events of the feed, and which parts of the world they touch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from kafka_pipeline.simulator.expectation import Matcher, OneOf
from kafka_pipeline.simulator.links import file_service_path
from kafka_pipeline.simulator.spelling import FeedEvent
from kafka_pipeline.simulator.world import LinkForm, MediaItem, Project, Task, VideoCollaboration

Row = dict[str, object]

AUDIT: Row = {"created_at": Matcher.PRESENT, "updated_at": Matcher.PRESENT}
"""Audit columns of every table that is merged into [MRG-5]; what they hold is the clock's."""

ASKED: Row = {**AUDIT, "last_enriched_at": Matcher.PRESENT}
"""Those of a row that comes from the API."""


_IDS = ("project_id", "task_assignment_id", "video_collaboration_id")


@dataclass(frozen=True, kw_only=True)
class Story:
    """World and feed, and what both together bring about."""

    events: tuple[FeedEvent, ...]
    """Each once, in feed order."""
    projects: tuple[Project, ...]
    """Those that a routed event touches [HND-1]."""
    media: tuple[MediaItem, ...]
    """All of every project whose media list is read [HND-4]."""
    tasks: tuple[Task, ...]
    """Those that an event names [HND-7]."""
    calls: tuple[VideoCollaboration, ...]
    """Those that an event names [HND-9]."""
    api_origin: str
    storage_origin: str

    def stored_link(self, item: MediaItem) -> str | None:
        """Return an item's link as tables hold it: without query and fragment [SEC-8]."""
        match item.link:
            case LinkForm.NONE:
                return None
            case LinkForm.STORAGE:
                return f"{self.storage_origin}{item.storage_path}"
            case LinkForm.FILE_SERVICE:
                return f"{self.api_origin}{file_service_path(item.media_id)}"

    def stored_media(self) -> Iterator[MediaItem]:
        """Yield the items whose files are fetched."""
        return (item for item in self.media if item.link is not LinkForm.NONE)

    @cached_property
    def _by_id(self) -> dict[tuple[str, str, str | None], list[FeedEvent]]:
        found: dict[tuple[str, str, str | None], list[FeedEvent]] = {}
        for event in self.events:
            for name in _IDS:
                found.setdefault((event.event_type, name, getattr(event, name)), []).append(event)
        return found

    def told_of(self, event_type: str, name: str, value: str) -> list[FeedEvent]:
        """Return the events of a type that name this id, in feed order."""
        return self._by_id.get((event_type, name, value), [])

    def caused_by(self, event_types: Iterable[str], name: str, value: str) -> OneOf:
        """Return what is known of the source of a row: an event of these types that names this id [MRG-5]."""
        return OneOf(frozenset(event.event_id for kind in event_types for event in self.told_of(kind, name, value)))

    def earliest(self, event_type: str, project_id: str) -> datetime | Matcher | None:
        """Return the time of a project's first event of a type [MRG-4], as its payload says, else its own.

        An event without a time of its own counts as of when it was published, which is after all the others.
        """
        told = self.told_of(event_type, "project_id", project_id)
        known = [time for event in told if (time := event.happened_at) is not None]
        if known:
            return min(known)
        return Matcher.PRESENT if told else None
