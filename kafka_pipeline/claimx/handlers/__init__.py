"""Handlers turn an event's ids into rows. Which handler takes which type stands here, and nowhere else [EVT-3]."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.claimx.handlers.base import (
    DEFAULT_CONTEXT,
    EventHandler,
    Failed,
    HandlerContext,
    HandlerResult,
    Rows,
    RowWriter,
)
from kafka_pipeline.claimx.handlers.batch_api import BatchApi
from kafka_pipeline.claimx.handlers.contact import PolicyholderHandler
from kafka_pipeline.claimx.handlers.media import MediaHandler
from kafka_pipeline.claimx.handlers.project import ProjectHandler, read_project
from kafka_pipeline.claimx.handlers.task import TaskHandler
from kafka_pipeline.claimx.handlers.video import VideoCollabHandler
from kafka_pipeline.claimx.schemas.events import EventType

__all__ = [
    "CLAIMX_HANDLERS",
    "BatchApi",
    "EventHandler",
    "Failed",
    "HandlerContext",
    "HandlerResult",
    "MediaHandler",
    "PolicyholderHandler",
    "ProjectHandler",
    "RowWriter",
    "Rows",
    "TaskHandler",
    "VideoCollabHandler",
    "build_handlers",
    "read_project",
]

CLAIMX_HANDLERS: Final[dict[str, type[EventHandler]]] = {
    EventType.PROJECT_CREATED.value: ProjectHandler,
    EventType.PROJECT_FILE_ADDED.value: MediaHandler,
    EventType.PROJECT_MFN_ADDED.value: MediaHandler,
    EventType.CUSTOM_TASK_ASSIGNED.value: TaskHandler,
    EventType.CUSTOM_TASK_COMPLETED.value: TaskHandler,
    EventType.POLICYHOLDER_INVITED.value: PolicyholderHandler,
    EventType.POLICYHOLDER_JOINED.value: PolicyholderHandler,
    EventType.VIDEO_COLLABORATION_INVITE_SENT.value: VideoCollabHandler,
    EventType.VIDEO_COLLABORATION_COMPLETED.value: VideoCollabHandler,
}
"""Routing, exact after trimming; any other type is skipped by the enricher [EVT-1, EVT-3]."""


def build_handlers(context: HandlerContext = DEFAULT_CONTEXT) -> dict[str, EventHandler]:
    """Return a handler per event type; types that share a class share its instance, and so its groups."""
    instances = {kind: kind(context) for kind in dict.fromkeys(CLAIMX_HANDLERS.values())}
    return {event_type: instances[kind] for event_type, kind in CLAIMX_HANDLERS.items()}
