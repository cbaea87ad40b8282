"""The one place every request passes: it is counted, it waits, and what is to go wrong with it goes wrong here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from email.utils import format_datetime
from random import Random

import orjson
from aiohttp import web

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.simulator.fault_board import FaultBoard, Refusal, Strike
from kafka_pipeline.simulator.faults import Endpoint, Expired, Outage, RetryAfterForm, Throttle

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STRIKE = web.RequestKey("strike", Strike)
_DRIPS_PER_S = 10
"""A body that comes slowly comes in so many pieces a second."""


class Traffic:
    """What both servers share: calls by endpoint, bytes of files sent, the delay before an answer, and the faults."""

    def __init__(self, latency_ms: float, seed: int, board: FaultBoard, clock: Clock) -> None:
        self.calls: Counter[str] = Counter()
        """Calls by `METHOD template`, whatever they were answered with."""
        self.bytes_served = 0
        self.board = board
        self._clock = clock
        self._latency_s = latency_ms / 1000
        self._rng = Random(f"{seed}:latency")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, delay it, and hand it on unless it is refused."""
        self.calls[template(request)] += 1
        strike = await self._strike(request)
        delay_s = strike.delay_s + self._latency_s * self._rng.uniform(0.5, 1.5)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        if strike.refusal is not None:
            return self._refused(request, strike.refusal)
        request[_STRIKE] = strike
        response = await handler(request)
        if strike.spoils_body and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return await self._spoilt(request, response, response.body)
        return response

    async def send(
        self, request: web.Request, response: web.StreamResponse, chunks: Iterable[bytes], *, is_file: bool
    ) -> None:
        """Send a body of known length whose answer is prepared, in the way that the request's fate wants it."""
        strike = request[_STRIKE]
        length = response.content_length or 0
        left = length // 2 if strike.cut else length
        rate = strike.bytes_per_s
        for piece in _pieces(chunks, None if rate is None else max(1, int(rate / _DRIPS_PER_S))):
            part = piece[:left]
            if part:
                await response.write(part)
            left -= len(part)
            if is_file:
                self.bytes_served += len(part)
            if left == 0:
                break
            # Even at full speed a large body must not keep the other callers waiting.
            await asyncio.sleep(0 if rate is None else len(part) / rate)
        if strike.cut and request.protocol is not None:
            request.protocol.force_close()

    async def _strike(self, request: web.Request) -> Strike:
        name = request.match_info.route.name
        if name is None:
            return Strike()
        endpoint = Endpoint(name)
        return self.board.strike(endpoint, await _id(request, endpoint))

    async def _spoilt(self, request: web.Request, answer: web.Response, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(body)
        await response.prepare(request)
        await self.send(request, response, (body,), is_file=False)
        return response

    def _refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        match refusal.effect:
            case Expired():
                return link_expired() if request.match_info.route.name == Endpoint.LINK.value else request_expired()
            case Throttle(retry_after_s=seconds, form=form):
                return _message(429, "too many requests", {"Retry-After": self._retry_after(seconds, form)})
            case Outage():
                return _message(refusal.status, "down for a while")
            case _:
                return _message(refusal.status, "failed on purpose")

    def _retry_after(self, seconds: float, form: RetryAfterForm) -> str:
        if form is RetryAfterForm.SECONDS:
            return str(max(1, round(seconds)))
        return format_datetime(self._clock.now() + timedelta(seconds=seconds), usegmt=True)


def template(request: web.Request) -> str:
    """Return `METHOD template` of the route that serves the request, ids left out."""
    resource = request.match_info.route.resource
    path = "unknown" if resource is None else resource.canonical
    return f"{request.method} {path}"


def link_expired() -> web.Response:
    """Return what the file service says of a link whose time is over."""
    return web.Response(status=403, text="The link is no longer valid.")


def request_expired() -> web.Response:
    """Return what the storage says of a link whose time is over."""
    return storage_error(403, "AccessDenied", "Request has expired")


def storage_error(status: int, code: str, message: str) -> web.Response:
    """Return an error as S3 words it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=body, content_type="application/xml")


def _message(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"message": text})
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def _id(request: web.Request, endpoint: Endpoint) -> str:
    """Return what a request asks for: the id in its path, or the project in its body."""
    if endpoint is not Endpoint.REPORT:
        return next(iter(request.match_info.values()), "").partition(".")[0]
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return ""
    return str(body.get("projectId", "")) if isinstance(body, dict) else ""


def _pieces(chunks: Iterable[bytes], size: int | None) -> Iterator[bytes]:
    for chunk in chunks:
        step = size or len(chunk) or 1
        for start in range(0, len(chunk), step):
            yield chunk[start : start + step]
