"""The kinds of failure, and the one exception that carries a kind across layers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import Enum


class Category(str, Enum):
    """What a failure means for the record that met it (`docs/design.md`, failure categories)."""

    TRANSIENT = "transient"
    """May pass by itself: try again later."""
    AUTH = "auth"
    """Our credential was refused: try again later, and say so in readiness."""
    PERMANENT = "permanent"
    """Trying again cannot help: dead letter at once."""
    URL_EXPIRED = "url_expired"
    """The link is past its time: a fresh one is needed, the attempt does not count."""
    CIRCUIT_OPEN = "circuit_open"
    """A dependency is known to be down: wait, nothing is moved and no attempt counts."""
    UNKNOWN = "unknown"
    """Nobody foresaw it: treated as transient, logged as an error."""


class PipelineError(Exception):
    """A failure with a category, told in words that are safe to log and to store.

    `text` must hold no secret, no link with a query, no body and no personal data (I10): whoever raises builds it
    from constants, ids, endpoint templates and status codes. `reason` is the finer word for dead letters where there
    is one (`not_found`, `malformed`), else the category's own. `not_before` is the earliest time of another attempt,
    where the failing side named one (Retry-After).
    """

    def __init__(
        self, text: str, category: Category, *, reason: str | None = None, not_before: datetime | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.category = category
        self.reason = reason or category.value
        self.not_before = not_before


class UnavailableError(PipelineError):
    """A dependency is known to be down: nothing was tried, no attempt counts, the record waits where it is (I7).

    `until` returns when trying again is worth it, and may return early: whoever tries too soon gets this error again.
    `alone` says that other records may well be worked on meanwhile: one host of several is down, not the API.
    """

    def __init__(
        self, text: str, until: Callable[[], Awaitable[None]], *, reason: str | None = None, alone: bool = False
    ) -> None:
        super().__init__(text, Category.CIRCUIT_OPEN, reason=reason)
        self.until = until
        self.alone = alone
