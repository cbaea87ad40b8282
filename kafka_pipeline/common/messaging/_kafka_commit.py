"""A commit that takes no longer than it may, and keeps nobody from serving the client meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from kafka_pipeline.common.messaging._kafka_errors import answer_of
from kafka_pipeline.common.messaging.errors import CommitError

Answer = KafkaError | None
"""What the broker said of a commit; None is yes."""

Serve = Callable[[float], None]
"""Lets the client do what it does inside `consume` alone, for about so many seconds: answers, and rebalances."""

LOOK_S: Final = 0.005
"""An answer is heard inside `consume`, which then goes on until its time is over."""

_Place = tuple[str, int, int]
"""Topic, partition, offset."""


class Commits:
    """Asks the client to commit and hears its answer where the client gives it: inside `consume`.

    Its blocking commit will not do. It waits for as long as the broker is silent, and what it waits for may be a
    rebalance, which is served inside `consume` alone. In another thread it is no better: calls of one consumer follow
    each other whatever thread they come from, so that `consume` waits for the commit, and neither ever ends. Workers
    fell silent so when their broker was restarted (`test_commits_go_on_after_the_broker_was_away`).

    A commit that was given up may still be carried out later, which is harmless: what it stores was durable when it was
    asked for, and commits of one consumer are carried out in order.
    """

    def __init__(self) -> None:
        self._wanted: frozenset[_Place] = frozenset()
        self._answers: list[Answer] = []

    def options(self) -> dict[str, Any]:
        """Return the property that makes the client answer here."""
        return {"on_commit": self._heard}

    def ask(
        self,
        client: confluent_kafka.Consumer,
        offsets: list[confluent_kafka.TopicPartition],
        *,
        timeout_s: float,
        serve: Serve,
    ) -> Answer:
        """Return the broker's answer. Raises CommitError if there is none in time. Not inside a rebalance."""
        self._wanted, self._answers = _places(offsets), []
        deadline = time.monotonic() + timeout_s
        try:
            client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            return answer_of(error)
        while not self._answers:
            if time.monotonic() >= deadline:
                self._wanted = frozenset()
                raise CommitError(f"offsets were not committed: no answer in {timeout_s:g} s")
            serve(LOOK_S)
        return self._answers[0]

    def _heard(self, error: Answer, offsets: Sequence[confluent_kafka.TopicPartition]) -> None:
        if _places(offsets) == self._wanted:  # else the answer to one that was given up
            self._answers.append(_first_error(error, offsets))


def commit_now(client: confluent_kafka.Consumer, offsets: list[confluent_kafka.TopicPartition]) -> Answer:
    """Commit inside a rebalance, for as long as the client takes; return the broker's answer.

    There librdkafka answers nobody but the thread that is in the callback.
    """
    try:
        return _first_error(None, client.commit(offsets=offsets, asynchronous=False))
    except KafkaException as error:
        return answer_of(error)


def _places(offsets: Sequence[confluent_kafka.TopicPartition]) -> frozenset[_Place]:
    return frozenset((each.topic, each.partition, each.offset) for each in offsets)


def _first_error(error: Answer, offsets: Sequence[confluent_kafka.TopicPartition]) -> Answer:
    return error or next((each.error for each in offsets if each.error is not None), None)
