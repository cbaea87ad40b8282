"""Opens the broker that the configuration names, and makes sure that the topics are there."""

from __future__ import annotations

from collections.abc import Mapping

from kafka_pipeline.claimx.identity import kafka_token
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.messaging import Broker, BrokerRefusedError, NewTopic
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings
from kafka_pipeline.config import PipelineConfig

_ENVELOPE_BYTES = 64 * 1024
"""Room for key, headers and framing around a value."""

_DAY_MS = 24 * 3_600_000

_SET_ASIDE_BYTES = 32 * 2**20
"""The largest record that can be set aside whole. What the events topic admits is its owner's choice, and may be far
more than `max_event_bytes`; a dead letter that no broker takes would hold its partition up for ever."""


def open_broker(config: PipelineConfig, environ: Mapping[str, str]) -> Broker:
    """Return Kafka where `kafka_bootstrap_servers` is set, else the embedded broker in `data_dir`."""
    if config.kafka_bootstrap_servers is None:
        return EmbeddedBroker(config.data_dir / "broker" / "broker.db", max_message_bytes=_dead_letter_bytes(config))
    return KafkaBroker(
        KafkaSettings(
            bootstrap_servers=config.kafka_bootstrap_servers,
            client_options=config.kafka_client_options(environ),
            token=kafka_token(config, environ),
            session_timeout_s=config.kafka_session_timeout_seconds,
            max_poll_interval_s=config.kafka_max_poll_interval_seconds,
            compression=config.kafka_compression,
            max_message_bytes=_dead_letter_bytes(config),
        )
    )


def new_topics(topics: Topics, config: PipelineConfig) -> list[NewTopic]:
    """Return every topic as it should be created. Dead letters must hold whatever the other topics may, and longer."""
    dead = {topics.dead_letters(kind) for kind in DeadLetterKind}
    return [
        NewTopic(
            name=name,
            partitions=config.kafka_topic_partitions,
            replication_factor=config.kafka_replication_factor,
            config=_topic_config(config, is_dead=name in dead),
        )
        for name in topics.all
    ]


def is_event_hubs(config: PipelineConfig) -> bool:
    """Tell whether the brokers are Azure Event Hubs, whose topics have sizes and retention set elsewhere."""
    return ".servicebus." in (config.kafka_bootstrap_servers or "")


def _topic_config(config: PipelineConfig, *, is_dead: bool) -> dict[str, str]:
    if is_event_hubs(config):
        return {}
    if not is_dead:
        return {"max.message.bytes": str(_message_bytes(config) + _ENVELOPE_BYTES)}
    return {
        "max.message.bytes": str(_dead_letter_bytes(config) + _ENVELOPE_BYTES),
        "retention.ms": str(config.claimx_dlq_retention_days * _DAY_MS),
    }


async def ensure_topics(broker: Broker, topics: Topics, config: PipelineConfig) -> None:
    """Create the topics on the embedded broker; on a real one, say which are missing and how to make them.

    Raises BrokerRefusedError: creating topics on a shared cluster is the operator's decision.
    """
    admin = broker.admin()
    try:
        if config.kafka_bootstrap_servers is None:
            await admin.create_topics(new_topics(topics, config))
            return
        missing = sorted(set(topics.all) - set(await admin.topics()))
    finally:
        await admin.close()
    if missing:
        raise BrokerRefusedError(
            f"{len(missing)} topics are missing on {broker.description} ({', '.join(missing[:3])}"
            f"{', …' if len(missing) > 3 else ''}): run `kafka-pipeline claimx-topics` to create them."
        )


def _message_bytes(config: PipelineConfig) -> int:
    return config.max_event_bytes * 2 + _ENVELOPE_BYTES


def _dead_letter_bytes(config: PipelineConfig) -> int:
    return max(_SET_ASIDE_BYTES, _message_bytes(config) + _ENVELOPE_BYTES)
