"""The one place every request passes: it is counted, and waits as long as the settings say.

Faults on demand (errors, bursts of 429, outages, cut connections) belong here too, and only here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Traffic:
    """What both servers share: calls by endpoint, bytes of files sent, and the delay before an answer."""

    def __init__(self, latency_ms: float, seed: int) -> None:
        self.calls: Counter[str] = Counter()
        """Calls by `METHOD template`, whatever they were answered with."""
        self.bytes_served = 0
        self._latency_s = latency_ms / 1000
        self._rng = Random(f"{seed}:latency")

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the request, delay it, hand it on."""
        self.calls[endpoint(request)] += 1
        if self._latency_s > 0:
            await asyncio.sleep(self._latency_s * self._rng.uniform(0.5, 1.5))
        return await handler(request)


def endpoint(request: web.Request) -> str:
    """Return `METHOD template` of the route that serves the request, ids left out."""
    resource = request.match_info.route.resource
    template = "unknown" if resource is None else resource.canonical
    return f"{request.method} {template}"
