"""How large a message is on its way to a broker."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_pipeline.common.messaging.errors import MessageTooLargeError
from kafka_pipeline.common.messaging.record import Message


def message_bytes(message: Message) -> int:
    """Return the bytes of key, value and headers."""
    size = len(message.value or b"") + len(message.key or b"")
    for name, value in message.headers:
        size += len(name) + len(value)
    return size


def require_sizes(messages: Sequence[Message], limit_bytes: int) -> None:
    """Raise MessageTooLargeError, naming position and topic, if any message is over the limit.

    Asked before the first one is written, so that the caller may drop the large one and send the others once.
    """
    for index, message in enumerate(messages):
        size = message_bytes(message)
        if size > limit_bytes:
            which = f"message {index + 1} of {len(messages)}, to {message.topic}"
            raise MessageTooLargeError(f"{which}: {size} bytes, at most {limit_bytes} are allowed")
