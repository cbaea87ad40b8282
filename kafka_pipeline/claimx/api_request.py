"""One question to the ClaimX API: what is sent, and how its failure is told. Pure."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from kafka_pipeline.claimx.api_errors import ClaimXApiError, Silence
from kafka_pipeline.common.failures import Category

PROJECT_ENDPOINT: Final = "/export/project/{id}"
MEDIA_ENDPOINT: Final = "/export/project/{id}/media"
TASK_ENDPOINT: Final = "/customTasks/assignment/{id}"
REPORT_ENDPOINT: Final = "/data"

_NUMBER: Final = re.compile(r"[0-9]{1,64}")  # [API-4]; the bound is that of section 7.3


def _number(method: str, endpoint: str, name: str, value: str) -> str:
    """Return the id if it may stand in a request [API-4]; its text is not repeated where it may not."""
    if not _NUMBER.fullmatch(value):
        raise ClaimXApiError(f"{name} is not a number", Category.PERMANENT, method=method, endpoint=endpoint)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request, by endpoint template, path below the base URL, ids, parameters and body."""

    method: str
    endpoint: str
    path: str
    ids: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)

    @classmethod
    def get(cls, endpoint: str, name: str, value: str, *, params: dict[str, str] | None = None) -> ApiRequest:
        """Return a GET of one id. Raises ClaimXApiError, permanent, where the id is no number [API-4]."""
        ids = {name: _number("GET", endpoint, name, value)}
        return cls(method="GET", endpoint=endpoint, path=endpoint.format(id=value), ids=ids, params=params or {})

    @classmethod
    def report(cls, project_id: str, sender_username: str) -> ApiRequest:
        """Return the request for a project's report of video calls. Raises as `get` does."""
        ids = {"project_id": _number("POST", REPORT_ENDPOINT, "project_id", project_id)}
        body = {"reportType": "VIDEO_COLLABORATION", "projectId": int(project_id), "senderUsername": sender_username}
        return cls(
            method="POST", endpoint=REPORT_ENDPOINT, path=REPORT_ENDPOINT, ids=ids, body=json.dumps(body).encode()
        )

    @property
    def key(self) -> str:
        """What makes two requests of one endpoint equal."""
        return " ".join(self.ids.values())

    def failed(
        self,
        detail: str,
        category: Category,
        *,
        status: int | None = None,
        reason: str | None = None,
        not_before: datetime | None = None,
        retry_after_s: float | None = None,
        silence: Silence | None = None,
    ) -> ClaimXApiError:
        """Return the error of this request; `detail` is a constant phrase or a class name."""
        return ClaimXApiError(
            detail,
            category,
            method=self.method,
            endpoint=self.endpoint,
            ids=self.ids,
            status=status,
            reason=reason,
            not_before=not_before,
            retry_after_s=retry_after_s,
            silence=silence,
        )


SIGN_OF_LIFE: Final = ApiRequest.get(PROJECT_ENDPOINT, "project_id", "0")
"""No ping is known. Project 0 does not exist; that the service says so is a sign of life."""


class AnsweredBefore:
    """Remembers, for each endpoint, the last two requests that were answered."""

    def __init__(self) -> None:
        self._answered: dict[str, deque[ApiRequest]] = {}

    def remember(self, request: ApiRequest) -> None:
        """Take a request that was just answered."""
        known = self._answered.setdefault(request.endpoint, deque(maxlen=2))
        if not any(other.key == request.key for other in known):
            known.append(request)

    def other_than(self, request: ApiRequest) -> ApiRequest:
        """Return what the same endpoint answered before, but to another question; SIGN_OF_LIFE if nothing is known."""
        known = self._answered.get(request.endpoint, ())
        return next((other for other in known if other.key != request.key), SIGN_OF_LIFE)
