"""What happened, taken together: the world, the events of the feed, and which parts of the world they touch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.expectation import Matcher
from kafka_pipeline.simulator.links import file_service_path
from kafka_pipeline.simulator.spelling import FeedEvent
from kafka_pipeline.simulator.world import LinkForm, MediaItem, Project, Task, VideoCollaboration

Row = dict[str, object]

AUDIT: Row = {"created_at": Matcher.PRESENT, "updated_at": Matcher.PRESENT}
"""Audit columns that the schema says are not null [MRG-5]; what they hold is the clock's."""


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def told_of(self, event_type: str, **ids: str) -> list[FeedEvent]:
        """Return the events of a type that name these ids."""
        return [
            event
            for event in self.events
            if event.event_type == event_type and all(getattr(event, name) == value for name, value in ids.items())
        ]

    def earliest(self, event_type: str, project_id: str) -> datetime | Matcher | None:
        """Return the time of a project's first event of a type [MRG-4].

        An event without a time of its own counts as of when it was published, which is after all the others.
        """
        told = self.told_of(event_type, project_id=project_id)
        known = [event.ingested_at for event in told if event.ingested_at is not None]
        if known:
            return min(known)
        return Matcher.PRESENT if told else None

    def invite_status(self, project_id: str) -> str | None:
        """Return how far the policyholder has come: joined is never invited again [CON-4]."""
        if self.told_of(words.POLICYHOLDER_JOINED, project_id=project_id):
            return "JOINED"
        return "INVITED" if self.told_of(words.POLICYHOLDER_INVITED, project_id=project_id) else None
