"""What can go wrong with a call of the ClaimX API, classified once (section 7.2 of the domain reference)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from http import HTTPStatus

from kafka_pipeline.common.failures import Category, PipelineError

NOT_FOUND = "not_found"
"""Dead-letter reason of a 404 on a project or a task."""


class Silence(str, Enum):
    """How no answer came."""

    TIMED_OUT = "timed_out"
    """Not in time: the service may be overloaded."""
    CUT_OFF = "cut_off"
    """Name, connection or TLS failed, or the connection broke."""


class ClaimXApiError(PipelineError):
    """A call of the ClaimX API failed.

    Tells method, endpoint template, status, ids and the form of the answer, never a link, a header or a word of a body.
    `status` is None where no answer came (`silence` tells how) or the answer's status was a success and its body was at
    fault.
    `not_before` is set where the service named a time to come back (Retry-After) [API-6].
    """

    def __init__(
        self,
        detail: str,
        category: Category,
        *,
        method: str,
        endpoint: str,
        status: int | None = None,
        ids: Mapping[str, str] | None = None,
        reason: str | None = None,
        not_before: datetime | None = None,
        retry_after_s: float | None = None,
        silence: Silence | None = None,
    ) -> None:
        """`detail` is a constant phrase or a class name; `ids` were checked to be numbers or are left out."""
        self.method = method
        self.endpoint = endpoint
        self.status = status
        self.ids = dict(ids or {})
        self.retry_after_s = retry_after_s
        self.silence = silence
        named = "".join(f" {name}={value}" for name, value in self.ids.items())
        super().__init__(f"{method} {endpoint}{named}: {detail}", category, reason=reason, not_before=not_before)


def category_of_status(status: int) -> Category | None:
    """Classify an HTTP status [7.2]: None is a success, 404 is permanent (the client makes it a value)."""
    if 200 <= status < 300:
        return None
    if status == HTTPStatus.UNAUTHORIZED or 300 <= status < 400:
        return Category.AUTH  # a redirect leads to the login page
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or not 400 <= status < 500:
        return Category.TRANSIENT
    return Category.PERMANENT
