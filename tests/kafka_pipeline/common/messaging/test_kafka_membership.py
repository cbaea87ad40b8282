"""A client that has lost its group for good is replaced; one that is on its way back is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kafka_pipeline.common.messaging import BrokerUnavailableError, _kafka_consumer
from kafka_pipeline.common.messaging import TopicPartition as Place
from kafka_pipeline.common.messaging._kafka_consumer import KafkaConsumer
from kafka_pipeline.common.messaging._kafka_membership import LOOK_EVERY_S, OUTCAST_S, Finding, Membership
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings

SETTINGS = KafkaSettings(bootstrap_servers="broker.example.com:9092", session_timeout_s=6.0)


@given(
    session_s=st.floats(1, 60),
    looks=st.lists(st.tuples(st.floats(0.1, 20), st.booleans()), min_size=1, max_size=30),
)
def test_a_client_is_given_up_exactly_when_it_had_no_place_for_too_long(
    session_s: float, looks: list[tuple[float, bool]]
) -> None:
    """For its session time, 15 s at least; each sign of a place begins it anew."""
    membership, now_s, member_at_s = Membership(session_s), 100.0, 100.0
    membership.begin(now_s)
    for pause_s, is_member in looks:
        now_s += pause_s
        if is_member:
            member_at_s = now_s
        outcast = now_s - member_at_s >= max(OUTCAST_S, session_s)
        assert membership.look("id" if is_member else "", now_s) is (Finding.OUTCAST if outcast else Finding.WELL)
        assert not membership.is_due(now_s)
        assert membership.is_due(now_s + LOOK_EVERY_S)


class _Client:
    """A client that may have a place in its group or not, and may see its broker or not."""

    def __init__(self, *, member_id: str = "", sees_broker: bool = True) -> None:
        self.member_id, self.sees_broker = member_id, sees_broker
        self.calls: list[str] = []
        self.callbacks: dict[str, Callable[..., None]] = {}

    def memberid(self) -> str:
        return self.member_id

    def list_topics(self, topic: str | None = None, *, timeout: float) -> Any:
        if not self.sees_broker:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={"topic": SimpleNamespace(error=None)})

    def poll(self, timeout_s: float) -> None:
        """Nothing to hear."""

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.calls.append(f"subscribe {', '.join(topics)}")
        self.callbacks = callbacks

    def consume(self, number: int, timeout_s: float) -> list[Any]:
        return []

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.calls.append("unassign")

    def close(self) -> None:
        self.calls.append("close")


class _Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.lost: list[frozenset[Place]] = []

    async def on_assigned(self, partitions: frozenset[Place]) -> None:
        """Nothing to prepare."""

    async def on_revoked(self, partitions: frozenset[Place]) -> dict[Place, int]:
        raise AssertionError("a client that was replaced has nothing to give back")

    async def on_lost(self, partitions: frozenset[Place]) -> None:
        self.lost.append(partitions)


def consumer_with(client: _Client, fresh: _Client, monkeypatch: pytest.MonkeyPatch) -> tuple[KafkaConsumer, _Listener]:
    """Return a consumer that polls the first client since the clock stood at 0, and would get the other anew."""
    monkeypatch.setattr(_kafka_consumer, "connected", lambda _make, _voice: fresh)
    consumer, listener = KafkaConsumer(SETTINGS, "group"), _Listener()
    consumer._client = client  # type: ignore[assignment]
    consumer._listener = listener
    consumer._loop = asyncio.get_running_loop()
    consumer._topics = ["topic"]
    consumer._assigned = frozenset({Place("topic", 0)})
    return consumer, listener


def replaced() -> float:
    """Return how many clients were replaced."""
    return REGISTRY.get_sample_value("kafka_clients_replaced_total") or 0.0


async def test_a_client_that_does_not_find_back_into_its_group_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener loses what it had, the new one joins, the old one is closed and has no say any more."""
    old, fresh, before = _Client(), _Client(member_id="new"), replaced()
    consumer, listener = consumer_with(old, fresh, monkeypatch)
    assert await consumer.poll(1, 0) == []
    assert (listener.lost, fresh.calls) == ([frozenset({Place("topic", 0)})], ["subscribe topic"])
    assert consumer.assignment() == frozenset()
    assert replaced() == before + 1
    while old.calls != ["close"]:  # another thread
        await asyncio.sleep(0.001)
    consumer._on_revoked(old, [TopicPartition("topic", 0)])  # type: ignore[arg-type]
    consumer._on_lost(old, [TopicPartition("topic", 0)])  # type: ignore[arg-type]
    assert old.calls == ["close", "unassign", "unassign"]


async def test_a_member_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long ago it was looked at."""
    client = _Client(member_id="me")
    consumer, listener = consumer_with(client, _Client(), monkeypatch)
    assert await consumer.poll(1, 0) == []
    assert (listener.lost, client.calls) == ([], [])


async def test_while_the_broker_is_away_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is waited out, however long: a new client sees no broker either, and goes away again."""
    client, fresh = _Client(), _Client(sees_broker=False)
    consumer, listener = consumer_with(client, fresh, monkeypatch)
    for _ in range(2):
        assert await consumer.poll(1, 0) == []
    while fresh.calls != ["close"]:  # another thread
        await asyncio.sleep(0.001)
    assert (listener.lost, client.calls) == ([], [])
    assert not consumer._membership.is_due(time.monotonic()), "it is tried now and then, not at each poll"


async def test_whoever_could_not_join_tries_with_a_new_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first one did not see may be there."""
    clients = [_Client(sees_broker=False), _Client()]
    made = iter(clients)
    monkeypatch.setattr(_kafka_consumer, "connected", lambda _make, _voice: next(made))
    consumer = KafkaConsumer(SETTINGS, "group")
    with pytest.raises(BrokerUnavailableError):
        await consumer.subscribe(["topic"], _Listener())
    await consumer.subscribe(["topic"], _Listener())
    while clients[0].calls != ["close"]:  # another thread
        await asyncio.sleep(0.001)
    assert clients[1].calls == ["subscribe topic"]
