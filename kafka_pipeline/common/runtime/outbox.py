"""Makes outcomes durable: what follows from each record is produced and acknowledged, or the record waits."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import structlog

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.common.messaging import Message, MessageTooLargeError, ProduceError, Producer, Record
from kafka_pipeline.common.messaging.carried import handed_on
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.observability.tracing import trace_id_of
from kafka_pipeline.common.pulse import awaiting
from kafka_pipeline.common.resilience.flood import FloodGuard
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip, Wait
from kafka_pipeline.common.runtime.processor import FailureRouter, SetAside, TryAgain

SKIPPED: Final = "skipped"
RETRIED: Final = "retry"
SET_ASIDE: Final = "dead_letter"
"""Outcomes as metrics name them, beside those that workers choose for `Done`."""

WAITS: Final = "waits"
"""What traces call a record that stays for now."""

FLOOD: Final = "dead_letter_flood"
"""What a worker waits for that would set most of its records aside: a person."""


class Settled(NamedTuple):
    """A record with whose outcome the loop is through: everything that follows is acknowledged."""

    outcome: Done | Skip | Retry | Dead
    label: str
    """The outcome's name in metrics."""


Settlement: TypeAlias = Settled | Wait
"""A record is through, or it stays."""

Describe: TypeAlias = Callable[[Record], Mapping[str, object]]
"""Returns what to call a record in a log line: its place, and ids if they are known. Never personal data."""

_Plan: TypeAlias = tuple[Settlement, Sequence[Message]]


class Outbox:
    """Acts on outcomes, in one place for all workers.

    While the broker takes no messages it waits and tries again; no record is failed because of it (I7). A message that
    is too large for the broker sets its own record aside, never its neighbours. Before dead letters are produced, the
    flood guard is asked.
    """

    def __init__(
        self,
        name: str,
        *,
        producer: Producer,
        failures: FailureRouter,
        flood: FloodGuard,
        clock: Clock,
        first_pause_s: float,
        last_pause_s: float,
    ) -> None:
        self._name = name
        self._producer = producer
        self._failures = failures
        self._flood = flood
        self._clock = clock
        self._first_pause_s = first_pause_s
        self._last_pause_s = last_pause_s
        self._log = structlog.get_logger(__name__).bind(worker=name)

    async def settle(self, records: Sequence[Record], outcomes: Sequence[Outcome], *, tries: int) -> list[Settlement]:
        """Return what became of each record, in order, once everything that follows from it is acknowledged."""
        plans = [self._plan(*each, tries) for each in zip(records, outcomes, strict=True)]
        if not self._admits(plans):
            plans = [(_FLOODED, ()) if _is_dead(plan) else plan for plan in plans]
        messages = [message for _, some in plans for message in some]
        try:
            await self._send(messages)
        except MessageTooLargeError:
            return [await self._alone(record, plan) for record, plan in zip(records, plans, strict=True)]
        return [settlement for settlement, _ in plans]

    def _plan(self, record: Record, outcome: Outcome, tries: int) -> _Plan:
        match outcome:
            case Done():
                return Settled(outcome, outcome.label), handed_on(outcome.messages, record)
            case Wait():
                return outcome, ()
            case Skip():
                return Settled(outcome, SKIPPED), ()
            case Retry() | Dead():
                return self._failed(record, outcome, tries)

    def _failed(self, record: Record, outcome: Retry | Dead, tries: int) -> _Plan:
        match self._failures.route(record, outcome, tries=tries):
            case Wait() as wait:
                return wait, ()
            case TryAgain(messages=messages):
                settled = Settled(outcome=outcome, label=RETRIED)
            case SetAside(messages=messages):
                settled = Settled(outcome=outcome, label=SET_ASIDE)
        return settled, handed_on((*outcome.messages, *messages), record)

    def _admits(self, plans: Sequence[_Plan]) -> bool:
        was_tripped = self._flood.tripped
        labels = Counter(settlement.label for settlement, _ in plans if isinstance(settlement, Settled))
        records, dead = labels.total(), labels[SET_ASIDE]
        admitted = self._flood.admits(self._clock.monotonic(), records=records, dead=dead)
        if not admitted and not was_tripped:
            self._log.error("dead_letter_flood", records=records, dead=dead)
            metrics.FLOOD_STOPS.labels(worker=self._name).inc()
        return admitted

    async def _alone(self, record: Record, plan: _Plan) -> Settlement:
        """Find the record whose message no broker takes, and set it aside; its neighbours go on."""
        try:
            await self._send(plan[1])
        except MessageTooLargeError as error:
            dead = Dead(reason="too_large", error_class=type(error).__name__, error_text=str(error))
            await self._set_aside(record, dead)
            return Settled(outcome=dead, label=SET_ASIDE)
        return plan[0]

    async def _set_aside(self, record: Record, dead: Dead) -> None:
        _, messages = self._failed(record, dead, 1)
        try:
            await self._send(messages)
        except MessageTooLargeError:  # not even its dead letter: keep all but the value, or the worker would never pass
            self._log.error("dead_letter_without_value", **position(record), size_bytes=len(record.value or b""))
            await self._send(handed_on(self._failures.route_without_value(record, dead), record))

    async def _send(self, messages: Sequence[Message]) -> None:
        pause_s = self._first_pause_s
        while messages:
            try:
                with awaiting("broker"):
                    await self._producer.send(messages)
            except MessageTooLargeError:
                raise
            except ProduceError as error:
                metrics.PRODUCE_FAILURES.labels(worker=self._name).inc()
                self._log.warning("produce_failed", messages=len(messages), error=str(error), again_in_s=pause_s)
                with awaiting("broker"):
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, self._last_pause_s)
            else:
                return


async def _until_restarted() -> None:
    """Wait for a person: what floods the dead letters does not pass by itself, and a restart begins anew."""
    await asyncio.Event().wait()


_FLOODED: Final = Wait(reason=FLOOD, until=_until_restarted)


def position(record: Record) -> dict[str, object]:
    """Return where a record stands, for a log line, and its trace if it has one."""
    place: dict[str, object] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    trace_id = trace_id_of(record)
    return place if trace_id is None else {**place, "trace_id": trace_id}


def _is_dead(plan: _Plan) -> bool:
    return isinstance(plan[0], Settled) and plan[0].label == SET_ASIDE
