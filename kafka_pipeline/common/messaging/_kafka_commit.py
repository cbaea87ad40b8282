"""A commit that takes no longer than it may: the client's own waits for as long as the broker is silent."""

from __future__ import annotations

import queue
import threading

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from kafka_pipeline.common.messaging._kafka_errors import answer_of
from kafka_pipeline.common.messaging.errors import CommitError

Answer = KafkaError | None
"""What the broker said of a commit; None is yes."""


class TimedCommit:
    """Makes the client's blocking commit in a thread of its own and gives up waiting for it after a time.

    The consumer's thread must go on polling while the broker is away: it is what keeps the member in its group and the
    worker's loop turning. A commit that was given up may still be carried out later, which is harmless: what it stores
    was durable when it was asked for.

    Not inside a rebalance: there librdkafka answers a commit only to the thread that is in the callback (`commit_now`).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: threading.Thread | None = None

    def ask(
        self, client: confluent_kafka.Consumer, offsets: list[confluent_kafka.TopicPartition], timeout_s: float
    ) -> Answer:
        """Return the broker's answer. Raises CommitError if there is none in time, or the last one is still awaited."""
        if self._running is not None and self._running.is_alive():
            raise CommitError("offsets were not committed: the broker has not answered the commit before")
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        # A daemon: a silent broker must not hold the end of the process up.
        self._running = threading.Thread(
            target=lambda: answers.put(commit_now(client, offsets)), name=self._name, daemon=True
        )
        self._running.start()
        try:
            answer = answers.get(timeout=timeout_s)
        except queue.Empty:
            raise CommitError(f"offsets were not committed: no answer in {timeout_s:g} s") from None
        self._running.join()
        return answer


def commit_now(client: confluent_kafka.Consumer, offsets: list[confluent_kafka.TopicPartition]) -> Answer:
    """Commit in this thread, for as long as the client takes; return the broker's answer."""
    try:
        answers = client.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        return answer_of(error)
    except RuntimeError as error:  # the consumer was closed meanwhile
        return KafkaError(KafkaError._DESTROY, str(error))  # noqa: SLF001  librdkafka's own name for it
    return next((answer.error for answer in answers if answer.error is not None), None)
