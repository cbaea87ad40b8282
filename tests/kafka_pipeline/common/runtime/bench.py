"""A bench for the worker loop: topics, a producer with moods, and a loop that runs while a context is entered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from kafka_pipeline.common.messaging import (
    Broker,
    Message,
    MessageTooLargeError,
    ProduceError,
    Producer,
    Record,
    TopicPartition,
)
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.loop import LoopSettings, WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Outcome, Retry
from kafka_pipeline.common.runtime.processor import Route, SetAside, TryAgain

PATIENCE_S = 30.0
FAST = LoopSettings(
    max_batch_records=1,
    linger_s=0.0,
    poll_timeout_s=0.05,
    commit_interval_s=0.01,
    shutdown_timeout_s=0.2,
    produce_retry_initial_s=0.01,
    produce_retry_max_s=0.02,
)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass(kw_only=True)
class Scripted:
    """A processor that does what the test says, record by record, and remembers what it was given."""

    topics: Sequence[str]
    group: str
    behave: Callable[[Record], Awaitable[Outcome]]
    name: str = "scripted"
    ordering: Ordering = Ordering.KEY
    batches: list[list[bytes | None]] = field(default_factory=list)

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Note the batch, then behave."""
        self.batches.append([record.value for record in records])
        return [await self.behave(record) for record in records]

    @property
    def seen(self) -> list[bytes | None]:
        """Every value that was processed, in order, repeats included."""
        return [value for batch in self.batches for value in batch]


class Failures:
    """Sends failed records to one topic, with the reason as their value."""

    def __init__(self, topic: str, *, whole: bool = False) -> None:
        self._topic = topic
        self.whole = whole
        """Whether what is too large is set aside with its own value."""

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return the one message."""
        reason = outcome.reason or "transient"
        whole = record.value if reason == "too_large" and self.whole else reason.encode()
        messages = (Message(topic=self._topic, key=record.key, value=whole),)
        return TryAgain(messages=messages) if isinstance(outcome, Retry) else SetAside(messages=messages)

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return a message that any broker takes."""
        return (Message(topic=self._topic, key=record.key, value=None),)


class Moody:
    """A producer that fails as often as it is told, and can hold an acknowledgement back."""

    def __init__(self, inner: Producer) -> None:
        self._inner = inner
        self.failures = 0
        self.too_large: bytes | None = None
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self.asked = 0

    async def send(self, messages: Sequence[Message]) -> None:
        """Send, once in the mood."""
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise ProduceError
        if any(message.value == self.too_large for message in messages if self.too_large is not None):
            raise MessageTooLargeError
        await self._inner.send(messages)
        await self.may_acknowledge.wait()

    async def close(self) -> None:
        """Close the real one."""
        await self._inner.close()


class Bench:
    """One topic of work, one for what follows, one for what is set aside."""

    def __init__(self, broker: Broker, unique: Callable[..., str]) -> None:
        self.broker = broker
        self.work, self.next, self.aside = unique("work"), unique("next"), unique("aside")
        self.group = unique("group")
        self.partition = TopicPartition(self.work, 0)
        self.producer = Moody(broker.producer())
        self.failures = Failures(self.aside)
        self.admin = broker.admin()

    async def fill(self, *values: bytes, key: bytes | None = None, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Write work."""
        feeder = self.broker.producer()
        await feeder.send([Message(topic=self.work, key=key, value=value, headers=headers) for value in values])
        await feeder.close()

    def processor(self, behave: Callable[[Record], Awaitable[Outcome]], **changes: object) -> Scripted:
        """Return a processor of the work topic."""
        return Scripted(topics=[self.work], group=self.group, behave=behave, **changes)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(
        self, processor: Scripted, settings: LoopSettings = FAST, delayed_topics: Collection[str] = ()
    ) -> AsyncIterator[WorkerLoop]:
        """Run a loop while the context is entered."""
        stop = asyncio.Event()
        loop = WorkerLoop(
            processor,
            consumer=self.broker.consumer(self.group),
            producer=self.producer,
            failures=self.failures,
            delayed_topics=delayed_topics,
            settings=settings,
        )
        task = asyncio.create_task(loop.run(stop))
        try:
            yield loop
        finally:
            stop.set()
            await task

    async def committed(self) -> int:
        """Return the group's committed offset of the work topic."""
        return (await self.admin.group_offsets(self.group, [self.partition])).get(self.partition, 0)

    async def commits(self, offset: int) -> None:
        """Wait until that offset is committed."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.committed() < offset:
                await asyncio.sleep(0.02)
        assert await self.committed() == offset

    async def read(self, topic: str) -> list[Record]:
        """Return every record of a topic."""
        found: list[Record] = []
        async with aclosing(scan(self.broker, [topic])) as batches:
            async for batch in batches:
                found += batch
        return sorted(found, key=lambda record: record.offset)

    async def values(self, topic: str) -> list[bytes | None]:
        """Return the values of a topic."""
        return [record.value for record in await self.read(topic)]
