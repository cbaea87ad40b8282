"""The ClaimX REST API, read only: four questions, each answered with a value, a NotFound or a classified error.

Who asks what (sections 5 and 7.2 of the domain reference):

| method | request |
|---|---|
| `get_project` | GET /export/project/{id} |
| `get_project_media` | GET /export/project/{id}/media |
| `get_custom_task` | GET /customTasks/assignment/{id}?full=true |
| `get_video_collaboration` | POST /data (a report; nothing is written) |
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
import structlog

from kafka_pipeline.claimx.api import Answer, ClaimXApi, ClaimXApiSettings, Guard, NotFound, Reply
from kafka_pipeline.claimx.api_errors import NOT_FOUND, ClaimXApiError, category_of_status
from kafka_pipeline.claimx.api_metrics import API_CALL_SECONDS, API_CALLS, API_CALLS_SAVED
from kafka_pipeline.claimx.api_pace import MAX_HONOURED_S, Pace
from kafka_pipeline.claimx.schemas import wire
from kafka_pipeline.claimx.shapes import (
    MediaList,
    ProjectExport,
    TaskAssignment,
    VideoCall,
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.claimx.single_flight import Flight, SingleFlight
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock, Sleep
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.retry_after import retry_after_seconds

log = structlog.get_logger(__name__)

__all__ = ["Answer", "ClaimXApi", "ClaimXApiClient", "ClaimXApiSettings", "Guard", "NotFound", "Reply"]

T = TypeVar("T")

PROJECT_ENDPOINT: Final = "/export/project/{id}"
MEDIA_ENDPOINT: Final = "/export/project/{id}/media"
TASK_ENDPOINT: Final = "/customTasks/assignment/{id}"
REPORT_ENDPOINT: Final = "/data"

_NUMBER: Final = re.compile(r"[0-9]{1,64}")  # [API-4]; the bound is that of section 7.3
_QUICK_RETRY_S: Final = 1.0  # doubled with each try: 1 s, 2 s [API-7]
_CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    endpoint: str
    path: str
    ids: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)

    def failed(
        self,
        detail: str,
        category: Category,
        *,
        status: int | None = None,
        reason: str | None = None,
        not_before: datetime | None = None,
        retry_after_s: float | None = None,
    ) -> ClaimXApiError:
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
        )


class ClaimXApiClient:
    """Asks the ClaimX API over one pooled session; use as an async context manager.

    At most `max_concurrent` requests are under way at once [API-6]; equal concurrent requests share one call;
    transient errors are tried again at once, `quick_retries` times with a jittered 1 s, 2 s between [API-7];
    redirects are never followed, so that the token stays with the configured origin.
    """

    def __init__(
        self,
        settings: ClaimXApiSettings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
        guard: Guard = nullcontext,
    ) -> None:
        """`sleep` must let `clock` advance; `rng` decides the jitter; `guard` is the breaker's place."""
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._guard = guard
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._pace = Pace(rate_per_second=settings.rate_limit_per_second, clock=clock, sleep=sleep)
        self._session: aiohttp.ClientSession | None = None
        self._projects: SingleFlight[Reply[ProjectExport]] = SingleFlight()
        self._media: SingleFlight[Reply[MediaList]] = SingleFlight()
        self._tasks: SingleFlight[Reply[TaskAssignment]] = SingleFlight()
        self._reports: SingleFlight[Reply[tuple[VideoCall, ...]]] = SingleFlight()

    async def __aenter__(self) -> Self:
        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.max_concurrent),
            cookie_jar=aiohttp.DummyCookieJar(),  # a session cookie would be a second credential that nobody watches
            headers={
                "Authorization": settings.authorization,
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for flights in (self._projects, self._media, self._tasks, self._reports):
            await flights.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Reply[ProjectExport]:
        """Read one project with its customer, address and team. Raises ClaimXApiError."""
        request = _get(PROJECT_ENDPOINT, "project_id", project_id)
        return await self._share(self._projects, request, read_project_export, as_of)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Reply[MediaList]:
        """Read the whole file list of a project, with fresh links. Raises ClaimXApiError.

        No id filter is sent: its spelling is unreliable (section 5.2).
        """
        request = _get(MEDIA_ENDPOINT, "project_id", project_id)
        return await self._share(self._media, request, read_media_list, as_of)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Reply[TaskAssignment]:
        """Read a task with its form template and link. Raises ClaimXApiError."""
        request = _get(TASK_ENDPOINT, "task_assignment_id", task_assignment_id, params={"full": "true"})
        read = partial(read_task_assignment, assignment_id=task_assignment_id)
        return await self._share(self._tasks, request, read, as_of)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Reply[VideoCall | None]:
        """Read a video call out of its project's report; None where the report does not list it.

        The row is chosen by id, never by position (section 5.6). Raises ClaimXApiError, and PipelineError where no
        `sender_username` is configured [API-9].
        """
        if self._settings.sender_username is None:
            # Unknown, not permanent: a gap in the configuration must not send events to the dead letters.
            raise PipelineError("claimx_api_sender_username is not configured", Category.UNKNOWN)
        ids = {"project_id": _number("POST", REPORT_ENDPOINT, "project_id", project_id)}
        body = {
            "reportType": "VIDEO_COLLABORATION",
            "projectId": int(project_id),
            "senderUsername": self._settings.sender_username,
        }
        request = _Request(
            method="POST", endpoint=REPORT_ENDPOINT, path="/data", ids=ids, body=json.dumps(body).encode()
        )
        reply = await self._share(self._reports, request, read_video_report, as_of)
        if isinstance(reply, NotFound):
            return reply
        wanted = [call for call in reply.value if call.video_collaboration_id == video_collaboration_id]
        return Answer(value=wanted[-1] if wanted else None, requested_at=reply.requested_at)

    async def check(self) -> None:
        """Return if the API is reachable and accepts the credential; one try, for start-up and readiness.

        No ping is known: it asks for project 0 and takes every status as a sign of life, but 401 and a redirect to
        the login page. Raises ClaimXApiError: auth for these, transient where nothing answers, or a success that is
        not JSON does (the URL is not the API's).
        """
        try:
            await self._try(_get(PROJECT_ENDPOINT, "project_id", "0"), Flight())
        except ClaimXApiError as error:
            if error.category is Category.AUTH or (error.status is None and error.category is Category.TRANSIENT):
                raise

    async def _share(
        self,
        flights: SingleFlight[Reply[T]],
        request: _Request,
        read: Callable[[object], T],
        as_of: datetime | None,
    ) -> Reply[T]:
        async def call(flight: Flight) -> Reply[T]:
            return await self._call(request, read, flight)

        saved = API_CALLS_SAVED.labels(request.endpoint)
        return await flights.get(" ".join(request.ids.values()), call, as_of=as_of, on_shared=saved.inc)

    async def _call(self, request: _Request, read: Callable[[object], T], flight: Flight) -> Reply[T]:
        """Try until an answer, a lasting error, or the quick retries are used up."""
        tries_left = self._settings.quick_retries
        delay_s = _QUICK_RETRY_S
        while True:
            try:
                requested_at, decoded = await self._try(request, flight)
                return Answer(value=read(decoded), requested_at=requested_at)
            except ClaimXApiError as error:
                if error.reason == NOT_FOUND:
                    return NotFound(requested_at=flight.sent_at or self._clock.now())
                flight.sent_at = None
                too_long = (error.retry_after_s or 0.0) > MAX_HONOURED_S
                last = error.category is not Category.TRANSIENT or tries_left == 0 or too_long
                log.warning(
                    "claimx_api_call_failed",
                    method=request.method,
                    endpoint=request.endpoint,
                    status=error.status,
                    category=error.category.value,
                    will_retry=not last,
                    **request.ids,
                )
                if last:
                    raise
            tries_left -= 1
            await self._sleep(delay_s * (0.5 + self._rng.random()))
            delay_s *= 2

    async def _try(self, request: _Request, flight: Flight) -> tuple[datetime, object]:
        """Send the request once. Returns when it was sent and the decoded body; raises ClaimXApiError."""
        async with self._slots:
            await self._pace.turn()
            async with self._guard():
                requested_at = flight.sent_at = self._clock.now()
                started_s = self._clock.monotonic()
                outcome = "cancelled"
                try:
                    result = await self._exchange(request)
                    outcome = "success"
                except ClaimXApiError as error:
                    outcome = error.reason if error.reason == NOT_FOUND else error.category.value
                    raise
                finally:
                    API_CALLS.labels(request.endpoint, outcome).inc()
                    API_CALL_SECONDS.labels(request.endpoint).observe(self._clock.monotonic() - started_s)
        return requested_at, result

    async def _exchange(self, request: _Request) -> object:
        session = self._session
        if session is None:
            raise PipelineError("the ClaimX API client is not open", Category.UNKNOWN)
        failure: str
        try:
            async with session.request(
                request.method,
                self._settings.base_url + request.path,
                params=request.params,
                data=request.body,
                allow_redirects=False,
            ) as response:
                self._raise_for_status(request, response)
                if response.status == HTTPStatus.NO_CONTENT:
                    return None  # no body is the empty answer [API-10]
                body = await self._read_body(request, response)
            return _decode(request, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = type(error).__name__
        # Raised outside the handler: the library's exception holds the URL and must not travel as context [SEC-7].
        raise request.failed(failure, Category.TRANSIENT)

    def _raise_for_status(self, request: _Request, response: aiohttp.ClientResponse) -> None:
        status = response.status
        category = category_of_status(status)
        if category is None:
            return
        retry_after_s: float | None = None
        not_before: datetime | None = None
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            now = self._clock.now()
            retry_after_s = retry_after_seconds(response.headers.get("Retry-After"), now)
            if retry_after_s is not None:
                not_before = now + timedelta(seconds=retry_after_s)
                self._pace.slow_down(retry_after_s)
        raise request.failed(
            f"status {status}",
            category,
            status=status,
            reason=NOT_FOUND if status == HTTPStatus.NOT_FOUND else None,
            not_before=not_before,
            retry_after_s=retry_after_s,
        )

    async def _read_body(self, request: _Request, response: aiohttp.ClientResponse) -> bytearray:
        limit = self._settings.max_body_bytes
        body = bytearray()
        if (response.content_length or 0) <= limit:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > limit:
                    break
            else:
                return body
        response.close()  # the rest is not wanted
        raise request.failed(f"body over {limit} bytes", Category.PERMANENT)


def _number(method: str, endpoint: str, name: str, value: str) -> str:
    """Return the id if it may stand in a request [API-4]; its text is not repeated where it may not."""
    if not _NUMBER.fullmatch(value):
        raise ClaimXApiError(f"{name} is not a number", Category.PERMANENT, method=method, endpoint=endpoint)
    return value


def _get(endpoint: str, name: str, value: str, *, params: dict[str, str] | None = None) -> _Request:
    ids = {name: _number("GET", endpoint, name, value)}
    return _Request(method="GET", endpoint=endpoint, path=endpoint.format(id=value), ids=ids, params=params or {})


def _decode(request: _Request, body: bytearray) -> object:
    """Decode JSON. Not in a thread: the parser keeps the interpreter to itself wherever it runs (32 MiB: 0.2 s)."""
    text = bytes(body).removeprefix(b"\xef\xbb\xbf")
    try:
        return wire.decode(text)
    except wire.JsonError:
        pass
    if rb"\u" in text:
        # A character cut in half (`\ud83d` alone) is the one defect that must not cost a whole list: coercion mends it.
        try:
            lenient: object = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return lenient
    raise request.failed("the body is not JSON", Category.TRANSIENT)
