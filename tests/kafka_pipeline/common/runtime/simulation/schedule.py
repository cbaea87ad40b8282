"""One simulated run: members come, die, freeze and go until all work has ended somewhere; then it is compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from kafka_pipeline.common.deadletter.record import DeadLetterRouter
from kafka_pipeline.common.deadletter.retries import retry_message
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.resilience.flood import FloodLimits
from kafka_pipeline.common.resilience.retry import RetryPolicy
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.loop import LoopSettings, WorkerLoop
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry
from kafka_pipeline.common.runtime.processor import Route, SetAside, TryAgain, failure_outcome
from tests.kafka_pipeline.common.runtime.simulation.broker import (
    REVOKE_BUDGET_S,
    SimulatedBroker,
    SimulatedConsumer,
    SimulatedProducer,
)
from tests.kafka_pipeline.common.runtime.simulation.virtual_time import VirtualLoop
from tests.kafka_pipeline.common.runtime.simulation.world import (
    DEAD,
    DELAYS_S,
    NEXT,
    RETRIES,
    WORK,
    Chances,
    Member,
    Work,
    World,
)

MEMBERS = 2
LIMIT_S = 50_000.0
"""Virtual seconds after which a run counts as stuck."""


class Worker:
    """Does the work as its kind asks for; what succeeds is in the lake, and a message follows."""

    name = "simulated"
    group = "simulated"
    topics = (WORK,)
    ordering = Ordering.KEY

    def __init__(self, world: World, member: Member) -> None:
        self._world = world
        self._member = member

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return the outcome of each record; raise for all if one of them is a bug."""
        for record in records:
            self._world.check_due(record)
        await self._world.step(self._member, f"processes {len(records)}")
        return [await self._outcome(Work.of(record)) for record in records]

    async def _outcome(self, work: Work) -> Outcome:
        if work.kind == "bug":
            raise ZeroDivisionError
        if work.kind == "bad":
            return Dead(reason="bad", error_class="E", error_text="t")
        if work.kind == "flaky" and (work.fails < 0 or work.attempt < work.fails):
            return Retry(category=Category.TRANSIENT, error_class="E", error_text="t")
        if work.kind == "needy":
            try:
                self._world.ask_dependency()
            except Exception as error:  # noqa: BLE001  # as a worker does with what it calls
                return failure_outcome(error)
        await self._world.step(self._member, f"writes {work.id}")
        self._world.lake.setdefault(work.id, work.attempt)
        return Done(messages=(Message(topic=NEXT, key=str(work.id).encode(), value=work.to_bytes()),))


class Router:
    """Retry topics and dead letters, as the real handlers use them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._policy = RetryPolicy(delays_s=DELAYS_S)
        self._dead_letters = DeadLetterRouter(kind="simulated", topic=DEAD, clock=world.clock)

    def route(self, record: Record, outcome: Retry | Dead, *, tries: int) -> Route:
        """Return where the record goes."""
        work, now = Work.of(record), self._world.clock.now()
        if isinstance(outcome, Retry) and (decision := self._policy.decide(work.attempt, now)) is not None:
            again = replace(work, attempt=work.attempt + 1)
            message = retry_message(
                record,
                outcome,
                topic=RETRIES[decision.delay],
                value=again.to_bytes(),
                attempts=again.attempt,
                due_at=decision.due_at,
                now=now,
            )
            return TryAgain(messages=(message,))
        return SetAside(messages=(self._dead_letters.route(record, outcome, attempts=work.attempt + 1),))

    def route_without_value(self, record: Record, outcome: Retry | Dead) -> Sequence[Message]:
        """Return nothing: no message here is too large."""
        raise AssertionError("nothing is too large")


def works(rng: random.Random) -> list[Work]:
    """Make up some work of every kind."""
    kinds = ["easy"] * 6 + ["needy"] * 4 + ["flaky"] * 4 + ["bug", "bad"]
    return [
        Work(id=number, kind=kind, fails=rng.choice((1, 2, -1)) if kind == "flaky" else 0)
        for number, kind in enumerate(rng.choices(kinds, k=rng.randint(5, 30)))
    ]


def run(seed: int, *, chances: Chances | None = None, die_at_step: int | None = None) -> World:
    """Run one schedule and hold it to the truth. Raises AssertionError with the seed and the step."""
    random.seed(seed)  # the loop's own jitter
    loop = VirtualLoop()
    world = World(loop=loop, seed=seed, chances=chances or Chances(), die_at_step=die_at_step)
    try:
        loop.run_until_complete(_live(world))
        return world
    finally:
        world.over = True
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


async def _live(world: World) -> None:
    broker = SimulatedBroker(world)
    todo = works(world.rng)
    outage_s = world.rng.uniform(0, 10)
    world.outages.append((outage_s, outage_s + world.rng.uniform(0, 15)))
    feeding = asyncio.create_task(_feed(broker, todo))
    settings = LoopSettings(
        max_batch_records=world.rng.choice((1, 3, 10)),
        linger_s=world.rng.choice((0.0, 0.05)),
        max_in_flight_records=world.rng.choice((2, 10, 100)),
        max_waiting_records=world.rng.choice((2, 10, 100)),
        poll_timeout_s=1.0,
        revoke_timeout_s=REVOKE_BUDGET_S / 2,
        shutdown_timeout_s=2.0,
        flood=FloodLimits(max_share=1),
    )
    alive: dict[Member, asyncio.Task[None]] = {}
    everybody: list[asyncio.Task[None]] = []  # the event loop itself would forget whoever waits for ever
    while not (feeding.done() and broker.drained):
        world.check(world.loop.time() < LIMIT_S, lambda: "it never ends")
        for member, task in list(alive.items()):
            if task.done():
                task.result()
            if member.dead or task.done():
                del alive[member]
        while len(alive) < MEMBERS:
            member = Member(f"member {len(everybody)}")
            stop = asyncio.Event()
            worker_loop = WorkerLoop(
                Worker(world, member),
                consumer=SimulatedConsumer(broker, member),
                producer=SimulatedProducer(broker, member),
                failures=Router(world),
                delayed_topics=RETRIES,
                settings=settings,
                clock=world.clock,
            )
            alive[member] = asyncio.create_task(worker_loop.run(stop))
            everybody.append(alive[member])
            if world.rng.random() < 0.1:
                asyncio.get_running_loop().call_later(world.rng.uniform(0, 30), stop.set)
        await asyncio.sleep(1.0)
    _compare(world, todo)


async def _feed(broker: SimulatedBroker, todo: Sequence[Work]) -> None:
    for work in todo:
        await asyncio.sleep(broker.world.rng.choice((0, 0, 0.1, 2.0)))
        broker.append(Message(topic=WORK, key=b"key %d" % (work.id % 7), value=work.to_bytes()))


def _compare(world: World, todo: Sequence[Work]) -> None:
    """See that each work ended in exactly one place, with as many attempts as it failed times, and no more (I7)."""
    dead = world.written[DEAD]
    for work in todo:
        in_lake, is_dead = work.id in world.lake, work.id in dead
        world.check(in_lake or is_dead, lambda work=work: f"{work} is lost")  # type: ignore[misc]
        world.check(not (in_lake and is_dead), lambda work=work: f"{work} ended twice")  # type: ignore[misc]
        world.check(in_lake == work.ends_well, lambda work=work: f"{work} ended in the wrong place")  # type: ignore[misc]
        expected = work.fails if work.kind == "flaky" else 0
        world.check(
            not in_lake or world.lake[work.id] == expected,
            lambda work=work: f"{work} took attempt {world.lake[work.id]}",  # type: ignore[misc]
        )
    world.check(world.lake.keys() <= world.written[NEXT].keys(), lambda: "a message that follows is missing")
