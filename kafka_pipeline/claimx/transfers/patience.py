"""How long to believe that it is the lake that is away, and not the file that it cannot take (I7)."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import structlog

from kafka_pipeline.common.clock import Sleep
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.pulse import awaiting

FIRST_PAUSE_S: Final = 0.5
LAST_PAUSE_S: Final = 30.0
"""Pauses double from the first to the last."""

TRIES_BESIDE_SUCCESSES: Final = 5
"""Attempts on one file while others are stored: enough for a passing 503, too few to block a partition."""

_log = structlog.get_logger(__name__)


class LakePatience:
    """Waits with files while the lake takes none, however long; one per worker.

    A file that fails again and again while others succeed is the fault, not the lake: it is failed, or it would hold
    its partition up for ever.
    """

    def __init__(self, *, sleep: Sleep = asyncio.sleep, rng: random.Random | None = None) -> None:
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._stored = 0

    def stored(self) -> None:
        """Note that the lake took a file."""
        self._stored += 1

    def with_file(self, media_id: str) -> FilePatience:
        """Return the patience for one file, to be asked after each failure."""
        return FilePatience(self, media_id)

    async def pause(self, seconds: float) -> None:
        """Wait about so long (a FilePatience's business)."""
        await self._sleep(seconds * self._rng.uniform(0.5, 1.0))

    @property
    def files_stored(self) -> int:
        """How many files the lake has taken."""
        return self._stored


class FilePatience:
    """Counts one file's failures at the lake."""

    def __init__(self, lake: LakePatience, media_id: str) -> None:
        self._lake = lake
        self._media_id = media_id
        self._failures = 0
        self._since = lake.files_stored
        self._pause_s = FIRST_PAUSE_S

    async def after(self, error: PipelineError) -> None:
        """Return when another try is worth it. Raises the error where none is."""
        self._failures += 1
        alone = self._failures >= TRIES_BESIDE_SUCCESSES and self._lake.files_stored > self._since
        if alone or error.category not in {Category.TRANSIENT, Category.AUTH}:
            raise error
        _log.warning("lake_waited_for", media_id=self._media_id, error=error.text, again_in_s=self._pause_s)
        with awaiting("lake"):
            await self._lake.pause(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)
