"""Records, and the brokers they come from."""

from kafka_pipeline.common.messaging.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    CommitError,
    FencedError,
    MessageTooLargeError,
    MessagingError,
    ProduceError,
    TopicRefusedError,
)
from kafka_pipeline.common.messaging.protocols import (
    Admin,
    Broker,
    Consumer,
    NewTopic,
    Offsets,
    Producer,
    RebalanceListener,
    TopicFacts,
    Watermarks,
)
from kafka_pipeline.common.messaging.record import NO_TIMESTAMP, Headers, Message, Record, TopicPartition, header

__all__ = [
    "NO_TIMESTAMP",
    "Admin",
    "Broker",
    "BrokerRefusedError",
    "BrokerUnavailableError",
    "CommitError",
    "Consumer",
    "FencedError",
    "Headers",
    "Message",
    "MessageTooLargeError",
    "MessagingError",
    "NewTopic",
    "Offsets",
    "ProduceError",
    "Producer",
    "RebalanceListener",
    "Record",
    "TopicFacts",
    "TopicPartition",
    "TopicRefusedError",
    "Watermarks",
    "header",
]
