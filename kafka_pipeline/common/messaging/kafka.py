"""Kafka, or any broker of its protocol, through confluent-kafka.

librdkafka blocks and calls back from inside its calls, so each consumer lives in a thread of its own that hands whole
batches to asyncio (`_kafka_consumer.py`); awaiting single messages costs 50 to 170 times more. A producer has a thread
that hands batches in and one that serves delivery reports (`_kafka_producer.py`).
"""

from __future__ import annotations

from kafka_pipeline.common.messaging._kafka_admin import KafkaAdmin
from kafka_pipeline.common.messaging._kafka_consumer import KafkaConsumer
from kafka_pipeline.common.messaging._kafka_producer import KafkaProducer
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings
from kafka_pipeline.common.messaging.protocols import Admin, Consumer, Producer

__all__ = ["KafkaBroker", "KafkaSettings"]


class KafkaBroker:
    """A Kafka cluster. Making one connects nowhere; `check` tells whether it can be reached."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._probe = KafkaAdmin(settings)

    @property
    def description(self) -> str:
        """Name it for people, without credentials."""
        return f"Kafka at {self._settings.bootstrap_servers}"

    def consumer(self, group: str) -> Consumer:
        """Create a member of that group."""
        return KafkaConsumer(self._settings, group)

    def producer(self) -> Producer:
        """Create a producer."""
        return KafkaProducer(self._settings)

    def admin(self) -> Admin:
        """Create an admin."""
        return KafkaAdmin(self._settings)

    async def check(self, timeout_s: float) -> None:
        """Return if the cluster answers within the time; else raise BrokerUnavailableError or BrokerRefusedError."""
        await self._probe.check(timeout_s)

    async def close(self) -> None:
        """Free what the broker itself holds."""
        await self._probe.close()
