"""Short ways to what happens in the simulated ClaimX."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kafka_pipeline.simulator.world import LinkForm, MediaItem, Project

NewEvent = Callable[..., bytes]


@pytest.fixture
def new_event() -> NewEvent:
    """Return a function that spells an event as the feed does."""

    def spell(event_type: str, project_id: int, **more: Any) -> bytes:
        at = datetime(2026, 3, 1, 9, 30, 15, 123_456, tzinfo=UTC)
        body = {"eventType": event_type, "projectId": project_id, "IngestionTime": at.isoformat(), **more}
        return json.dumps(body).encode()

    return spell


@pytest.fixture
def fetched() -> Callable[[Project], list[MediaItem]]:
    """Return a function that lists the media of a project that have a file behind them."""
    return lambda project: [item for item in project.media if item.link is not LinkForm.NONE]
