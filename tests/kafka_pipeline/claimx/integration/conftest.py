"""Short ways to what happens in the simulated ClaimX."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.simulator.links import Signer, file_service_link
from kafka_pipeline.simulator.world import LinkForm, MediaItem, Project

NewEvent = Callable[..., bytes]
NewTask = Callable[..., ClaimXDownloadTask]


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


@pytest.fixture
def new_task() -> NewTask:
    """Return a function that makes the download task of a media item, its link good for an hour."""

    def task(site: Any, item: MediaItem, **changes: Any) -> ClaimXDownloadTask:
        origin = f"http://{site.simulator.download_hosts[0]}"
        now = datetime.now(UTC)
        link = file_service_link(origin, item.media_id, item.name.link_name, now=now, lifetime_s=3_600)
        fields = {
            "media_id": str(item.media_id),
            "project_id": str(item.project_id),
            "download_url": link,
            "blob_path": f"claimx/{item.project_id}/{item.media_id}/{item.safe_file_name}",
            "file_type": item.name.media_type or "",
            "expires_at": now + timedelta(hours=1),
        }
        return ClaimXDownloadTask(schema_version=1, **(fields | changes))

    return task


@pytest.fixture
def expired_link() -> Callable[[Any, MediaItem], str]:
    """Return a function that signs a link as the storage does, for a time that is over."""

    def link(site: Any, item: MediaItem) -> str:
        secret = hashlib.sha256(f"{site.simulator.settings.seed}:storage".encode()).hexdigest()
        signer = Signer(access_key="SIMULATOR", secret_key=secret)
        signed_at = datetime.now(UTC) - timedelta(days=2)
        return signer.presign(site.simulator.download_hosts[1], item.storage_path, now=signed_at, lifetime_s=3_600)

    return link
