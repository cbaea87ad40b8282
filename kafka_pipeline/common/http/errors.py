"""What can go wrong with a download, and what each of it means for the task ([7.3] in one table)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

from kafka_pipeline.common.failures import Category, PipelineError


class Fault(str, Enum):
    """What went wrong, as finely as anyone needs to know."""

    LINK_REFUSED = "link_refused"
    """The link itself may not be followed: host, scheme, port, user name."""
    REDIRECT_REFUSED = "redirect_refused"
    """A redirect leads where we do not go, or nowhere."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """More hops than the policy allows."""
    ADDRESS_BLOCKED = "address_blocked"
    """The name resolves to an address that must not be connected to."""
    LOGIN_PAGE = "login_page"
    """The service wants us to log in: a redirect to its login, or a page in place of a file."""
    UNAUTHORIZED = "unauthorized"
    """401."""
    FORBIDDEN = "forbidden"
    """403, and nothing says that the link has expired. [LNK-6] decides about a refresh, so the caller does."""
    EXPIRED = "expired"
    """The storage says that the link is past its time."""
    NOT_FOUND = "not_found"
    """404 or 410: the file is gone."""
    REQUEST_REFUSED = "request_refused"
    """Any other 4xx, or a redirect that is none."""
    THROTTLED = "throttled"
    """408 or 429."""
    SERVER_ERROR = "server_error"
    """5xx, or an answer that is not HTTP."""
    SHORT_BODY = "short_body"
    """The body ended early, and going on did not help."""
    TIMED_OUT = "timed_out"
    """Silence for too long, or the whole attempt took too long."""
    NETWORK = "network"
    """Name resolution, connection, disconnect."""
    TLS = "tls"
    """The server could not prove who it is. Verification is never relaxed."""
    TOO_LARGE = "too_large"
    """More bytes than the policy allows."""
    NO_ROOM = "no_room"
    """The cache has no room for a file of this size now. Not a failure of the file: wait for room, then begin again."""
    CACHE_UNWRITABLE = "cache_unwritable"
    """Disk full, read-only, or no permission."""
    SINK_SLOW = "sink_slow"
    """The place where the file goes took its bytes so slowly that the attempt ran out of time."""


CATEGORIES: Final[Mapping[Fault, Category]] = {
    Fault.LINK_REFUSED: Category.PERMANENT,
    Fault.REDIRECT_REFUSED: Category.PERMANENT,
    Fault.TOO_MANY_REDIRECTS: Category.PERMANENT,
    Fault.ADDRESS_BLOCKED: Category.PERMANENT,
    Fault.LOGIN_PAGE: Category.AUTH,
    Fault.UNAUTHORIZED: Category.AUTH,
    Fault.FORBIDDEN: Category.PERMANENT,
    Fault.EXPIRED: Category.URL_EXPIRED,
    Fault.NOT_FOUND: Category.PERMANENT,
    Fault.REQUEST_REFUSED: Category.PERMANENT,
    Fault.THROTTLED: Category.TRANSIENT,
    Fault.SERVER_ERROR: Category.TRANSIENT,
    Fault.SHORT_BODY: Category.TRANSIENT,
    Fault.TIMED_OUT: Category.TRANSIENT,
    Fault.NETWORK: Category.TRANSIENT,
    Fault.TLS: Category.TRANSIENT,
    Fault.TOO_LARGE: Category.PERMANENT,
    Fault.NO_ROOM: Category.TRANSIENT,
    Fault.CACHE_UNWRITABLE: Category.TRANSIENT,
    Fault.SINK_SLOW: Category.TRANSIENT,
}

OF_THE_HOST: Final = frozenset(
    {Fault.THROTTLED, Fault.SERVER_ERROR, Fault.TIMED_OUT, Fault.NETWORK, Fault.TLS, Fault.SHORT_BODY}
)
"""Faults that speak of the host rather than of one file: what a breaker per host counts (settled point 7)."""

_REASONS: Final = frozenset({Fault.NOT_FOUND, Fault.CACHE_UNWRITABLE})
"""Faults whose own name is the reason told; for all others it is the category, as dead letters have it [DLQ-1]."""


class DownloadError(PipelineError):
    """A download that did not end in a file. Its text shows a link as `https://<host>/<redacted>`, a body not at all.

    `status` is the HTTP status where one was received, `retry_after_s` the wait the server asked for and `not_before`
    the time it leads to, `needed_bytes` (of NO_ROOM) what the cache must have room for.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        host: str | None = None,
        detail: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        not_before: datetime | None = None,
        needed_bytes: int | None = None,
    ) -> None:
        category = CATEGORIES[fault]
        told = [f"download from {f'https://{host}/<redacted>' if host else '<redacted>'}: {fault.value}"]
        told += [f"status {status}"] if status is not None else []
        told += [detail] if detail else []
        reason = fault.value if fault in _REASONS else None
        super().__init__(", ".join(told), category, reason=reason, not_before=not_before)
        self.fault = fault
        self.host = host
        self.status = status
        self.retry_after_s = retry_after_s
        self.needed_bytes = needed_bytes

    @property
    def expired(self) -> bool:
        """Whether the storage said that the link is past its time [LNK-6]."""
        return self.fault is Fault.EXPIRED
