"""What the ClaimX API is to the rest of the pipeline: its settings, its questions and the kinds of answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from kafka_pipeline.claimx.shapes import MediaList, ProjectExport, TaskAssignment, VideoCall

T = TypeVar("T")

_BASIC: Final = "basic "


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimXApiSettings:
    """Where the API is and how gently it is used. The token is in no repr [SEC-12].

    `url` has the shape `https://<host>/service/cxedirest` [API-1]; `token` is base64 of `username:api-key`, with or
    without `Basic ` before it [API-2]; `sender_username` is the account named in reports [API-9].
    Raises ValueError, without the token, where a value cannot work.
    """

    url: str
    token: str = field(repr=False)
    max_concurrent: int = 20
    """Requests at once at most, and at the start; how many they are follows what the service bears."""
    min_concurrent: int = 1
    """Requests at once however much it refuses."""
    timeout_s: float = 30.0
    """For one try, from asking for a connection to the last byte."""
    quick_retries: int = 2
    rate_limit_per_second: float = 0.0
    """0 = no limit."""
    sender_username: str | None = field(default=None, repr=False)
    max_body_bytes: int = 32 * 1024 * 1024
    """Counted after decompression [API-11]."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the ClaimX API URL must look like https://host/path")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the ClaimX API URL must hold no credentials, query or fragment")
        if not self.token.strip() or not self.token.strip().isprintable() or not self.token.isascii():
            raise ValueError("the ClaimX API token must be one line of ASCII text")
        if not 1 <= self.min_concurrent <= self.max_concurrent:
            raise ValueError("the ClaimX API needs 1 <= min_concurrent <= max_concurrent")
        if self.timeout_s <= 0 or self.quick_retries < 0 or self.max_body_bytes < 1:
            raise ValueError("the ClaimX API limits must be positive")

    @property
    def base_url(self) -> str:
        """The URL without a trailing slash."""
        return self.url.rstrip("/")

    @property
    def authorization(self) -> str:
        """The header value, its `Basic ` prefix never doubled [API-2]."""
        token = self.token.strip()
        if token.lower().startswith(_BASIC):
            token = token[len(_BASIC) :].strip()
        return f"Basic {token}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answer(Generic[T]):
    """What the service said. No repr of the value: it holds personal data."""

    value: T
    requested_at: datetime
    """When the request was sent (aware, UTC): the observation's time [MRG-3]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """The service does not know the id (404)."""

    requested_at: datetime


Reply: TypeAlias = Answer[T] | NotFound


class ClaimXApi(Protocol):
    """What handlers and workers need of the API; `ClaimXApiClient` is the real one.

    All methods raise ClaimXApiError (section 7.2) where the call failed by itself, and UnavailableError where the
    service is down or refuses our credential: then the record waits (I7). `as_of` asks for an answer not older than
    that time; without it, any call under way is shared.
    """

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Reply[ProjectExport]:
        """Read one project with its customer, address and team."""

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Reply[MediaList]:
        """Read the whole file list of a project, with fresh links."""

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Reply[TaskAssignment]:
        """Read a task with its form template and link."""

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Reply[VideoCall | None]:
        """Read a video call out of the project's report; None where the report does not list it."""
