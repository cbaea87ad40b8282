"""A replay sends each chosen letter, and knows afterwards what it sent, on every broker and through every crash."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

import pytest
import pytest_asyncio

from kafka_pipeline.common.deadletter.marks import read_mark
from kafka_pipeline.common.deadletter.record import (
    EDITED_FROM,
    ORIGINAL_KEY,
    REASON,
    VALUE_OMITTED,
    DeadLetter,
    edited,
    replayed,
)
from kafka_pipeline.common.deadletter.replay import Replay, replay_one
from kafka_pipeline.common.deadletter.selection import ReplayRules, Selection, Verdict
from kafka_pipeline.common.deadletter.shelf import Access, Shelf, TakenError
from kafka_pipeline.common.messaging import (
    Broker,
    BrokerRefusedError,
    Headers,
    Message,
    MessageTooLargeError,
    NewTopic,
    Offsets,
    Producer,
    Record,
    TopicPartition,
)
from kafka_pipeline.common.messaging.carried import REPLAYS
from kafka_pipeline.common.messaging.scan import scan

PARTITIONS = 3
ON_ONE_BROKER = pytest.mark.parametrize("broker", ["embedded"], indirect=True)
"""For decisions that no broker has a part in."""
EVERYTHING = ReplayRules(selection=Selection(), max_replays=3)
REPAIRED = ReplayRules(selection=Selection(reasons=frozenset({"repaired"})), max_replays=3)


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """A producer whose process dies before or after its n-th send."""

    def __init__(self, inner: Producer, *, before: int | None = None, after: int | None = None) -> None:
        self._inner = inner
        self._before = before
        self._after = after
        self._sends = 0

    async def send(self, messages: Sequence[Message]) -> None:
        """Send, unless it dies."""
        self._sends += 1
        if self._sends == self._before:
            raise Died
        await self._inner.send(messages)
        if self._sends == self._after:
            raise Died

    async def close(self) -> None:
        """Nothing: the inner one is the test's."""


class Drawer:
    """A topic of dead letters and one that they go back to."""

    def __init__(self, broker: Broker, unique: Callable[..., str]) -> None:
        self.broker = broker
        self.letters, self.target, self.group = unique("dlq"), unique("main"), unique("group")
        self.admin, self.producer = broker.admin(), broker.producer()

    async def open(self) -> None:
        """Create the topics."""
        await self.admin.create_topics(
            [NewTopic(name=each, partitions=PARTITIONS) for each in (self.letters, self.target)]
        )

    async def close(self) -> None:
        """Let go."""
        await self.producer.close()
        await self.admin.close()

    async def fill(self, count: int, *, first: int = 0, headers: Headers = ()) -> None:
        """Write letters; each third one is `repaired`."""
        await self.producer.send(
            [
                Message(
                    topic=self.letters,
                    key=b"k%d" % number,
                    value=b"%d" % number,
                    headers=((REASON, b"repaired" if number % 3 == 0 else b"broken"), *headers),
                )
                for number in range(first, first + count)
            ]
        )

    def shelf(self, access: Access = Access.HOLD, ends: Offsets | None = None, patience_s: float = 30.0) -> Shelf:
        """Return the shelf of the letters."""
        return Shelf(
            self.broker, self.letters, self.group, access=access, ends=ends, patience_s=patience_s, batch_records=4
        )

    def replay(self, shelf: Shelf, rules: ReplayRules) -> Replay:
        """Return a replay to the target."""
        return Replay(shelf, rules=rules, facts=lambda _: {}, message=self.message)

    def message(self, letter: DeadLetter) -> Message:
        """Return what goes back."""
        return replayed(letter, topic=self.target, value=letter.record.value)

    async def run(
        self, rules: ReplayRules = EVERYTHING, *, producer: Producer | None = None, limit: int | None = None
    ) -> Replay:
        """Replay, and return how it went."""
        async with self.shelf() as shelf:
            replay = self.replay(shelf, rules)
            await replay.run(producer or self.producer, limit)
        return replay

    async def waiting(self) -> list[int]:
        """Return the values of the letters that are not done."""
        async with self.shelf(Access.LOOK) as shelf:
            ledger = await shelf.ledger()
            async with aclosing(shelf.read()) as batches:
                records = [record async for batch in batches for record in batch]
        return sorted(
            int(each.value or b"") for each in records if read_mark(each) is None and not ledger.is_done(each)
        )

    async def sent(self) -> list[Record]:
        """Return what came back to the target."""
        async with aclosing(scan(self.broker, [self.target])) as batches:
            return [record async for batch in batches for record in batch]

    async def arrivals(self) -> Counter[int]:
        """Count what came back, by value."""
        return Counter(int(record.value or b"") for record in await self.sent())


@pytest_asyncio.fixture
async def drawer(broker: Broker, unique: Callable[..., str]) -> AsyncIterator[Drawer]:
    """Give letters on each kind of broker, read in small batches."""
    made = Drawer(broker, unique)
    await made.open()
    yield made
    await made.close()


async def test_everything_is_sent_once_and_is_then_done(drawer: Drawer) -> None:
    """A second run sends nothing; what comes later is new."""
    await drawer.fill(20)
    assert (await drawer.run()).tally.sent == 20
    assert await drawer.waiting() == []
    assert (await drawer.run()).tally.sent == 0
    await drawer.fill(2, first=20)
    assert await drawer.waiting() == [20, 21]
    assert await drawer.arrivals() == Counter(range(20))


async def test_everything_in_order_leaves_committed_offsets_and_no_mark(drawer: Drawer) -> None:
    """Whoever watches the group's lag sees zero."""
    await drawer.fill(20)
    await drawer.run()
    partitions = [TopicPartition(drawer.letters, number) for number in range(PARTITIONS)]
    marks = await drawer.admin.watermarks(partitions)
    committed = await drawer.admin.group_offsets(drawer.group, partitions)
    assert {part: mark.high for part, mark in marks.items() if mark.high} == committed
    assert sum(mark.high for mark in marks.values()) == 20


async def test_a_choice_leaves_the_others_where_they_are(drawer: Drawer) -> None:
    """Gaps are remembered, and filled by a later replay of everything."""
    await drawer.fill(20)
    replay = await drawer.run(REPAIRED)
    chosen = [number for number in range(20) if number % 3 == 0]
    others = [number for number in range(20) if number % 3]
    assert replay.tally.reasons == {"repaired": len(chosen)}
    assert replay.tally.verdicts == {Verdict.SEND: len(chosen), Verdict.OTHER: len(others)}
    assert await drawer.waiting() == others
    assert (await drawer.run()).tally.sent == len(others)
    assert await drawer.waiting() == []
    assert await drawer.arrivals() == Counter(range(20))


@ON_ONE_BROKER
async def test_a_limit_stops_and_the_next_run_goes_on(drawer: Drawer) -> None:
    """Portions add up to everything, each letter once."""
    await drawer.fill(20)
    sent = [(await drawer.run(limit=6)).tally.sent for _ in range(4)]
    assert sent == [6, 6, 6, 2]
    assert await drawer.arrivals() == Counter(range(20))


@ON_ONE_BROKER
async def test_a_preview_counts_the_same_and_changes_nothing(drawer: Drawer) -> None:
    """What it says is what a run then does."""
    await drawer.fill(20)
    async with drawer.shelf(Access.LOOK) as shelf:
        preview = drawer.replay(shelf, REPAIRED)
        await preview.preview(limit=5)
    assert await drawer.sent() == []
    assert len(await drawer.waiting()) == 20
    assert (await drawer.run(REPAIRED, limit=5)).tally == preview.tally


async def test_it_ends_where_the_letters_ended_at_the_start(drawer: Drawer) -> None:
    """A letter that comes back at once is not sent round in circles."""
    await drawer.fill(20)

    class Echo(Mortal):
        """Every record that is sent fails again at once."""

        async def send(self, messages: Sequence[Message]) -> None:
            await super().send(messages)
            await super().send([Message(topic=drawer.letters, key=each.key, value=each.value) for each in messages])

    assert (await drawer.run(producer=Echo(drawer.producer))).tally.sent == 20
    assert await drawer.waiting() == list(range(20))


@pytest.mark.parametrize(
    ("rules", "point"),
    [(EVERYTHING, {"after": 1}), (REPAIRED, {"after": 1}), (REPAIRED, {"before": 2}), (REPAIRED, {"after": 2})],
    ids=["sent", "sent-by-choice", "not-marked", "marked"],
)
async def test_a_kill_at_any_point_costs_a_duplicate_at_most(
    drawer: Drawer, rules: ReplayRules, point: dict[str, int]
) -> None:
    """Killed before or after any send: the next run sends what is missing, and nothing is lost."""
    await drawer.fill(20)
    chosen = [number for number in range(20) if rules is EVERYTHING or number % 3 == 0]
    with pytest.raises(Died):
        await drawer.run(rules, producer=Mortal(drawer.producer, **point))
    known = set(chosen) - set(await drawer.waiting())
    assert known <= set(await drawer.arrivals()), "what counts as done was sent"

    await drawer.run(rules)

    arrivals = await drawer.arrivals()
    assert sorted(arrivals) == chosen
    assert max(arrivals.values()) <= 2
    assert sum(arrivals.values()) - len(chosen) <= 4, "no more than the batch under way is sent twice"
    assert await drawer.waiting() == sorted(set(range(20)) - set(chosen))


async def test_a_lost_commit_is_made_good_by_the_marks(drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between marks and commit: what the marks name is not sent again."""
    await drawer.fill(20)

    async def die(shelf: Shelf, offsets: Offsets) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "commit", die)
        with pytest.raises(Died):
            await drawer.run(REPAIRED)
    before = await drawer.arrivals()
    waiting = await drawer.waiting()
    await drawer.run(REPAIRED)
    after = await drawer.arrivals()
    assert {number for number in before if after[number] > 1} == set(before) & set(waiting)
    assert sorted(after) == [number for number in range(20) if number % 3 == 0]


@ON_ONE_BROKER
async def test_an_interruption_finishes_the_batch_under_way_and_nothing_more(drawer: Drawer) -> None:
    """Everything sent is marked; running it again sends the rest, and nothing twice."""
    await drawer.fill(20)
    running: list[asyncio.Task[Replay]] = []

    class Interrupting(Mortal):
        """The keyboard is hit while the first batch is on its way."""

        async def send(self, messages: Sequence[Message]) -> None:
            running[0].cancel()
            await asyncio.sleep(0)
            await super().send(messages)

    running.append(asyncio.create_task(drawer.run(producer=Interrupting(drawer.producer))))
    with pytest.raises(asyncio.CancelledError):
        await running[0]
    sent = await drawer.arrivals()
    assert 0 < len(sent) < 20
    assert set(await drawer.waiting()) == set(range(20)) - set(sent)
    await drawer.run()
    assert await drawer.arrivals() == Counter(range(20))


@ON_ONE_BROKER
async def test_a_letter_that_came_back_too_often_is_quarantined(drawer: Drawer) -> None:
    """It stays, is counted as such, and does not keep the others from being sent; force sends it."""
    await drawer.fill(4, headers=((REPLAYS, b"3"),))
    await drawer.fill(4, first=4, headers=((REPLAYS, b"2"),))
    replay = await drawer.run()
    assert replay.tally.verdicts == {Verdict.SEND: 4, Verdict.QUARANTINED: 4}
    assert {record.header(REPLAYS) for record in await drawer.sent()} == {b"3"}
    assert await drawer.waiting() == [0, 1, 2, 3]
    forced = ReplayRules(selection=Selection(), max_replays=3, force=True)
    assert (await drawer.run(forced)).tally.sent == 4
    assert await drawer.waiting() == []


@ON_ONE_BROKER
async def test_what_was_sent_before_is_sent_again_only_if_asked(drawer: Drawer) -> None:
    """For whoever lost what came of it."""
    await drawer.fill(8)
    await drawer.run(REPAIRED)
    again = ReplayRules(selection=REPAIRED.selection, max_replays=3, again=True)
    assert (await drawer.run(again)).tally.sent == 3
    assert await drawer.arrivals() == Counter({0: 2, 3: 2, 6: 2})
    assert await drawer.waiting() == [1, 2, 4, 5, 7]


@ON_ONE_BROKER
async def test_one_that_is_too_large_for_its_topic_stays_and_the_others_go(drawer: Drawer) -> None:
    """The dead letters admit more than the topic they came from."""
    await drawer.fill(9)

    class Narrow(Mortal):
        """The topic takes everything but one."""

        async def send(self, messages: Sequence[Message]) -> None:
            if any(message.value == b"4" for message in messages):
                raise MessageTooLargeError
            await super().send(messages)

    replay = await drawer.run(producer=Narrow(drawer.producer))
    assert (replay.tally.sent, replay.tally.too_large) == (8, 1)
    assert await drawer.waiting() == [4]


@ON_ONE_BROKER
async def test_one_without_its_value_is_not_sent(drawer: Drawer) -> None:
    """Only its place is known; a null in its stead would fail again."""
    await drawer.fill(1)
    await drawer.fill(1, first=1, headers=((VALUE_OMITTED, b"99"),))
    replay = await drawer.run()
    assert replay.tally.verdicts == {Verdict.SEND: 1, Verdict.NO_VALUE: 1}
    assert await drawer.waiting() == [1]


async def test_what_goes_back_has_its_key_its_trace_and_one_replay_more(drawer: Drawer) -> None:
    """The guard counts, and everything else is as it was the first time."""
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = (("traceparent", trace), (ORIGINAL_KEY, b"4711"), (REPLAYS, b"1"), (REASON, b"broken"))
    await drawer.producer.send([Message(topic=drawer.letters, key=b"other", value=b"1", headers=headers)])
    await drawer.run()
    [record] = await drawer.sent()
    assert (record.key, record.value) == (b"4711", b"1")
    assert dict(record.headers) == {"traceparent": trace, REPLAYS: b"2"}


async def test_an_edited_one_names_the_letter_that_keeps_the_original(drawer: Drawer) -> None:
    """The letter is done, and still there."""
    await drawer.fill(3)
    async with drawer.shelf() as shelf:
        async with aclosing(shelf.read()) as batches:
            record = next(each for each in [one async for batch in batches for one in batch] if each.value == b"1")
        letter = DeadLetter.parse(record)
        await replay_one(shelf, drawer.producer, letter, edited(letter, topic=drawer.target, value=b"100"))
    [sent] = await drawer.sent()
    reference = f"{drawer.letters}-{record.partition}-{record.offset}".encode()
    assert (sent.key, sent.value) == (b"k1", b"100")
    assert dict(sent.headers) == {REPLAYS: b"1", EDITED_FROM: reference}
    assert await drawer.waiting() == [0, 2]


async def test_two_never_work_on_the_same_letters(drawer: Drawer) -> None:
    """The second one is told so; once the first has ended, it may."""
    await drawer.fill(6)
    async with drawer.shelf():
        with pytest.raises(TakenError, match="let it end, then run this again"):
            async with drawer.shelf(patience_s=1.0):
                pass
    assert (await drawer.run()).tally.sent == 6


async def read_for_ever(shelf: Shelf) -> None:
    """Use the shelf until that fails."""
    while True:
        await shelf.ledger()


async def test_whoever_loses_the_letters_sends_nothing_more(drawer: Drawer) -> None:
    """The newcomer has them from then on; both together send each letter, and mark it."""
    await drawer.fill(20)
    async with drawer.shelf() as first:
        replay = asyncio.create_task(drawer.run())
        with pytest.raises(TakenError):
            await read_for_ever(first)
    assert (await replay).tally.sent == 20
    assert await drawer.arrivals() == Counter(range(20))


async def test_deleted_letters_are_not_waited_for(drawer: Drawer) -> None:
    """Somebody purges while somebody else reads."""
    await drawer.fill(30)
    async with drawer.shelf(Access.LOOK) as shelf, aclosing(shelf.read()) as batches:
        assert await anext(batches)
        await drawer.admin.delete_records(shelf.ends)
        async for _ in batches:
            pass
    assert await drawer.waiting() == []


async def test_a_purge_ends_where_the_letters_ended_at_the_start(drawer: Drawer) -> None:
    """What came since stays, and counts."""
    await drawer.fill(10)
    await drawer.run(REPAIRED)
    async with drawer.shelf(Access.LOOK) as shelf:
        ends = shelf.ends
    await drawer.fill(5, first=10)
    async with drawer.shelf(Access.HOLD, ends) as shelf:
        await shelf.delete()
    assert await drawer.waiting() == [10, 11, 12, 13, 14]
    assert (await drawer.run()).tally.sent == 5


async def test_offsets_of_a_topic_that_was_made_anew_say_nothing(drawer: Drawer) -> None:
    """An offset behind the end belongs to records that are gone."""
    await drawer.fill(3)
    async with drawer.shelf() as shelf:
        await shelf.commit({part: end + 100 for part, end in shelf.ends.items()})
    assert await drawer.waiting() == [0, 1, 2]


async def test_without_the_topic_it_says_what_to_do(broker: Broker, unique: Callable[..., str]) -> None:
    """One sentence with the remedy."""
    with pytest.raises(BrokerRefusedError, match=r"there is no topic .*: run `kafka-pipeline claimx-topics`"):
        async with Shelf(broker, unique("absent"), unique("group")):
            pass
