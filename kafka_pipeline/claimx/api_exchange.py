"""One try of one request to the ClaimX API: its turn, its admission, its answer; measured and classified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import aiohttp

from kafka_pipeline.claimx.api import ClaimXApiSettings
from kafka_pipeline.claimx.api_errors import NOT_FOUND, ClaimXApiError, Silence, category_of_status
from kafka_pipeline.claimx.api_excerpt import LIMIT as EXCERPT_BYTES
from kafka_pipeline.claimx.api_excerpt import excerpt
from kafka_pipeline.claimx.api_metrics import API_CALL_SECONDS, API_CALLS
from kafka_pipeline.claimx.api_pace import MAX_HONOURED_S, Pace
from kafka_pipeline.claimx.api_request import ApiRequest
from kafka_pipeline.claimx.schemas import wire
from kafka_pipeline.claimx.single_flight import Flight
from kafka_pipeline.common.clock import Clock, Sleep
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.edges import error_body
from kafka_pipeline.common.http.retry_after import retry_after_seconds
from kafka_pipeline.common.observability.tracing import span
from kafka_pipeline.common.resilience.limiter import (
    AdaptiveLimiter,
    Answered,
    Cause,
    LimitSettings,
    Overloaded,
    Unrelated,
    Use,
)

Guard = Callable[[], AbstractAsyncContextManager[None]]
"""Wraps a single try, for a circuit breaker: may refuse on entry, sees the error of the try on exit."""

_CHUNK_BYTES: Final = 256 * 1024
_ERROR_BODY_S: Final = 2.0
"""How long the form of an error's body is waited for: it is told, it decides nothing."""
_HANG_MARGIN_S: Final = 60.0
_TOO_MUCH: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class ApiExchange:
    """The pooled session, and what bounds its use: as many requests at once, and as fast, as the service bears [API-6].

    `open` before use and `close` afterwards. Redirects are never followed, so that the token stays with the configured
    origin.
    """

    def __init__(self, settings: ClaimXApiSettings, *, clock: Clock, sleep: Sleep) -> None:
        self._settings = settings
        self._clock = clock
        limits = LimitSettings(max_limit=settings.max_concurrent, min_limit=settings.min_concurrent)
        self._limiter = AdaptiveLimiter("claimx_api", limits)
        self._pace = Pace(rate_per_second=settings.rate_limit_per_second, clock=clock, sleep=sleep)
        self._session: aiohttp.ClientSession | None = None
        self._callers = 0
        self._last_sign_s = clock.monotonic()

    @property
    def hangs(self) -> bool:
        """Whether callers wait here and no request has begun or ended for longer than any of them can take.

        Every request has a time-out, and the pace no pause above a minute: an outage alone cannot do that.
        """
        pause_s = max(MAX_HONOURED_S, self._pace.interval_s)
        longest_s = self._settings.timeout_s + pause_s + _HANG_MARGIN_S
        return self._callers > 0 and self._clock.monotonic() - self._last_sign_s > longest_s

    def open(self) -> None:
        """Make the session; no connection yet."""
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

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, request: ApiRequest, flight: Flight, guard: Guard) -> tuple[datetime, object]:
        """Send the request once. Returns when it was sent and the decoded body; raises ClaimXApiError.

        What `guard` raises on entry passes through; nothing was sent then.
        """
        async with self._turn(guard) as use:
            return await self._measured(request, flight, use)

    async def is_answered(self, request: ApiRequest, flight: Flight, guard: Guard) -> bool:
        """Send the request once; return whether the service answers and accepts the credential.

        Whatever it says about the request itself is an answer, 404 too; the guard sees a success then. Raises only what
        `guard` raises on entry.
        """
        try:
            async with self._turn(guard) as use:
                try:
                    await self._measured(request, flight, use)
                except ClaimXApiError as error:
                    if error.category is not Category.PERMANENT or error.status == HTTPStatus.FORBIDDEN:
                        raise
        except ClaimXApiError:
            return False
        return True

    @asynccontextmanager
    async def _turn(self, guard: Guard) -> AsyncIterator[Use]:
        if self._callers == 0:
            self._sign()
        self._callers += 1
        try:
            async with self._limiter.slot() as use:
                await self._pace.turn()
                self._sign()
                async with guard():
                    yield use
        finally:
            self._callers -= 1
            self._sign()

    def _sign(self) -> None:
        self._last_sign_s = self._clock.monotonic()

    async def _measured(self, request: ApiRequest, flight: Flight, use: Use) -> tuple[datetime, object]:
        requested_at = flight.sent_at = self._clock.now()
        started_s = self._clock.monotonic()
        outcome = "cancelled"
        failure: ClaimXApiError | None = None
        try:
            with span(f"{request.method} {request.endpoint}", **request.ids):
                result = await self._exchange(request)
            outcome = "success"
        except ClaimXApiError as error:
            failure = error
            outcome = error.reason if error.reason == NOT_FOUND else error.category.value
            raise
        finally:
            seconds = self._clock.monotonic() - started_s
            API_CALLS.labels(request.endpoint, outcome).inc()
            API_CALL_SECONDS.labels(request.endpoint).observe(seconds)
            if outcome in {"success", NOT_FOUND}:
                use.feedback = Answered(request.endpoint, seconds)
            elif failure is not None:
                use.feedback = _load_of(failure)
        return requested_at, result

    async def _exchange(self, request: ApiRequest) -> object:
        session = self._session
        if session is None:
            raise PipelineError("the ClaimX API client is not open", Category.UNKNOWN)
        try:
            async with session.request(
                request.method,
                self._settings.base_url + request.path,
                params=request.params,
                data=request.body,
                allow_redirects=False,
            ) as response:
                await self._raise_for_status(request, response)
                if response.status == HTTPStatus.NO_CONTENT:
                    return None  # no body is the empty answer [API-10]
                body = await self._read_body(request, response)
            return _decode(request, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            name = type(error).__name__
            silence = Silence.TIMED_OUT if isinstance(error, TimeoutError) else Silence.CUT_OFF
        # Raised outside the handler: the library's exception holds the URL and must not travel as context [SEC-7].
        raise request.failed(name, Category.TRANSIENT, silence=silence)

    async def _raise_for_status(self, request: ApiRequest, response: aiohttp.ClientResponse) -> None:
        status = response.status
        category = category_of_status(status)
        if category is None:
            return
        retry_after_s: float | None = None
        not_before: datetime | None = None
        if status in _TOO_MUCH:
            now = self._clock.now()
            retry_after_s = retry_after_seconds(response.headers.get("Retry-After"), now)
            if retry_after_s is not None:
                not_before = now + timedelta(seconds=retry_after_s)
                self._pace.slow_down(retry_after_s)
        body = excerpt(await error_body(response, _ERROR_BODY_S, EXCERPT_BYTES))
        raise request.failed(
            f"status {status}, {body}",
            category,
            status=status,
            reason=NOT_FOUND if status == HTTPStatus.NOT_FOUND else None,
            not_before=not_before,
            retry_after_s=retry_after_s,
        )

    async def _read_body(self, request: ApiRequest, response: aiohttp.ClientResponse) -> bytearray:
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


def _load_of(error: ClaimXApiError) -> Overloaded | Unrelated:
    """Tell whether too much load may be why."""
    if error.status in _TOO_MUCH:
        return Overloaded(Cause.REFUSED)
    return Overloaded(Cause.TIMEOUT) if error.silence is Silence.TIMED_OUT else Unrelated()


def _decode(request: ApiRequest, body: bytearray) -> object:
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
    raise request.failed(f"the body is not JSON but {excerpt(text[:EXCERPT_BYTES])}", Category.TRANSIENT)
