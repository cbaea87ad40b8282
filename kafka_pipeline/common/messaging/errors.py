"""What can go wrong between us and a broker.

MessagingError
├── BrokerUnavailableError   nobody answers: wait, nothing is lost
├── BrokerRefusedError       the broker answers "no": credentials, rights, unknown topic
├── ProduceError             a message was not acknowledged: do not commit what it follows from
│   ├── MessageTooLargeError the broker will never take it: a permanent failure of that message
│   └── TopicRefusedError    its topic is unknown or closed to us (a BrokerRefusedError too)
└── CommitError              offsets were not stored: they will be delivered again
    └── FencedError          the group has given the partitions to someone else
"""

from __future__ import annotations


class MessagingError(Exception):
    """The broker and this process did not come to an agreement."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class BrokerUnavailableError(MessagingError):
    """No broker answers."""


class BrokerRefusedError(MessagingError):
    """The broker refused the request."""


class ProduceError(MessagingError):
    """A message was not acknowledged by the broker."""


class MessageTooLargeError(ProduceError):
    """A message is larger than the broker accepts."""


class TopicRefusedError(ProduceError, BrokerRefusedError):
    """A message's topic does not exist, or we may not write to it."""


class CommitError(MessagingError):
    """Offsets could not be committed."""


class FencedError(CommitError):
    """The consumer group has moved on without this member."""
