"""Whether the ClaimX API answers and accepts our credential: a breaker for each [CBR-1..5, settled point 6].

| breaker | counts | starts anew by |
|---|---|---|
| `claimx_api` | transient results [CBR-4] | a success |
| `claimx_api_credential` | auth results and 403: either may tell a credential that it is worth nothing | a success |

All other results say nothing and leave the counts as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock, Sleep
from kafka_pipeline.common.failures import Category, UnavailableError
from kafka_pipeline.common.resilience.breaker import CircuitBreaker, CircuitSettings, Verdict

CIRCUIT_OPEN: Final = "circuit_open"
API_AUTH: Final = "api_auth"
API_UNREACHABLE: Final = "api_unreachable"


class ApiHealth:
    """What all callers of one service know of it together. One per process.

    A call that is refused, and one that failed because the service or the credential did, ends in UnavailableError:
    its record waits, no attempt counts (I7).
    """

    def __init__(self, settings: CircuitSettings, *, clock: Clock = SYSTEM_CLOCK, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` must let `clock` advance."""
        self.settings = settings
        self._service = CircuitBreaker("claimx_api", settings, judge=self._judge_service, clock=clock, sleep=sleep)
        self._credential = CircuitBreaker(
            "claimx_api_credential",
            settings,
            judge=self._judge_credential,
            reason=API_AUTH,
            clock=clock,
            sleep=sleep,
        )
        self._is_silent = False
        self._is_refused = False

    @property
    def closed(self) -> bool:
        """Whether all calls pass."""
        return self._service.closed and self._credential.closed

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Wrap one try. Raises UnavailableError on entry where it is refused."""
        async with self._service.guard(), self._credential.guard():
            yield

    @asynccontextmanager
    async def second_opinion(self) -> AsyncIterator[None]:
        """Wrap one try of something that was answered before; admitted also right after a breaker opened."""
        async with self._service.second_opinion(), self._credential.second_opinion():
            yield

    def refusal(self) -> UnavailableError:
        """Return what a call is told whose failure is the service's. Call it while not closed."""
        return (self._credential if self._service.closed else self._service).refusal()

    def not_ready(self) -> frozenset[str]:
        """Return what stands in the way, in words of [WRK-5].

        A refused credential counts from its first refusal until a call succeeds (section 7.1, auth).
        """
        reasons = set()
        if not self._service.closed:
            reasons.add(CIRCUIT_OPEN)
            if self._is_silent:
                reasons.add(API_UNREACHABLE)
        if self._is_refused or not self._credential.closed:
            reasons.add(API_AUTH)
        return frozenset(reasons)

    def _judge_service(self, error: Exception | None) -> Verdict:
        if error is None:
            self._is_silent = False
            return Verdict.SUCCESS
        if isinstance(error, ClaimXApiError) and error.category is Category.TRANSIENT:
            self._is_silent = error.silence is not None
            return Verdict.FAILURE
        return Verdict.UNCOUNTED

    def _judge_credential(self, error: Exception | None) -> Verdict:
        if error is None:
            self._is_refused = False
            return Verdict.SUCCESS
        if isinstance(error, ClaimXApiError) and may_be_the_credential(error):
            self._is_refused = self._is_refused or error.category is Category.AUTH
            return Verdict.FAILURE
        return Verdict.UNCOUNTED


def may_be_the_credential(error: ClaimXApiError) -> bool:
    """Tell whether a refused credential can be why: 401, the way to the login page, or 403 (settled point 6)."""
    return error.category is Category.AUTH or error.status == HTTPStatus.FORBIDDEN
