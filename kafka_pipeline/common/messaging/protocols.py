"""What the pipeline asks of a broker. `kafka.py` and `embedded.py` both answer, and one contract suite tests both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kafka_pipeline.common.messaging.record import Message, Record, TopicPartition

Offsets = Mapping[TopicPartition, int]
"""Next offset to read, per partition (Kafka's meaning of a committed offset)."""


class Watermarks(NamedTuple):
    """The offsets a partition holds: `low` is the first record still there, `high` the next one to be written."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    """A topic to create, with Kafka's own configuration keys (an adapter ignores those it has no use for)."""

    name: str
    partitions: int
    replication_factor: int = -1
    """-1 leaves it to the broker."""
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """How a topic is, as far as the broker tells."""

    partitions: int
    replication_factor: int | None = None
    """The fewest copies of any partition; None where copies have no meaning."""
    config: Mapping[str, str] = field(default_factory=dict)
    """What is in force, defaults included; empty where the broker does not tell us."""


class RebalanceListener(Protocol):
    """Told of partitions that come and go. Calls arrive on the event loop, while `Consumer.poll` waits."""

    async def on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Take note of partitions that were added to the assignment."""

    async def on_revoked(self, partitions: frozenset[TopicPartition]) -> Offsets:
        """Finish what can be finished of partitions that are about to go; return the offsets to commit for them.

        The adapter commits the answer before it gives the partitions up. It waits for the answer no longer than
        the consumer's revoke budget; after that nothing is committed, and the records will be delivered again.
        """

    async def on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        """Drop the state of partitions that already belong to someone else; commit nothing."""


class Consumer(Protocol):
    """A member of a consumer group. One caller at a time; all calls are awaited on one event loop.

    A group without a committed offset for a partition starts at its earliest record. Nothing is committed unless
    `commit` or a rebalance says so.
    """

    async def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join the group for these topics. Raises BrokerUnavailableError or BrokerRefusedError."""

    async def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return what is there: up to `max_records`, as soon as there is one, or none after `timeout_s`.

        Records of one partition come in offset order. Must be called again within the session's limits, also while
        every partition is paused: it is what keeps this member in its group. A broker outage returns no records and
        raises nothing; see `Broker.check`.
        """

    async def commit(self, offsets: Offsets) -> None:
        """Store offsets durably. Raises FencedError where a partition is no longer ours, CommitError otherwise."""

    async def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver nothing more from these until `resume`. Partitions that are not assigned are ignored."""

    async def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver from these again, from where they stood."""

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver this partition from `offset` on next. Below the low watermark means the low watermark."""

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are ours now."""

    async def close(self) -> None:
        """Revoke (the listener is asked as in a rebalance), leave the group, free everything. Safe to call twice."""


class Producer(Protocol):
    """Writes messages durably (acks of all in-sync replicas, idempotent, order kept per key). Safe to share."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when every message is acknowledged; raise ProduceError if any is not.

        After an error some of the messages may have been written: whoever sends them again makes duplicates, which
        every consumer of ours tolerates (I6).
        """

    async def close(self) -> None:
        """Flush and free. Safe to call twice."""


class Admin(Protocol):
    """Looks at a broker and shapes it. Raises BrokerUnavailableError or BrokerRefusedError."""

    async def create_topics(self, topics: Sequence[NewTopic]) -> frozenset[str]:
        """Create those that are missing and return their names; existing ones stay as they are."""

    async def topics(self) -> dict[str, int]:
        """Return all topics (internal ones left out) with their number of partitions."""

    async def describe(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        """Return how these topics are; those that are not there are left out."""

    async def watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
        """Read the watermarks of these partitions."""

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group; partitions without one are left out."""

    async def delete_records(self, before: Offsets) -> dict[TopicPartition, int]:
        """Delete every record below the given offsets; return the new low watermarks."""

    async def close(self) -> None:
        """Free everything. Safe to call twice."""


class Broker(Protocol):
    """Where consumers, producers and admins come from."""

    @property
    def description(self) -> str:
        """Name it for people, without credentials: `Kafka at localhost:9092`."""

    def consumer(self, group: str) -> Consumer:
        """Create a member of that group."""

    def producer(self) -> Producer:
        """Create a producer."""

    def admin(self) -> Admin:
        """Create an admin."""

    async def check(self, timeout_s: float) -> None:
        """Return if the broker answers within the time; else raise BrokerUnavailableError or BrokerRefusedError."""

    async def close(self) -> None:
        """Free what the broker itself holds. Consumers, producers and admins are closed by their owners."""
