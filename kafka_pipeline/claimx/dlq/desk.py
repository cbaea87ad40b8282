"""What `claimx-dlq` does: count, show, send back, edit, delete. The same on every broker."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from kafka_pipeline.claimx.broker import ensure_topics, open_broker
from kafka_pipeline.claimx.dlq.audit import audit
from kafka_pipeline.claimx.dlq.letters import facts, home, letter_id, require_valid, sent_back
from kafka_pipeline.claimx.topics import DeadLetterKind, Group, Topics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.deadletter.marks import read_mark
from kafka_pipeline.common.deadletter.record import DeadLetter, edited
from kafka_pipeline.common.deadletter.replay import Replay, Tally, replay_one
from kafka_pipeline.common.deadletter.selection import Facts, ReplayRules, Selection
from kafka_pipeline.common.deadletter.shelf import Access, Shelf
from kafka_pipeline.common.deadletter.summary import Summary
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.messaging import Broker, MessageTooLargeError, Offsets
from kafka_pipeline.config import PipelineConfig

CHECK_S: Final = 10.0
HOLD_MARGIN_S: Final = 15.0
"""How much longer a topic is waited for than the broker keeps it for a process that was killed."""

T = TypeVar("T")
Kinds = Sequence[DeadLetterKind]

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class RefusedError(Exception):
    """What was asked for cannot be done. The text is one safe sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A letter, and how it stands."""

    kind: DeadLetterKind
    letter: DeadLetter
    replayed: bool
    """Whether it was sent again."""
    quarantined: bool
    """Whether it came back too often to be sent again unasked."""

    @property
    def name(self) -> str:
        """How people call it."""
        return letter_id(self.kind, self.letter)


@dataclass(slots=True)
class Stock:
    """What there is of one kind, up to the ends that were seen."""

    summary: Summary
    ends: Offsets


@dataclass(slots=True)
class Progress:
    """How far a replay came, by kind; may be read at any time."""

    tallies: dict[DeadLetterKind, Tally] = field(default_factory=dict)
    ends: dict[DeadLetterKind, Offsets] = field(default_factory=dict)

    @property
    def sent(self) -> dict[str, int]:
        """How many letters of each kind."""
        return {kind.value: tally.sent for kind, tally in self.tallies.items()}


class Desk:
    """The dead letters of one pipeline. Every method raises MessagingError where the broker does not do its part."""

    def __init__(self, broker: Broker, config: PipelineConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._broker = broker
        self._config = config
        self._clock = clock
        self._topics = Topics.from_config(config)
        self.where = broker.description

    @classmethod
    @asynccontextmanager
    async def open(cls, config: PipelineConfig, environ: Mapping[str, str]) -> AsyncIterator[Desk]:
        """Reach the broker of the configuration, see that the topics are there, and let go of it at the end."""
        broker = open_broker(config, environ)
        try:
            await broker.check(CHECK_S)
            await ensure_topics(broker, Topics.from_config(config), config)
            yield cls(broker, config)
        finally:
            await broker.close()

    def rules(self, selection: Selection, *, again: bool = False, force: bool = False) -> ReplayRules:
        """Return the rules of a replay, with the guard that the configuration asks for."""
        limit = self._config.claimx_dlq_max_replays
        return ReplayRules(selection=selection, max_replays=limit, again=again, force=force)

    async def stock(self, kinds: Kinds) -> dict[DeadLetterKind, Stock]:
        """Count what waits and what was replayed."""
        now = self._clock.now()

        async def count(kind: DeadLetterKind, shelf: Shelf) -> Stock:
            summary = Summary()
            async for each in self._letters(kind, shelf):
                summary.add(each.letter, done=each.replayed, quarantined=each.quarantined, now=now)
            return Stock(summary=summary, ends=shelf.ends)

        return await self._looking(kinds, count)

    async def inspect(self, kinds: Kinds, selection: Selection, limit: int, *, replayed: bool = False) -> list[Found]:
        """Return the chosen letters that failed last, the youngest first; replayed ones only if asked for."""
        heap: list[tuple[datetime, str, Found]] = []

        async def choose(kind: DeadLetterKind, shelf: Shelf) -> None:
            async for each in self._letters(kind, shelf):
                told = partial(self._facts, kind, each.letter)
                if (replayed or not each.replayed) and selection.covers(each.letter, told):
                    item = (each.letter.failed_at or _LONG_AGO, each.name, each)
                    (heapq.heappush if len(heap) < limit else heapq.heappushpop)(heap, item)

        await self._looking(kinds, choose)
        return [each for _, _, each in sorted(heap, reverse=True, key=lambda item: item[:2])]

    async def find(self, name: str) -> Found:
        """Return the letter of that name. Raises RefusedError where there is none."""
        word, _, place = name.strip().partition("-")
        kind = next((kind for kind in DeadLetterKind if kind.value == word), None)
        if kind is None:
            raise RefusedError("a dead letter is named KIND-PARTITION-OFFSET, as inspect shows it: events-0-17")
        async with self._shelf(kind, Access.LOOK) as shelf, aclosing(self._letters(kind, shelf)) as letters:
            async for each in letters:
                if place == f"{each.letter.record.partition}-{each.letter.record.offset}":
                    return each
        raise RefusedError(f"there is no such dead letter on {self.where}: inspect shows which there are")

    async def preview(self, kinds: Kinds, rules: ReplayRules, progress: Progress, *, limit: int | None) -> None:
        """Count what a replay would send, and keep where the letters ended."""
        for kind in kinds:
            async with self._shelf(kind, Access.LOOK) as shelf:
                progress.ends[kind] = shelf.ends
                await self._replay(kind, shelf, rules, progress).preview(_left(limit, progress))

    async def replay(self, kinds: Kinds, rules: ReplayRules, progress: Progress, *, limit: int | None) -> None:
        """Send letters back, up to the ends in `progress`, else up to those seen now."""
        told = {"kinds": [kind.value for kind in kinds], "filter": rules.selection.described(), "limit": limit}
        audit("dead_letters_replay_begins", **told, again=rules.again, force=rules.force)
        producer = self._broker.producer()
        try:
            if not progress.ends:
                progress.ends |= await self._looking(kinds, _ends)
            for kind in kinds:
                if limit is not None and sum(progress.sent.values()) >= limit:
                    break
                async with self._shelf(kind, Access.HOLD, progress.ends[kind]) as shelf:
                    await self._replay(kind, shelf, rules, progress).run(producer, _left(limit, progress))
        finally:
            await producer.close()
            audit("dead_letters_replayed", **told, sent=progress.sent)

    def check(self, found: Found, value: bytes) -> str:
        """Return the topic that a changed value would go to. Raises RefusedError where it is none for that topic."""
        try:
            require_valid(found.kind, found.letter, value, topics=self._topics, now=self._clock.now())
        except PipelineError as error:
            raise RefusedError(f"the changed value is not valid: {error.text}") from None
        return home(found.kind, found.letter, self._topics)

    async def edit(self, found: Found, value: bytes) -> None:
        """Send a changed value in place of a letter's own; the letter stays and is marked. Raises RefusedError."""
        message = edited(found.letter, topic=self.check(found, value), value=value)
        producer = self._broker.producer()
        try:
            async with self._shelf(found.kind, Access.HOLD) as shelf:
                await replay_one(shelf, producer, found.letter, message)
        except MessageTooLargeError:
            raise RefusedError("the changed value is larger than its topic takes") from None
        finally:
            await producer.close()
        audit("dead_letter_edited", letter=found.name)

    async def purge(self, stock: Mapping[DeadLetterKind, Stock]) -> None:
        """Delete what the stock counts, and nothing that came since."""
        for kind, each in stock.items():
            if not any(each.ends.values()):
                continue
            async with self._shelf(kind, Access.HOLD, each.ends) as shelf:
                await shelf.delete()
            summary = each.summary
            audit("dead_letters_purged", kind=kind.value, waiting=summary.waiting, replayed=summary.replayed)

    def _replay(self, kind: DeadLetterKind, shelf: Shelf, rules: ReplayRules, progress: Progress) -> Replay:
        told: Callable[[DeadLetter], Facts] = partial(self._facts, kind)
        message = partial(sent_back, kind, topics=self._topics)
        replay = Replay(shelf, rules=rules, facts=told, message=message)
        progress.tallies[kind] = replay.tally
        return replay

    def _facts(self, kind: DeadLetterKind, letter: DeadLetter) -> Facts:
        return facts(kind, letter, self._clock.now())

    async def _letters(self, kind: DeadLetterKind, shelf: Shelf) -> AsyncGenerator[Found, None]:
        rules = self.rules(Selection())
        ledger = await shelf.ledger()
        async with aclosing(shelf.read()) as batches:
            async for records in batches:
                for record in records:
                    if read_mark(record) is None:
                        letter = DeadLetter.parse(record)
                        yield Found(
                            kind=kind,
                            letter=letter,
                            replayed=ledger.is_done(record),
                            quarantined=rules.is_quarantined(letter),
                        )

    def _shelf(self, kind: DeadLetterKind, access: Access, ends: Offsets | None = None) -> Shelf:
        return Shelf(
            self._broker,
            self._topics.dead_letters(kind),
            f"{self._topics.group(Group.DEAD_LETTERS)}.{kind.value}",
            access=access,
            ends=ends,
            patience_s=self._config.kafka_session_timeout_seconds + HOLD_MARGIN_S,
            clock=self._clock,
        )

    async def _looking(
        self, kinds: Kinds, work: Callable[[DeadLetterKind, Shelf], Coroutine[Any, Any, T]]
    ) -> dict[DeadLetterKind, T]:
        """Open the shelves of these kinds side by side, and do the work on each: most of its time is waiting."""

        async def look(kind: DeadLetterKind) -> T:
            async with self._shelf(kind, Access.LOOK) as shelf:
                return await work(kind, shelf)

        async with asyncio.TaskGroup() as group:
            looks = {kind: group.create_task(look(kind)) for kind in kinds}
        return {kind: task.result() for kind, task in looks.items()}


async def _ends(kind: DeadLetterKind, shelf: Shelf) -> Offsets:
    """Return where the letters of a shelf end."""
    return shelf.ends


def _left(limit: int | None, progress: Progress) -> int | None:
    """Return how many letters may still be sent."""
    return None if limit is None else limit - sum(progress.sent.values())
