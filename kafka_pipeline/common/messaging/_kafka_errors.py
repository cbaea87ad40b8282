"""What librdkafka says, in our words: its errors as ours, its log lines in our log, without secrets."""

# ruff: noqa: SLF001  librdkafka begins the names of its own errors with an underscore

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

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

_log = structlog.get_logger(__name__)

NOBODY_ANSWERS = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_CACHE,
        KafkaError._WAIT_COORD,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    }
)
"""Waiting may help. Everything else is an answer, and the answer is no."""

CREDENTIALS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
"""The broker was reached and would not have us. librdkafka tells it to the error callback alone; the call that was
waiting sees a time-out."""

RIGHTS = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)

UNKNOWN_TOPIC = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

TOO_LARGE = frozenset({KafkaError.INVALID_MSG_SIZE, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

STALE_GENERATION = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS})
"""Said in the middle of a rebalance, also of partitions that stay ours: worth asking again."""

FENCED = STALE_GENERATION | frozenset(
    {
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)

SECRET_WORDS = ("password", "secret", "key", "token", "pem", "jaas", "sasl.oauthbearer.config", "username")

REPEAT_AFTER_S = 30.0
"""A client that cannot connect says so at every attempt, many times a second: say it again after so long."""

ADMIN = "admin"

_LEVEL_WARNING = 30

_TOLD_ELSEWHERE = frozenset({"FAIL", "GETPID"})
"""FAIL comes to the error callback too, with a code. GETPID is a cluster that has just started; it is asked again, and
a message that is not acknowledged in time says so itself."""


def answer_of(error: KafkaException) -> KafkaError:
    """Return the error inside an exception."""
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError._FAIL, str(inner))


def request_error(error: KafkaError, what: str) -> MessagingError:
    """Map the failure of a request; `what` names it for people, with topic or group."""
    kind = BrokerUnavailableError if error.code() in NOBODY_ANSWERS else BrokerRefusedError
    return kind(f"{what}: {error.name()}")


def produce_error(error: KafkaError, topic: str) -> ProduceError:
    """Map the failure of a message."""
    text = f"a message to {topic} was not acknowledged: {error.name()}"
    if error.code() in TOO_LARGE:
        return MessageTooLargeError(text)
    if error.code() in UNKNOWN_TOPIC | RIGHTS:
        return TopicRefusedError(text)
    return ProduceError(text)


def commit_error(error: KafkaError) -> CommitError:
    """Map the failure of a commit."""
    kind = FencedError if error.code() in FENCED else CommitError
    return kind(f"offsets were not committed: {error.name()}")


class ClientVoice:
    """Listens to one librdkafka client: `options()` are its callbacks. Thread-safe enough: it only replaces values.

    What it logs is free of the values that the settings hold under secret names.
    """

    def __init__(self, client_options: Mapping[str, str], role: str) -> None:
        self._secrets = sorted(
            (value for name, value in client_options.items() if value and _is_secret(name)), key=len, reverse=True
        )
        self._role = role
        self._said: dict[object, float] = {}
        self.refused: str | None = None
        """Name of the last refusal of our credentials since `forget`; None if there was none."""

    def options(self) -> dict[str, Any]:
        """Return the properties that make a client talk to us instead of to stderr."""
        return {"error_cb": self._on_error, "logger": self}

    def forget(self) -> None:
        """Forget an earlier refusal: the next request decides."""
        self.refused = None

    def clean(self, text: str) -> str:
        """Return the text without secret values."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Take a log line, as `logging.Logger.log` does: librdkafka's logger protocol."""
        if level >= _LEVEL_WARNING and facility not in _TOLD_ELSEWHERE:
            self._say(facility, "kafka_client_log", facility=facility, client=client, text=self.clean(text))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in CREDENTIALS:
            self.refused = error.name()
        self._say(error.code(), "kafka_client_error", code=error.name(), text=self.clean(error.str()))

    def _say(self, kind: object, event: str, **facts: object) -> None:
        now = time.monotonic()
        if now >= self._said.get(kind, 0.0):
            self._said[kind] = now + REPEAT_AFTER_S
            # Whoever asks as admin gets the same as an exception, and tells it better.
            tell = _log.debug if self._role == ADMIN else _log.warning
            tell(event, role=self._role, **facts)


def connected(make: Callable[[], Any], voice: ClientVoice) -> Any:  # noqa: ANN401  one of three clients
    """Make a client; a configuration that librdkafka will not take is a refusal, told without its values."""
    try:
        return make()
    except KafkaException as error:
        raise BrokerRefusedError(voice.clean(f"Kafka client options: {answer_of(error).str()}")) from None


def _is_secret(name: str) -> bool:
    return any(word in name for word in SECRET_WORDS)
