"""A commit takes its time at most, is answered inside `consume`, and keeps the client from nothing."""

from __future__ import annotations

from collections import deque
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError, KafkaException

from kafka_pipeline.common.messaging import CommitError, FencedError, TopicPartition
from kafka_pipeline.common.messaging._kafka_commit import Commits
from kafka_pipeline.common.messaging._kafka_consumer import EARLY_RECORDS, KafkaConsumer
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings

WANTED = [confluent_kafka.TopicPartition("t", 0, 5)]
OTHER = [confluent_kafka.TopicPartition("t", 0, 4)]
ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)


class Asked:
    """A client that takes a commit and answers whenever it is told to."""

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        """Take it; a call that waits would wait for ever."""
        assert asynchronous


def refused(offset: int, code: int) -> list[confluent_kafka.TopicPartition]:
    """Return an answer that refuses one of its partitions."""
    # The client alone makes partitions with an error.
    return [type("Refused", (), {"topic": "t", "partition": 0, "offset": offset, "error": KafkaError(code)})()]


def test_the_answer_is_heard_while_the_client_is_served() -> None:
    """Yes, no to all, no to a partition."""
    for error, offsets, code in (
        (None, WANTED, None),
        (KafkaError(KafkaError.UNKNOWN_MEMBER_ID), WANTED, KafkaError.UNKNOWN_MEMBER_ID),
        (None, refused(5, KafkaError.ILLEGAL_GENERATION), KafkaError.ILLEGAL_GENERATION),
    ):
        commits = Commits()

        def serve(_seconds: float, error: Any = error, offsets: Any = offsets, commits: Commits = commits) -> None:
            commits.options()["on_commit"](error, offsets)

        answer = commits.ask(Asked(), WANTED, timeout_s=30, serve=serve)  # type: ignore[arg-type]
        assert (answer and answer.code()) == code


def test_a_silent_broker_is_not_waited_for_longer_than_allowed() -> None:
    """The commit fails in time, and its late answer is not taken for that of the next."""
    commits = Commits()
    with pytest.raises(CommitError, match=r"no answer in 0\.01 s"):
        commits.ask(Asked(), OTHER, timeout_s=0.01, serve=lambda _: None)  # type: ignore[arg-type]
    answers = deque([(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), OTHER), (None, WANTED)])

    def serve(_seconds: float) -> None:
        commits.options()["on_commit"](*answers.popleft())

    assert commits.ask(Asked(), WANTED, timeout_s=30, serve=serve) is None  # type: ignore[arg-type]
    assert not answers


def test_a_commit_that_the_client_does_not_take_is_answered_by_it() -> None:
    """Nothing is on its way then, and nothing is waited for."""

    class Refusing:
        def commit(self, **_: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._STATE))

    answer = Commits().ask(Refusing(), WANTED, timeout_s=30, serve=lambda _: None)  # type: ignore[arg-type]
    assert answer is not None
    assert answer.code() == KafkaError._STATE


class _Message:
    """A record as the client hands it out."""

    def __init__(self, partition: TopicPartition, offset: int) -> None:
        self._place, self._offset = partition, offset

    def __getattr__(self, name: str) -> Any:
        values = {"topic": self._place.topic, "partition": self._place.partition, "offset": self._offset}
        return lambda: values.get(name, (0, 0) if name == "timestamp" else None)


class _Client:
    """Brings its messages one by one, and answers the commit after so many of them."""

    def __init__(self, consumer: KafkaConsumer, messages: list[_Message], *, answers_after: int = 1) -> None:
        self._consumer, self._messages, self._answers_after = consumer, deque(messages), answers_after
        self.calls: list[tuple[str, list[tuple[int, int]]]] = []
        self.answers: deque[int] = deque()
        """Errors, before it says yes."""
        self.gone: list[confluent_kafka.TopicPartition] = []
        """Taken away before the answer."""

    def commit(self, *, offsets: list[confluent_kafka.TopicPartition], asynchronous: bool) -> None:
        self._note("commit", offsets)
        self._asked = offsets

    def consume(self, number: int, timeout_s: float) -> list[_Message]:
        if self._messages and ("pause", [(0, 0), (1, 0)]) not in self.calls:
            self._answers_after -= 1
            return [self._messages.popleft()]
        self._answers_after -= 1
        if self._answers_after <= 0:
            if self.gone:
                self._consumer._on_lost(self, self.gone)  # type: ignore[arg-type]
                self.gone = []
            error = KafkaError(self.answers.popleft()) if self.answers else None
            self._consumer._commits.options()["on_commit"](error, self._asked)
        return []

    def pause(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._note("pause", partitions)

    def resume(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._note("resume", partitions)

    def seek(self, partition: confluent_kafka.TopicPartition) -> None:
        self._note("seek", [partition])

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Nothing is fetched here."""

    def memberid(self) -> str:
        return "me"

    def unsubscribe(self) -> None:
        self._consumer._assigned = frozenset()

    def close(self) -> None:
        """Nothing to close."""

    def _note(self, call: str, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self.calls.append((call, sorted((each.partition, max(each.offset, 0)) for each in partitions)))


def member(messages: list[_Message], **options: int) -> tuple[KafkaConsumer, _Client]:
    """Return a consumer of two partitions on such a client."""
    consumer = KafkaConsumer(KafkaSettings(bootstrap_servers="broker.example.com:9092"), "group")
    client = _Client(consumer, messages, **options)
    consumer._client = client  # type: ignore[assignment]
    consumer._assigned = frozenset({ONE, TWO})
    return consumer, client


def offsets_of(records: list[Any]) -> list[tuple[int, int]]:
    """Return partition and offset of each."""
    return [(record.partition, record.offset) for record in records]


async def test_records_that_come_before_the_answer_are_delivered_in_order() -> None:
    """Nothing that the client brought while the commit waited is lost, and none is overtaken."""
    consumer, _ = member([_Message(ONE, 3), _Message(TWO, 8), _Message(ONE, 4)])
    await consumer.commit({ONE: 3})
    assert offsets_of(await consumer.poll(2, 0)) == [(0, 3), (1, 8)]
    assert offsets_of(await consumer.poll(2, 0)) == [(0, 4)]
    await consumer.close()


async def test_what_came_early_of_a_paused_partition_waits_for_the_resume() -> None:
    """And is no longer there once it was sought elsewhere; other partitions have theirs at once."""
    consumer, client = member([_Message(ONE, 3), _Message(TWO, 8), _Message(ONE, 4)])
    await consumer.commit({ONE: 3})
    await consumer.pause([ONE])
    assert offsets_of(await consumer.poll(9, 0)) == [(1, 8)]
    await consumer.resume([ONE])
    assert offsets_of(await consumer.poll(9, 0)) == [(0, 3), (0, 4)]
    assert client.calls[1:] == [("pause", [(0, 0)]), ("resume", [(0, 0)])]
    await consumer.close()


async def test_what_came_early_is_forgotten_by_a_seek() -> None:
    """It would come twice, or out of order."""
    consumer, client = member([_Message(ONE, 3), _Message(TWO, 8)])
    await consumer.commit({ONE: 3})
    await consumer.seek(ONE, 2)
    assert offsets_of(await consumer.poll(9, 0)) == [(1, 8)]
    assert client.calls[1:] == [("seek", [(0, 2)])]
    await consumer.close()


async def test_what_came_early_of_a_lost_partition_is_nobodys() -> None:
    """The next owner has it; the commit of what is not ours any more is told as fenced."""
    consumer, client = member([_Message(ONE, 3), _Message(TWO, 8)])
    client.gone = [confluent_kafka.TopicPartition("t", 0)]
    with pytest.raises(FencedError, match="t-0"):
        await consumer.commit({ONE: 3, TWO: 8})
    assert offsets_of(await consumer.poll(9, 0)) == [(1, 8)]
    await consumer.close()


async def test_a_stale_commit_is_asked_again_for_what_is_still_ours() -> None:
    """A rebalance between two tries commits more of what it takes; to commit less of it would turn it back."""
    consumer, client = member([])
    client.answers.append(KafkaError.REBALANCE_IN_PROGRESS)
    client.gone = [confluent_kafka.TopicPartition("t", 0)]
    with pytest.raises(FencedError):
        await consumer.commit({ONE: 3, TWO: 8})
    assert client.calls == [("commit", [(0, 3), (1, 8)]), ("commit", [(1, 8)])]
    await consumer.close()


async def test_what_comes_early_is_bounded() -> None:
    """While the broker keeps its answer to itself no more is taken in than so much; then it flows again (I9)."""
    messages = [_Message(ONE, number) for number in range(2 * EARLY_RECORDS)]
    consumer, client = member(messages, answers_after=EARLY_RECORDS + 2)
    await consumer.commit({ONE: 0})
    assert client.calls[1:] == [("pause", [(0, 0), (1, 0)])]
    assert len(await consumer.poll(9_999, 0)) == EARLY_RECORDS
    assert client.calls[-1] == ("resume", [(0, 0), (1, 0)])
    await consumer.close()
