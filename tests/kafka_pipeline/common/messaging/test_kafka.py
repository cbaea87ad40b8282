"""What Kafka's adapter promises beyond the contract: outages, secrets, threads."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError

from kafka_pipeline.common.messaging import (
    BrokerRefusedError,
    BrokerUnavailableError,
    CommitError,
    FencedError,
    Message,
    MessageTooLargeError,
    NewTopic,
    Offsets,
    ProduceError,
    TopicPartition,
    TopicRefusedError,
)
from kafka_pipeline.common.messaging._kafka_consumer import KafkaConsumer, headers_of
from kafka_pipeline.common.messaging._kafka_errors import ClientVoice, commit_error, produce_error, request_error
from kafka_pipeline.common.messaging._kafka_thread import ConsumerThread
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings

SECRET = "not-a-real-password"


@pytest.fixture
def nowhere() -> KafkaSettings:
    """Give settings for a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_s=1, delivery_timeout_s=1)


@pytest.fixture
def real(kafka_bootstrap: str) -> KafkaBroker:
    """Give the real Kafka with a short revoke budget."""
    return KafkaBroker(
        KafkaSettings(
            bootstrap_servers=kafka_bootstrap, revoke_budget_s=0.2, session_timeout_s=6, heartbeat_interval_s=0.2
        )
    )


def librdkafka_threads() -> list[str]:
    """Return the names of our threads that serve librdkafka."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kafka-")]


async def test_an_unreachable_broker_is_unavailable_quickly(nowhere: KafkaSettings, tape: Any) -> None:
    """Every door says so within about its time-out, and nothing is left behind."""
    broker = KafkaBroker(nowhere)
    started = time.monotonic()
    with pytest.raises(BrokerUnavailableError):
        await broker.check(0.5)
    assert time.monotonic() - started < 3
    consumer, producer, admin = broker.consumer("g"), broker.producer(), broker.admin()
    with pytest.raises(BrokerUnavailableError):
        await consumer.subscribe(["t"], tape)
    with pytest.raises(BrokerUnavailableError):
        await admin.topics()
    with pytest.raises(BrokerUnavailableError):
        await admin.watermarks([TopicPartition("t", 0)])
    with pytest.raises(ProduceError):
        await producer.send([Message(topic="t", value=b"v")])
    for thing in (consumer, producer, admin, broker):
        await thing.close()
    assert librdkafka_threads() == []


async def test_options_that_librdkafka_refuses_are_a_refusal_without_their_values() -> None:
    """A wrong security setting stops the start, and the text does not show the secret beside it."""
    options = {"security.protocol": f"no-such-{SECRET}", "sasl.password": SECRET}
    broker = KafkaBroker(KafkaSettings(bootstrap_servers="127.0.0.1:1", client_options=options))
    with pytest.raises(BrokerRefusedError, match=r"security\.protocol") as refusal:
        await broker.check(1)
    assert SECRET not in str(refusal.value)
    await broker.close()


def test_settings_show_no_client_options() -> None:
    """A settings object may be logged."""
    settings = KafkaSettings(bootstrap_servers="b:1", client_options={"sasl.password": SECRET})
    assert SECRET not in repr(settings)
    assert settings.consumer("g")["sasl.password"] == settings.producer()["sasl.password"] == SECRET


def test_the_revoke_budget_is_a_fifth_of_the_poll_interval() -> None:
    """Unless it is set: formula 0.2 x max_poll_interval_s."""
    assert KafkaSettings(bootstrap_servers="b:1", max_poll_interval_s=100).revoke_wait_s == pytest.approx(20)
    assert KafkaSettings(bootstrap_servers="b:1", revoke_budget_s=7).revoke_wait_s == pytest.approx(7)


def test_client_errors_are_told_once_in_a_while_and_without_secrets() -> None:
    """A broker that is down fills no log, and no log shows a password."""
    voice = ClientVoice({"sasl.password": SECRET, "client.rack": "r1"}, role="consumer")
    on_error = voice.options()["error_cb"]
    with structlog.testing.capture_logs() as logs:
        for _ in range(50):
            on_error(KafkaError(KafkaError._TRANSPORT, f"connect with {SECRET} in r1"))
        voice.log(40, "%s [%s] %s", "SASL", "client", f"token {SECRET}")
        voice.log(40, "%s [%s] %s", "FAIL", "client", "comes to the error callback too")
        voice.log(20, "%s [%s] %s", "INFO", "client", "chatter")
    assert len(logs) == 2
    assert SECRET not in str(logs)
    assert "r1" in str(logs)


def test_refused_credentials_are_remembered_until_the_next_request() -> None:
    """A request that times out behind a refused login is a refusal, not an outage."""
    voice = ClientVoice({}, role="admin")
    voice.options()["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert voice.refused is None
    voice.options()["error_cb"](KafkaError(KafkaError._AUTHENTICATION))
    assert voice.refused == "_AUTHENTICATION"
    voice.forget()
    assert voice.refused is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, BrokerUnavailableError),
        (KafkaError.REQUEST_TIMED_OUT, BrokerUnavailableError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, BrokerRefusedError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, BrokerRefusedError),
    ],
)
def test_request_errors_tell_an_outage_from_a_refusal(code: int, kind: type[Exception]) -> None:
    """Waiting helps against the one only."""
    assert type(request_error(KafkaError(code), "x")) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._MSG_TIMED_OUT, ProduceError),
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageTooLargeError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, TopicRefusedError),
    ],
)
def test_produce_errors_tell_what_is_permanent(code: int, kind: type[Exception]) -> None:
    """A message that is too large stays so."""
    assert type(produce_error(KafkaError(code), "t")) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.ILLEGAL_GENERATION, FencedError),
        (KafkaError.UNKNOWN_MEMBER_ID, FencedError),
        (KafkaError.REBALANCE_IN_PROGRESS, FencedError),
        (KafkaError.FENCED_INSTANCE_ID, FencedError),
        (KafkaError._TIMED_OUT, CommitError),
    ],
)
def test_commit_errors_tell_who_was_fenced(code: int, kind: type[Exception]) -> None:
    """A member that the group has left behind must know it."""
    assert type(commit_error(KafkaError(code))) is kind


def test_header_values_become_bytes() -> None:
    """Kafka allows null, clients allow text."""
    assert headers_of([("a", None), ("b", "ü"), ("c", b"x")]) == (("a", b""), ("b", "ü".encode()), ("c", b"x"))


def test_a_thread_that_waits_serves_urgent_calls_only() -> None:
    """While the consumer waits for a listener, pause and commit run; a poll waits its turn, and order is kept."""
    thread = ConsumerThread("kafka-test")
    order: list[str] = []
    entered, answer = threading.Event(), thread.submit(lambda: None)
    answer.result(5)
    awaited: Future[None] = Future()

    def wait() -> None:
        entered.set()
        thread.serve(awaited, 5)
        order.append("waited")

    waiting = thread.submit(wait)
    assert entered.wait(5)
    later = thread.submit(lambda: order.append("poll"))
    thread.submit(lambda: order.append("pause"), anytime=True).result(5)
    awaited.set_result(None)
    waiting.result(5)
    later.result(5)
    thread.stop()
    assert order == ["pause", "waited", "poll"]


@pytest.mark.kafka
async def test_close_leaves_no_thread_behind(real: KafkaBroker, unique: Callable[..., str], tape: Any) -> None:
    """What an adapter started, it ends."""
    topic = unique("topic")
    consumer, producer, admin = real.consumer(unique("group")), real.producer(), real.admin()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    await consumer.subscribe([topic], tape)
    await producer.send([Message(topic=topic, value=b"v")])
    assert len(await consumer.poll(1, 20)) == 1
    assert librdkafka_threads()
    for thing in (consumer, producer, admin, real):
        await thing.close()
    assert librdkafka_threads() == []


@pytest.mark.kafka
async def test_a_slow_listener_is_not_waited_for_beyond_the_budget(
    real: KafkaBroker, unique: Callable[..., str], tape: Any
) -> None:
    """A member that does not answer gives its partitions up without a commit."""
    topic, group, admin = unique("topic"), unique("group"), real.admin()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    cancelled = asyncio.Event()

    class Slow(type(tape)):  # type: ignore[misc]  # the class comes from a fixture
        async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
            try:
                await asyncio.sleep(3600)
            finally:
                cancelled.set()
            return dict.fromkeys(partitions, 0)

    consumer = real.consumer(group)
    await consumer.subscribe([topic], Slow())
    while not consumer.assignment():
        await consumer.poll(1, 0.1)
    started = time.monotonic()
    await consumer.close()
    assert time.monotonic() - started < 5
    await asyncio.wait_for(cancelled.wait(), 5)
    assert await admin.group_offsets(group, [TopicPartition(topic, 0)]) == {}
    await admin.close()
    await real.close()


@pytest.mark.kafka
async def test_a_member_that_stops_polling_loses_its_partitions_and_is_told(
    kafka_bootstrap: str, unique: Callable[..., str], tape: Any
) -> None:
    """Beyond max.poll.interval the group moves on: on_lost, nothing committed, commits fenced, then a fresh start."""
    settings = KafkaSettings(
        bootstrap_servers=kafka_bootstrap, session_timeout_s=6, max_poll_interval_s=6, heartbeat_interval_s=0.2
    )
    broker, topic = KafkaBroker(settings), unique("topic")
    admin, consumer = broker.admin(), KafkaConsumer(settings, unique("group"))
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    partition = TopicPartition(topic, 0)
    await consumer.subscribe([topic], tape)
    while not consumer.assignment():
        await consumer.poll(1, 0.1)
    deadline = time.monotonic() + 20
    while consumer._client is None or consumer._client.memberid():  # its own clock decides when we are gone
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    with pytest.raises(FencedError):
        await consumer.commit({partition: 0})
    deadline = time.monotonic() + 20
    while not tape.of("lost") or not consumer.assignment():
        assert time.monotonic() < deadline
        await consumer.poll(1, 0.1)
    assert tape.of("lost") == [frozenset({partition})]
    assert tape.of("revoked") == []
    assert len(tape.of("assigned")) == 2
    for thing in (consumer, admin, broker):
        await thing.close()


@pytest.mark.kafka
async def test_refused_credentials_are_a_refusal(kafka_bootstrap: str) -> None:
    """A broker that wants no login of ours is not "down"."""
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}
    secret = {"sasl.username": "someone", "sasl.password": SECRET}
    broker = KafkaBroker(KafkaSettings(bootstrap_servers=kafka_bootstrap, client_options=options | secret))
    with structlog.testing.capture_logs() as logs, pytest.raises(BrokerRefusedError, match="credentials"):
        await broker.check(2)
    assert SECRET not in str(logs)
    await broker.close()


@pytest.mark.kafka
async def test_a_batch_larger_than_the_send_buffer_waits_for_room(
    kafka_bootstrap: str, unique: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by the setting; the batch arrives all the same."""
    monkeypatch.setattr("kafka_pipeline.common.messaging._kafka_settings.SEND_BUFFER_KIB", 256)
    broker, topic = KafkaBroker(KafkaSettings(bootstrap_servers=kafka_bootstrap)), unique("topic")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    await producer.send([Message(topic=topic, value=b"x" * 1000) for _ in range(3000)])
    partition = TopicPartition(topic, 0)
    assert (await admin.watermarks([partition]))[partition].high == 3000
    for thing in (producer, admin, broker):
        await thing.close()


@pytest.mark.kafka
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_every_compression_arrives(kafka_bootstrap: str, unique: Callable[..., str], compression: str) -> None:
    """Brokers of this protocol differ in which they take; Event Hubs takes gzip alone."""
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, compression=compression)
    assert settings.producer()["compression.type"] == compression
    broker, topic = KafkaBroker(settings), unique("topic")
    admin, producer = broker.admin(), broker.producer()
    await admin.create_topics([NewTopic(name=topic, partitions=1)])
    await producer.send([Message(topic=topic, value=b"x" * 10_000)])
    marks = await admin.watermarks([TopicPartition(topic, 0)])
    assert marks[TopicPartition(topic, 0)].high == 1
    await producer.close()
    await admin.close()
