"""A silent broker costs a commit its time and nothing else: the consumer's thread goes on."""

from __future__ import annotations

import threading
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

from kafka_pipeline.common.messaging._kafka_commit import TimedCommit
from kafka_pipeline.common.messaging.errors import CommitError

PATIENCE_S = 30.0
WANTED = [confluent_kafka.TopicPartition("t", 0, 5)]


class Silent:
    """A client whose commit ends when it is let go, as librdkafka's does when the broker answers at last."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> list[Any]:
        """Wait for as long as the broker is silent."""
        self.asked += 1
        assert self.answers.wait(PATIENCE_S)
        return offsets


def test_a_silent_broker_is_not_waited_for_longer_than_allowed() -> None:
    """The commit fails in time, the next one does not pile up behind it, and an answer makes room for the next."""
    client: Any = Silent()
    commits = TimedCommit("test")
    with pytest.raises(CommitError, match=r"no answer in 0\.01 s"):
        commits.ask(client, WANTED, 0.01)
    with pytest.raises(CommitError, match="has not answered the commit before"):
        commits.ask(client, WANTED, 0.01)
    assert client.asked == 1
    client.answers.set()
    waiting = commits._running
    assert waiting is not None
    waiting.join(PATIENCE_S)
    assert commits.ask(client, WANTED, PATIENCE_S) is None
    assert client.asked == 2


def test_a_client_that_was_closed_meanwhile_is_an_answer_too() -> None:
    """Its RuntimeError must not end the thread without a word: that would look like silence."""

    class Closed:
        def commit(self, **_: Any) -> list[Any]:
            raise RuntimeError("Consumer closed")

    answer = TimedCommit("test").ask(Closed(), WANTED, PATIENCE_S)  # type: ignore[arg-type]
    assert answer is not None
    assert answer.code() == KafkaError._DESTROY
