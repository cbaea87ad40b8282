"""Where a failed record of the ClaimX pipeline goes: which handler decides for which worker.

| worker | may pass | for good, or for too long |
|---|---|---|
| ingester | again in place, nothing is committed past it | dead letters `events` |
| enricher | retry topic of its attempt (`retry/enrichment_handler.py`) | dead letters `enrichment` |
| downloader, uploader | retry topic of its attempt (`retry/download_handler.py`) | dead letters `downloads` |
| result processor | again in place | dead letters `downloads` |
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.deadletter.record import DeadLetterRouter, reason_of, without_value
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.runtime.outcomes import Dead, Retry, Wait
from kafka_pipeline.common.runtime.processor import Route, SetAside

IN_PLACE: Final = "retry_in_place"
"""What a record waits for that its worker tries again where it is."""

UNFORESEEN_TRIES: Final = 5
"""Attempts in place on a failure that nobody foresaw: it may be the record, and everything behind it waits."""

_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 30.0
"""Pauses between attempts in place double from the first to the last."""


class DeadLetters:
    """Sets records of one kind aside, and counts them."""

    def __init__(self, kind: DeadLetterKind, topics: Topics, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kind = kind
        self._router = DeadLetterRouter(kind=kind.value, topic=topics.dead_letters(kind), clock=clock)

    def letter(self, record: Record, outcome: Retry | Dead, *, attempts: int) -> Message:
        """Return the dead letter of a record."""
        metrics.DEAD_LETTERS.labels(kind=self._kind.value, reason=metrics.bounded("reason", reason_of(outcome))).inc()
        return self._router.route(record, outcome, attempts=attempts)

    def without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter with everything but the value: no broker took it whole."""
        return (without_value(self._router.route(record, outcome, attempts=1)),)


class InPlaceFailures:
    """For workers without retry topics: what may pass is tried again where it is, with growing pauses [7.4].

    The records behind it in its partition are done meanwhile, but not committed. A failure that nobody foresaw is
    believed to be the record's after a few attempts, and set aside.
    """

    def __init__(self, kind: DeadLetterKind, topics: Topics, clock: Clock = SYSTEM_CLOCK) -> None:
        self._dead_letters = DeadLetters(kind, topics, clock)

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return what becomes of the record."""
        unforeseen = isinstance(outcome, Retry) and outcome.category is Category.UNKNOWN
        if isinstance(outcome, Dead) or (unforeseen and tries >= UNFORESEEN_TRIES):
            return SetAside(messages=(self._dead_letters.letter(record, outcome, attempts=tries),))
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(tries - 1, 20), _LAST_PAUSE_S)
        return Wait(reason=IN_PLACE, until=partial(asyncio.sleep, pause_s), alone=True)

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return the dead letter without its value."""
        return self._dead_letters.without_value(record, outcome)
