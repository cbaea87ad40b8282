"""A project with 20,000 files is a matter of seconds and of bounded memory, and of many small messages."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.runtime.outcomes import Done

FILES = 20_000
BYTES_PER_FILE = 20_000
"""More than twice what was measured, the service's own memory in this process included."""
LARGEST_MESSAGE_BYTES = 4_096
"""What brokers take by default is 250 times that."""
LOOK_EVERY_S = 0.005


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def growth() -> Iterator[list[int]]:
    """Measure by how much memory grew at most; a list with that one number once the context is left."""
    before = resident_bytes()
    peak, over, result = before, threading.Event(), [0]

    def watch() -> None:
        nonlocal peak
        while not over.wait(LOOK_EVERY_S):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield result
    finally:
        over.set()
        watcher.join()
        result[0] = peak - before


def item(media_id: int) -> dict[str, Any]:
    """Return a listed file with a link as long as signed links are."""
    query = f"X-Amz-Date=20260302T140510Z&X-Amz-Expires=86400&X-Amz-Signature={'0' * 500}"
    return {
        "mediaID": media_id,
        "mediaType": "jpg",
        "mediaName": f"photo {media_id} of the roof.jpg",
        "mediaDescription": "Roof, north side",
        "latitude": 12.5,
        "longitude": -45.25,
        "takenDate": "2026-03-02T14:04:00.000+00:00",
        "fullDownloadLink": f"https://media.s3.example.com/sample/{media_id}.jpg?{query}",
    }


async def test_twenty_thousand_files_of_a_project(
    tale: Any, crooked: Any, enricher: Callable[..., Any], said: Any
) -> None:
    """Ten events are one call; every file has its row and a message of its own; memory follows the list alone (I9)."""
    project_id = next(iter(tale.world.projects))
    path = f"/export/project/{project_id}/media"
    crooked.says[path] = said(body=json.dumps({"data": [item(number) for number in range(FILES)]}).encode())
    worker, lake = await enricher(crooked.url)
    events = [tale.record("PROJECT_FILE_ADDED", project_id, media_id=str(number)) for number in range(10)]
    with growth() as grown:
        outcomes = await worker.process(events)
    assert {type(outcome) for outcome in outcomes} == {Done}
    assert crooked.calls[path] == 1
    messages = [message for outcome in outcomes for message in outcome.messages]
    assert len({ClaimXDownloadTask.from_bytes(message.value).media_id for message in messages}) == FILES
    assert max(len(message.value or b"") for message in messages) < LARGEST_MESSAGE_BYTES
    assert len(lake.rows("media")) == FILES
    assert grown[0] < FILES * BYTES_PER_FILE
