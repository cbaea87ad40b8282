"""What travels: a record as it was read, and a message as it is to be written.

Both are named tuples, because each event makes several of them: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]
"""Header pairs in wire order. Names may repeat; the last one counts."""

NO_TIMESTAMP = -1
"""Kafka's own value for a record without a timestamp."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def header(headers: Headers, name: str) -> bytes | None:
    """Return the last header of that name, as Kafka's own clients do, or None."""
    for key, value in reversed(headers):
        if key == name:
            return value
    return None


class Record(NamedTuple):
    """One record as the broker delivered it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = NO_TIMESTAMP
    """Unix milliseconds; NO_TIMESTAMP where the record has none."""

    @property
    def topic_partition(self) -> TopicPartition:
        """The partition the record came from."""
        return TopicPartition(self.topic, self.partition)

    def header(self, name: str) -> bytes | None:
        """Return the last header of that name, or None."""
        return header(self.headers, name)


class Message(NamedTuple):
    """One message to be produced. Its key decides its partition, and so its order."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    """Unix milliseconds; None lets the broker's clock decide."""
