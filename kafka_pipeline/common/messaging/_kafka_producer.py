"""Writing to Kafka: one await for a whole batch, acknowledged by every in-sync replica."""

# ruff: noqa: SLF001  librdkafka begins the names of its own errors with an underscore

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from kafka_pipeline.common.messaging._kafka_errors import (
    UNKNOWN_TOPIC,
    ClientVoice,
    answer_of,
    connected,
    produce_error,
)
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings
from kafka_pipeline.common.messaging._sizes import require_sizes
from kafka_pipeline.common.messaging.errors import ProduceError, TopicRefusedError
from kafka_pipeline.common.messaging.record import Message

POLL_S = 0.2
"""Longest wait of the thread that serves delivery reports: only closing waits for it, reports come as they arrive."""

ROOM_PAUSE_S = 0.01
"""Pause before trying again when the send buffer is full: a full buffer empties in tens of milliseconds."""

TOPIC_CHECK_S = 5.0
"""How long the first message of a topic waits to learn that the topic exists. If nobody answers, delivery decides."""

PURGE_PATIENCE_S = 5.0

_Report = Callable[[KafkaError | None, confluent_kafka.Message], None]


class KafkaProducer:
    """The `Producer` protocol on confluent-kafka. Its threads start with the first message and end with `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: _Client | None = None
        self._topics: set[str] = set()
        self._closed = False
        # One thread: batches enter librdkafka in the order they were sent, and none waits for room on the event loop.
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-producer-send")

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is acknowledged.

        Raises MessageTooLargeError before anything is written, TopicRefusedError for an unknown topic, ProduceError.
        """
        if self._closed:
            raise ProduceError("the producer is closed")
        if not messages:
            return
        require_sizes(messages, self._settings.max_message_bytes)
        loop = asyncio.get_running_loop()
        batch = _Batch(len(messages), loop)
        await loop.run_in_executor(self._executor, self._enqueue, messages, batch)
        await batch.done

    async def close(self) -> None:
        """Flush and free. Safe to call twice."""
        self._closed = True
        await asyncio.to_thread(self._close_in_thread)

    def _close_in_thread(self) -> None:
        self._executor.shutdown(wait=True)
        client, self._client = self._client, None
        if client is not None:
            client.close(self._settings.delivery_timeout_s)

    def _enqueue(self, messages: Sequence[Message], batch: _Batch) -> None:
        """Hand the batch to librdkafka, waiting for room where its buffer is full. Runs in the executor."""
        client = self._live_client()
        for topic in {message.topic for message in messages} - self._topics:
            self._require_topic(client, topic)
        deadline = time.monotonic() + self._settings.delivery_timeout_s
        report = partial(client.report, batch)
        for index, message in enumerate(messages):
            error = self._produce(client, message, report, deadline)
            if error is not None:
                batch.give_up(len(messages) - index, error)
                return

    def _produce(self, client: _Client, message: Message, report: _Report, deadline: float) -> ProduceError | None:
        stamp: dict[str, Any] = {}
        if message.timestamp_ms is not None and message.timestamp_ms > 0:
            stamp["timestamp"] = message.timestamp_ms
        while True:
            try:
                client.kafka.produce(
                    message.topic,
                    message.value,
                    message.key,
                    on_delivery=report,
                    headers=list(message.headers),
                    **stamp,
                )
            except BufferError:
                if time.monotonic() > deadline:
                    return ProduceError("the send buffer stays full: no broker takes messages")
                time.sleep(ROOM_PAUSE_S)
            except KafkaException as raised:
                error = answer_of(raised)
                client.broken |= error.fatal() or error.code() == KafkaError._FATAL
                return produce_error(error, message.topic)
            else:
                return None

    def _live_client(self) -> _Client:
        if self._client is not None and self._client.broken:
            # An idempotent producer that lost its place in the sequence never sends again; a new one starts clean.
            broken, self._client = self._client, None
            broken.close(0.0)
        if self._client is None:
            self._client = _Client(self._settings)
        return self._client

    def _require_topic(self, client: _Client, topic: str) -> None:
        """Refuse an unknown topic at once: librdkafka would keep its messages for half a minute before it says so."""
        try:
            known = client.kafka.list_topics(topic, timeout=min(TOPIC_CHECK_S, self._settings.request_timeout_s))
        except KafkaException:
            return
        error = known.topics[topic].error if topic in known.topics else None
        if error is not None and error.code() in UNKNOWN_TOPIC:
            raise TopicRefusedError(f"unknown topic: {topic}")
        if error is None:
            self._topics.add(topic)


class _Client:
    """A librdkafka producer and the thread that serves its delivery reports."""

    def __init__(self, settings: KafkaSettings) -> None:
        voice = ClientVoice(settings.client_options, role="producer")
        options = settings.producer() | voice.options()
        self.kafka: confluent_kafka.Producer = connected(partial(confluent_kafka.Producer, options), voice)
        self.broken = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-producer-reports", daemon=True)
        self._thread.start()

    def report(self, batch: _Batch, error: KafkaError | None, message: confluent_kafka.Message) -> None:
        """Take one delivery report, in the thread."""
        if error is None:
            batch.delivered()
        else:
            self.broken |= error.fatal() or error.code() == KafkaError._FATAL
            batch.give_up(1, produce_error(error, message.topic() or "?"))

    def close(self, flush_timeout_s: float) -> None:
        """Wait for what is under way, fail what is left, end the thread."""
        self.kafka.flush(flush_timeout_s)
        self.kafka.purge()
        self.kafka.flush(PURGE_PATIENCE_S)
        self._ending.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._ending.is_set():
            self.kafka.poll(POLL_S)


class _Batch:
    """Counts the acknowledgements of one `send` down, and wakes it when the last has come."""

    __slots__ = ("_error", "_left", "_lock", "_loop", "done")

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._left = size
        self._error: ProduceError | None = None
        self._lock = threading.Lock()  # reports come from one thread, refusals from the sending one

    def delivered(self) -> None:
        """Count one acknowledgement."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._wake()

    def give_up(self, count: int, error: ProduceError) -> None:
        """Count messages that will not be acknowledged. The first error is the one that is told."""
        with self._lock:
            self._error = self._error or error
            self._left -= count
            if self._left == 0:
                self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.done.done():  # the caller went away
            return
        if self._error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self._error)
