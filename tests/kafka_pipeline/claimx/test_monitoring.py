"""Promises of the probes of a whole process (WP-7.2, [WRK-5]): what makes it unready, and that no outage ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.monitoring import BrokerWatch, HealthBoard, liveness, readiness
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.messaging import (
    BrokerRefusedError,
    BrokerUnavailableError,
    TopicPartition,
)
from kafka_pipeline.common.messaging.protocols import Watermarks
from kafka_pipeline.common.observability.health import Findings, reasons_in
from kafka_pipeline.common.pulse import Pulse
from kafka_pipeline.common.runtime.liveness import Signs

HERE = TopicPartition("claimx.events.raw", 0)
WELL = Signs(since_turn_s=0, overdue_s=0, stranded_s=0, deaf_s=0, drains=False)
BROKEN = Signs(since_turn_s=99, overdue_s=0, stranded_s=0, deaf_s=0, drains=False)


@dataclass
class Worker:
    """A worker that says what a test wants."""

    name: str = "claimx-ingester"
    signs: Signs = WELL
    assigned: bool = True
    waiting_for: frozenset[str] = frozenset()
    listens_to: frozenset[TopicPartition] = frozenset({HERE})
    told: list[Mapping[TopicPartition, int]] = field(default_factory=list)

    def looked(self, ends: Mapping[TopicPartition, int]) -> None:
        """Note it."""
        self.told.append(dict(ends))


@dataclass
class Service:
    """A part that says what a test wants."""

    hangs: bool = False
    reasons: frozenset[str] = frozenset()

    def not_ready(self) -> frozenset[str]:
        """Return it."""
        return self.reasons


def ready(worker: Worker, *, connected: bool = True, **services: Service) -> list[str]:
    """Return the reasons of readiness."""
    return reasons_in(readiness([worker], services, connected=connected, ignoring=frozenset({"in_place"})))


def test_a_process_that_can_work_is_ready() -> None:
    """Nothing stands in the way; retries in place are work, not a reason."""
    assert ready(Worker(waiting_for=frozenset({"in_place"})), lake=Service()) == []


@pytest.mark.parametrize(
    ("worker", "connected", "services", "reasons"),
    [
        (Worker(), False, {}, ["kafka_disconnected"]),
        (Worker(), True, {"claimx_api": Service(reasons=frozenset({"api_auth"}))}, ["api_auth"]),
        (
            Worker(waiting_for=frozenset({"circuit_open"})),
            True,
            {"claimx_api": Service(reasons=frozenset({"circuit_open", "api_unreachable"}))},
            ["api_unreachable", "circuit_open"],
        ),
        (Worker(), True, {"lake": Service(reasons=frozenset({"lake_unavailable"}))}, ["lake_unavailable"]),
        (Worker(), True, {"cache": Service(reasons=frozenset({"cache_unwritable"}))}, ["cache_unwritable"]),
        (Worker(waiting_for=frozenset({"dead_letter_flood"})), True, {}, ["dead_letter_flood"]),
        (Worker(assigned=False), True, {}, ["claimx-ingester has no partitions"]),
    ],
)
def test_readiness_names_what_stands_in_the_way(
    worker: Worker,
    connected: bool,  # noqa: FBT001 - a case of the table
    services: dict[str, Service],
    reasons: list[str],
) -> None:
    """Each reason in the words of [WRK-5], once, whoever tells it; and none of them is a reason to restart."""
    assert ready(worker, connected=connected, **services) == reasons
    assert reasons_in(liveness([worker], services)) == []


def test_liveness_names_the_worker_and_the_part() -> None:
    """So that a log of restarts says why."""
    found = liveness([Worker(signs=BROKEN), Worker(name="claimx-enricher")], {"lake": Service(hangs=True)})
    assert found == {
        "claimx-ingester": ["claimx-ingester: the loop hangs"],
        "claimx-enricher": [],
        "lake": ["lake hangs"],
    }


class Admin:
    """A broker's admin with moods."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.high = 0
        self.closed = False

    async def topics(self) -> dict[str, int]:
        """Answer, or not."""
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return {}

    async def watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
        """Answer, or not."""
        await self.topics()
        self.high += 1
        return {partition: Watermarks(0, self.high) for partition in partitions}

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_s


async def soon(holds: Any) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def test_the_watch_tells_whether_the_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer, an error and a silence are disconnections, a refusal is an answer; it goes on whatever comes."""
    monkeypatch.setattr(monitoring, "_LOOK_EVERY_S", 0.0)
    admin, clock, worker = Admin(), Clock(), Worker()
    broker: Any = type("Broker", (), {"admin": staticmethod(lambda: admin)})
    watch = BrokerWatch(broker, [worker], clock=clock)  # type: ignore[arg-type]
    assert watch.connected
    watching = asyncio.create_task(watch.run())
    await soon(lambda: len(worker.told) > 2)
    assert worker.told[1] == {HERE: 2}
    assert watch.connected
    admin.error = BrokerUnavailableError()
    await soon(lambda: not watch.connected)
    told = len(worker.told)
    admin.error = BrokerRefusedError()
    await soon(lambda: watch.connected)
    assert len(worker.told) == told, "nobody hears of ends that were not seen"
    admin.error = None
    admin.answers.clear()
    await soon(lambda: watch._asked_s is not None)
    assert watch.connected, "it may take a moment"
    clock.now_s += 6
    assert not watch.connected
    admin.answers.set()
    await soon(lambda: len(worker.told) > told + 1)
    assert watch.connected
    watching.cancel()
    await asyncio.wait([watching])
    assert admin.closed


async def test_a_worker_without_partitions_does_not_keep_the_watch_from_looking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker is asked for something else then."""
    monkeypatch.setattr(monitoring, "_LOOK_EVERY_S", 0.0)
    admin = Admin()
    admin.error = BrokerUnavailableError()
    broker: Any = type("Broker", (), {"admin": staticmethod(lambda: admin)})
    watch = BrokerWatch(broker, [Worker(listens_to=frozenset())])
    watching = asyncio.create_task(watch.run())
    await soon(lambda: not watch.connected)
    watching.cancel()
    await asyncio.wait([watching])


@dataclass
class Watched:
    """A pipeline that says what a test wants."""

    begun: bool = False

    def liveness(self) -> Findings:
        """Say that it hangs."""
        return {"worker": ["it hangs"]}

    def readiness(self) -> Findings:
        """Say that it waits."""
        return {"kafka": ["kafka_disconnected"]}


def test_the_board_tells_of_a_start_before_there_is_a_pipeline() -> None:
    """Alive but neither started nor ready; started for good once every worker has begun."""
    board = HealthBoard()
    assert reasons_in(board.live()) == []
    assert reasons_in(board.started()) == reasons_in(board.ready()) == ["starting"]
    pipeline = Watched()
    board.watch(pipeline)
    assert reasons_in(board.live()) == ["it hangs"]
    assert reasons_in(board.ready()) == ["kafka_disconnected"]
    assert reasons_in(board.started()) == ["starting"]
    pipeline.begun = True
    assert reasons_in(board.started()) == []
    pipeline.begun = False
    assert reasons_in(board.started()) == [], "a worker that ends does not begin again"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let silence count as a hang after so many seconds, and return them."""
    assert Pulse.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Pulse.__init__.__kwdefaults__, "grace_s", 0.5)
    return 0.5


async def test_a_lake_that_is_away_makes_nobody_hang(embedded_site: Any, impatient: float) -> None:
    """Rows and files wait for as long as it takes: unready, alive; and all is there when it is back."""
    site = embedded_site
    gone = site.lake.with_name("gone")
    async with site.working(*WorkerKind) as pipeline:
        items = [item.value for item in site.simulator.feed()]
        await site.publish(*items[:20])
        await site.drained(site.topics.events)
        site.lake.rename(gone)
        site.lake.write_text("no folder")
        await site.publish(*items[20:40])
        await soon(lambda: "lake_unavailable" in reasons_in(pipeline.readiness()))
        for _ in range(30):
            await asyncio.sleep(impatient / 5)
            assert reasons_in(pipeline.liveness()) == []
        assert await site.committed(site.topics.events) == 20
        site.lake.unlink()
        gone.rename(site.lake)
        await site.drained(site.topics.events)
        await soon(lambda: reasons_in(pipeline.readiness()) == [])


async def test_an_api_that_is_slow_makes_nobody_hang(embedded_site: Any, impatient: float) -> None:
    """A call may take its whole time-out; it is not silence."""
    site = embedded_site
    site.simulator._traffic._latency_s = 4 * impatient
    async with site.working(WorkerKind.INGESTER, WorkerKind.ENRICHER) as pipeline:
        await site.publish(*[item.value for item in site.simulator.feed()][:5])
        await site.drained(site.topics.events)
        for _ in range(30):
            await asyncio.sleep(impatient / 5)
            assert reasons_in(pipeline.liveness()) == []
        site.simulator._traffic._latency_s = 0.0
        await site.drained(site.topics.enrichment_pending)
