"""What became of a record. A worker decides; the loop acts: it produces, waits for the acknowledgement, commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Message


class Done(NamedTuple):
    """Everything that follows from the record is durable, but for `messages`, which the loop produces."""

    messages: tuple[Message, ...] = ()
    cleanup: Callable[[], Awaitable[None]] | None = None
    """Awaited once the messages are acknowledged. Must be quick, and harmless if it never happens (a crash)."""
    label: str = "success"
    """The outcome's name in metrics; one of a small fixed set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """The record needs nothing done; it is counted under its reason and passed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The record failed in a way that may pass: later, outside the main topic (I8)."""

    category: Category
    error_class: str
    error_text: str
    """Redacted, at most 500 characters."""
    reason: str | None = None
    """Finer word for a dead letter, if it comes to that; the category otherwise."""
    not_before: datetime | None = None
    """Earliest time of the next attempt, where the failing side named one."""
    value: bytes | None = None
    """What the record became on the way, if it is to be tried again as that: a task with a fresher link."""
    messages: tuple[Message, ...] = ()
    """What follows from the record all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The record failed for good: it goes to its dead letters, with the reason."""

    reason: str
    error_class: str
    error_text: str
    """Redacted, at most 500 characters."""
    messages: tuple[Message, ...] = ()
    """What follows from the record all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The record cannot be worked on now, through no fault of its own: it stays where it is, nothing counts (I7).

    The loop holds it, and gives it to the worker again when `until` returns. Meanwhile its partitions pause.
    """

    reason: str
    """What is waited for; one of a small fixed set."""
    until: Callable[[], Awaitable[None]]
    """Returns when another try is worth it; cancelled when the record is no longer ours. May be early."""
    alone: bool = False
    """Whether other records can be worked on meanwhile: then nothing pauses until what waits fills the worker."""


Outcome: TypeAlias = Done | Skip | Retry | Dead | Wait
