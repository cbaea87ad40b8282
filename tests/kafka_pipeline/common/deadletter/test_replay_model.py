"""Any number of replays, of any choice, each killed anywhere: every letter is sent, and known to be."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.deadletter.marks import read_mark
from kafka_pipeline.common.deadletter.record import REASON, DeadLetter, replayed
from kafka_pipeline.common.deadletter.replay import Replay
from kafka_pipeline.common.deadletter.selection import ReplayRules, Selection
from kafka_pipeline.common.deadletter.shelf import Access, Shelf
from kafka_pipeline.common.messaging import Message, NewTopic, Offsets, Producer
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.scan import scan

LETTERS, TARGET, GROUP = "dlq", "main", "group"
REASONS = "abc"
BATCH = 3

choices = st.sets(st.sampled_from(REASONS))
runs = st.lists(st.tuples(choices, st.none() | st.integers(1, 12), st.none() | st.integers(1, 8)), max_size=6)
"""Of each replay: the reasons it chooses (none is all), its limit, and the durable step before which it is killed."""


class Died(BaseException):
    """The process is gone."""


class Life:
    """Counts durable steps, and ends before the given one."""

    def __init__(self, steps: int | None) -> None:
        self._left = steps

    def step(self) -> None:
        """Live on, or die."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                raise Died


class MortalProducer:
    """A producer of a process that may die."""

    def __init__(self, inner: Producer, life: Life) -> None:
        self._inner = inner
        self._life = life

    async def send(self, messages: Sequence[Message]) -> None:
        """Send, unless it dies before."""
        self._life.step()
        await self._inner.send(messages)

    async def close(self) -> None:
        """Nothing: the inner one is the test's."""


class MortalShelf(Shelf):
    """A shelf in a process that may die."""

    life = Life(None)

    async def commit(self, offsets: Offsets) -> None:
        """Commit, unless it dies before."""
        self.life.step()
        await super().commit(offsets)


@settings(deadline=None, max_examples=40)
@given(reasons=st.lists(st.sampled_from(REASONS), min_size=1, max_size=25), plan=runs, partitions=st.integers(1, 3))
def test_any_replays_killed_anywhere_lose_nothing_and_repeat_a_batch_each_at_most(
    reasons: list[str], plan: list[tuple[set[str], int | None, int | None]], partitions: int
) -> None:
    """What counts as done was sent; a last replay of everything leaves nothing; each kill costs one batch at most."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), reasons, plan, partitions))


async def _live(
    folder: Path, reasons: list[str], plan: list[tuple[set[str], int | None, int | None]], partitions: int
) -> None:
    broker = EmbeddedBroker(folder / "broker.db")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=LETTERS, partitions=partitions), NewTopic(name=TARGET, partitions=1)])
    await producer.send(
        [
            Message(topic=LETTERS, key=b"%d" % number, value=b"%d" % number, headers=((REASON, reason.encode()),))
            for number, reason in enumerate(reasons)
        ]
    )
    kills = 0
    for chosen, limit, dies_at in [*plan, (set[str](), None, None)]:
        before = await _arrivals(broker)
        with suppress(Died):
            kills += 1
            await _replay(broker, producer, Life(dies_at), frozenset(chosen), limit)
            kills -= 1
        arrived = await _arrivals(broker)
        waiting = await _waiting(broker)
        assert set(range(len(reasons))) - waiting <= set(arrived), "what counts as done was sent"
        assert all(not chosen or reasons[number] in chosen for number in arrived - before), "only the chosen ones"
        assert limit is None or (arrived - before).total() <= limit
    assert waiting == set()
    assert set(arrived) == set(range(len(reasons)))
    assert arrived.total() - len(reasons) <= kills * BATCH
    await broker.close()


async def _replay(
    broker: EmbeddedBroker, producer: Producer, life: Life, reasons: frozenset[str], limit: int | None
) -> None:
    def message(letter: DeadLetter) -> Message:
        return replayed(letter, topic=TARGET, value=letter.record.value)

    rules = ReplayRules(selection=Selection(reasons=reasons), max_replays=3)
    async with MortalShelf(broker, LETTERS, GROUP, access=Access.HOLD, batch_records=BATCH) as shelf:
        shelf.life = life
        await Replay(shelf, rules=rules, facts=lambda _: {}, message=message).run(MortalProducer(producer, life), limit)


async def _arrivals(broker: EmbeddedBroker) -> Counter[int]:
    async with aclosing(scan(broker, [TARGET])) as batches:
        return Counter([int(record.value or b"") async for batch in batches for record in batch])


async def _waiting(broker: EmbeddedBroker) -> set[int]:
    async with Shelf(broker, LETTERS, GROUP) as shelf:
        ledger = await shelf.ledger()
        async with aclosing(shelf.read()) as batches:
            records = [record async for batch in batches for record in batch if read_mark(record) is None]
    return {int(record.value or b"") for record in records if not ledger.is_done(record)}
