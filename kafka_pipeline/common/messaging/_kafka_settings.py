"""How to reach a Kafka cluster, and what every client of ours asks of librdkafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

REVOKE_SHARE = 0.2
"""Part of the poll interval that a revoke may take. The rest is left to the batch that was under way when the rebalance
came: with more, a member that drains slowly is thrown out of the group while it does so and commits nothing at all."""

FETCH_BUFFER_KIB = 16 * 1024
"""What one consumer fetches ahead (I9). A batch of a thousand events is about one MiB, so this is many batches, and
five workers in one process stay below 100 MiB."""

FETCH_BACKOFF_MS = 20
"""Pause of a partition's fetcher when that buffer is full. The default of a second lets a fast consumer run dry."""

SEND_BUFFER_KIB = 64 * 1024
"""What one producer may hold unacknowledged (I9); beyond it `send` waits. The default is a gibibyte."""

LINGER_MS = 5
"""How long a message waits for company. Small beside every flush of the pipeline, enough to fill batches when busy."""

RECONNECT_MAX_MS = 2000
"""Longest pause between attempts to reconnect, so that work goes on about two seconds after an outage ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Where Kafka is and what its clients may take: times in seconds, sizes in bytes.

    `client_options` are librdkafka properties for security (SASL, OAUTHBEARER, mTLS); every client gets them, and no
    log or repr of ours shows them.
    """

    bootstrap_servers: str
    client_id: str = "kafka-pipeline"
    client_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: Callable[[], tuple[str, float]] | None = field(default=None, repr=False)
    """For OAUTHBEARER: returns a token and when it ends, in seconds since 1970. Called by librdkafka, at first and when
    four fifths of the token's life are over; what it raises is tried again after ten seconds."""
    session_timeout_s: float = 45.0
    """Without a heartbeat for so long, the broker gives our partitions away."""
    heartbeat_interval_s: float = 3.0
    """How often we say that we live, and so how soon we hear of a rebalance. At most a sixth of the session: after a
    death the others hear of it one beat later, and only then do they take the work."""
    max_poll_interval_s: float = 300.0
    """Without a poll for so long, the client gives its partitions up itself."""
    revoke_budget_s: float | None = None
    """How long a revoke waits for the listener; by default REVOKE_SHARE of the poll interval."""
    request_timeout_s: float = 15.0
    """How long an admin request, a metadata look-up or a commit may take."""
    delivery_timeout_s: float = 60.0
    """How long a message may stay unacknowledged before `send` gives up: longer than a broker's restart."""
    compression: str = "lz4"
    """librdkafka's name for how batches are compressed. Not every broker of this protocol takes every kind."""
    max_message_bytes: int = 1_000_000
    """Largest message (key, value and headers) we try to send. Brokers take 1,048,588 bytes with their own framing."""

    @property
    def revoke_wait_s(self) -> float:
        """The revoke budget in force."""
        return REVOKE_SHARE * self.max_poll_interval_s if self.revoke_budget_s is None else self.revoke_budget_s

    def common(self) -> dict[str, Any]:
        """Return the properties of every client."""
        token = self.token
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.client_id,
            "socket.timeout.ms": _ms(self.request_timeout_s),
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
            "log.connection.close": False,  # brokers close idle connections all day: no news
            **self.client_options,
            **({} if token is None else {"oauth_cb": lambda _config: token()}),
        }

    def consumer(self, group: str) -> dict[str, Any]:
        """Return the properties of a consumer: it commits nothing by itself, and it starts at the earliest record."""
        return self.common() | {
            "group.id": group,
            "session.timeout.ms": _ms(self.session_timeout_s),
            "heartbeat.interval.ms": _ms(min(self.heartbeat_interval_s, self.session_timeout_s / 6)),
            "max.poll.interval.ms": _ms(max(self.max_poll_interval_s, self.session_timeout_s)),
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": FETCH_BUFFER_KIB,
            "fetch.queue.backoff.ms": FETCH_BACKOFF_MS,
        }

    def producer(self) -> dict[str, Any]:
        """Return the properties of a producer: durable, in order, each message written once per session."""
        return self.common() | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": self.compression,
            "linger.ms": LINGER_MS,
            "partitioner": "murmur2_random",  # Java's: one key goes to one partition whoever writes it
            "message.max.bytes": self.max_message_bytes + 64 * 1024,  # room for framing; `send` checks the limit itself
            "delivery.timeout.ms": _ms(self.delivery_timeout_s),
            "request.timeout.ms": _ms(min(self.request_timeout_s, self.delivery_timeout_s)),
            "queue.buffering.max.kbytes": SEND_BUFFER_KIB,
        }


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
