"""Sends dead letters back to work: each at least once, and known to be sent, whatever happens.

For a batch of letters, each step acknowledged before the next:

    send the records ──▶ write marks for those behind a gap ──▶ commit the finished prefix
                      ✝                                      ✝
A process that dies at the first ✝ has sent what nobody knows of: the next run sends it once more, which changes nothing
in the lake (I6). At the second ✝ the marks say everything, and the next commit catches up. Nothing is marked that was
not acknowledged, so nothing is lost at any point.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from kafka_pipeline.common.deadletter.marks import Ledger, read_mark
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.deadletter.selection import Facts, ReplayRules, Verdict
from kafka_pipeline.common.deadletter.shelf import Shelf
from kafka_pipeline.common.messaging import Message, MessageTooLargeError, Producer


@dataclass(slots=True)
class Tally:
    """What a replay did, or would do, so far."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Of all letters that were looked at."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of those that were sent, or would be."""
    too_large: int = 0
    """Refused by the topic they should go back to; they stay where they are."""

    @property
    def sent(self) -> int:
        """How many letters were sent and are known to be, or would be sent."""
        return self.reasons.total()


class Replay:
    """Sends the letters of a shelf. `tally` may be read at any time, also after an interruption."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        rules: ReplayRules,
        facts: Callable[[DeadLetter], Facts],
        message: Callable[[DeadLetter], Message],
    ) -> None:
        self._shelf = shelf
        self._rules = rules
        self._facts = facts
        self._message = message
        self.tally = Tally()

    async def preview(self, limit: int | None = None) -> None:
        """Count what `run` would do. Nothing is sent."""
        async with aclosing(self._chosen(await self._shelf.ledger(), limit)) as batches:
            async for letters in batches:
                self._count(letters)

    async def run(self, producer: Producer, limit: int | None = None) -> None:
        """Send what the rules choose, `limit` letters at most, and note that it is done.

        Cancelled, it finishes the batch that is under way, so that nothing sent stays unmarked; cancelled once more, it
        stops at once. Raises MessagingError; what was marked until then stays so.
        """
        ledger = await self._shelf.ledger()
        async with aclosing(self._chosen(ledger, limit)) as batches:
            async for letters in batches:
                await _unbroken(asyncio.ensure_future(self._send(ledger, producer, letters)))

    async def _chosen(self, ledger: Ledger, limit: int | None) -> AsyncGenerator[list[DeadLetter], None]:
        left = limit
        async with aclosing(self._shelf.read()) as batches:
            async for records in batches:
                chosen: list[DeadLetter] = []
                for record in records:
                    if left is not None and len(chosen) >= left:
                        break
                    if read_mark(record) is not None:
                        continue
                    letter = DeadLetter.parse(record)
                    facts = partial(self._facts, letter)
                    verdict = self._rules.judge(letter, facts, done=ledger.is_done(record))
                    self.tally.verdicts[verdict] += 1
                    if verdict is Verdict.SEND:
                        chosen.append(letter)
                if chosen:
                    yield chosen
                if left is not None:
                    left -= len(chosen)
                    if left <= 0:
                        return

    async def _send(self, ledger: Ledger, producer: Producer, letters: Sequence[DeadLetter]) -> None:
        """Send a batch; where one is too large for its topic, halve until it stands alone."""
        self._shelf.require_held()
        try:
            await producer.send([self._message(letter) for letter in letters])
        except MessageTooLargeError:
            if len(letters) == 1:
                self.tally.too_large += 1
                return
            for half in (letters[: len(letters) // 2], letters[len(letters) // 2 :]):
                await self._send(ledger, producer, half)
            return
        await settle(self._shelf, ledger, producer, letters)
        self._count(letters)

    def _count(self, letters: Sequence[DeadLetter]) -> None:
        self.tally.reasons.update(letter.reason for letter in letters)


async def replay_one(shelf: Shelf, producer: Producer, letter: DeadLetter, message: Message) -> None:
    """Send one record for a letter, and note that the letter is done. Raises MessagingError."""
    ledger = await shelf.ledger()

    async def send() -> None:
        shelf.require_held()
        await producer.send([message])
        await settle(shelf, ledger, producer, [letter])

    await _unbroken(asyncio.ensure_future(send()))


async def settle(shelf: Shelf, ledger: Ledger, producer: Producer, letters: Sequence[DeadLetter]) -> None:
    """Note durably that these letters, which were sent and acknowledged, are done."""
    records = [letter.record for letter in letters]
    ledger.finish(records)
    marks = ledger.marks_for(records)
    if marks:
        await producer.send(marks)
    offsets = ledger.committable()
    if offsets:
        await shelf.commit(offsets)
        ledger.committed(offsets)


async def _unbroken(step: asyncio.Future[None]) -> None:
    """Wait for a step that must not end half-way: cancelled, it is finished first."""
    try:
        await asyncio.shield(step)
    except asyncio.CancelledError:
        await step
        raise
