"""The ClaimX REST API, read only: four questions, each answered with a value, a NotFound or a classified error.

Who asks what (sections 5 and 7.2 of the domain reference):

| method | request |
|---|---|
| `get_project` | GET /export/project/{id} |
| `get_project_media` | GET /export/project/{id}/media |
| `get_custom_task` | GET /customTasks/assignment/{id}?full=true |
| `get_video_collaboration` | POST /data (a report; nothing is written) |

A call tries again by itself, and finds out whose fault a failure is before it becomes its caller's:

```text
  try ──▶ answer, 404 or lasting error: the caller's
   ▲  └─▶ transient ──▶ tries left? after 1 s, 2 s once more [API-7]
   │                └─▶ none left, or a breaker is open: ask something that was answered before
   │                        ├─ answered ──▶ once more; failed again and the other answered again: the caller's
   └────────────────────────┘ not answered: counted; go on until the breaker opens, then UnavailableError
```

So a transient failure counts as an attempt of its record only if the service verifiably served others at that time:
an outage of any length costs no attempt (I7), also where so few calls are made that the breaker is not open yet. And
a record that fails by itself can neither open the breaker for the others nor wait behind it for ever, since every
probe asks something that was answered before. Bounded: each round without an answer counts twice for the breaker, so
at most `failure_threshold` of them come before it opens; rounds that answer now and again end with as many tries.
A refused credential (401, or 403) goes the same way, without tries again [settled point 6].
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from kafka_pipeline.claimx.api import Answer, ClaimXApi, ClaimXApiSettings, NotFound, Reply
from kafka_pipeline.claimx.api_errors import NOT_FOUND, ClaimXApiError
from kafka_pipeline.claimx.api_exchange import ApiExchange, Guard
from kafka_pipeline.claimx.api_health import ApiHealth, may_be_the_credential
from kafka_pipeline.claimx.api_metrics import API_CALLS_SAVED, API_SECOND_OPINIONS
from kafka_pipeline.claimx.api_pace import MAX_HONOURED_S
from kafka_pipeline.claimx.api_request import (
    MEDIA_ENDPOINT,
    PROJECT_ENDPOINT,
    SIGN_OF_LIFE,
    TASK_ENDPOINT,
    AnsweredBefore,
    ApiRequest,
)
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
from kafka_pipeline.common.pulse import awaiting

log = structlog.get_logger(__name__)

__all__ = ["Answer", "ClaimXApi", "ClaimXApiClient", "ClaimXApiSettings", "NotFound", "Reply"]

T = TypeVar("T")

_QUICK_RETRY_S: Final = 1.0  # doubled with each try: 1 s, 2 s [API-7]
_LONGEST_RETRY_S: Final = 2.0


@dataclass(slots=True)
class _Tries:
    """How far one call has come."""

    made: int = 0
    delay_s: float = _QUICK_RETRY_S
    others_answered: bool = False
    """Whether something else was answered after the last failure but one."""


class ClaimXApiClient:
    """Asks the ClaimX API over one pooled session; use as an async context manager, one per process.

    As many requests as the service bears are under way at once, `max_concurrent` at most; equal concurrent requests
    share one call; transient errors are tried again, as the module says.

    The methods raise ClaimXApiError (section 7.2) where the failure is the call's own, and UnavailableError where the
    service is down or refuses our credential. Without a `health` nobody remembers what became of other calls: every
    failure is the call's own, after `quick_retries`.
    """

    def __init__(
        self,
        settings: ClaimXApiSettings,
        *,
        health: ApiHealth | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """`sleep` must let `clock` advance; `rng` decides the jitter."""
        self._settings = settings
        self._health = health
        self._guard: Guard = nullcontext if health is None else health.guard
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._exchange = ApiExchange(settings, clock=clock, sleep=sleep)
        self._answered = AnsweredBefore()
        self._opinions: SingleFlight[bool] = SingleFlight()
        self._projects: SingleFlight[Reply[ProjectExport]] = SingleFlight()
        self._media: SingleFlight[Reply[MediaList]] = SingleFlight()
        self._tasks: SingleFlight[Reply[TaskAssignment]] = SingleFlight()
        self._reports: SingleFlight[Reply[tuple[VideoCall, ...]]] = SingleFlight()

    async def __aenter__(self) -> Self:
        self._exchange.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for flights in (self._projects, self._media, self._tasks, self._reports):
            await flights.close()
        await self._opinions.close()
        await self._exchange.close()

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Reply[ProjectExport]:
        """Read one project with its customer, address and team. Raises as the class says."""
        request = ApiRequest.get(PROJECT_ENDPOINT, "project_id", project_id)
        return await self._share(self._projects, request, read_project_export, as_of)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Reply[MediaList]:
        """Read the whole file list of a project, with fresh links. Raises as the class says.

        No id filter is sent: its spelling is unreliable (section 5.2).
        """
        request = ApiRequest.get(MEDIA_ENDPOINT, "project_id", project_id)
        return await self._share(self._media, request, read_media_list, as_of)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Reply[TaskAssignment]:
        """Read a task with its form template and link. Raises as the class says."""
        request = ApiRequest.get(TASK_ENDPOINT, "task_assignment_id", task_assignment_id, params={"full": "true"})
        read = partial(read_task_assignment, assignment_id=task_assignment_id)
        return await self._share(self._tasks, request, read, as_of)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Reply[VideoCall | None]:
        """Read a video call out of its project's report; None where the report does not list it.

        The row is chosen by id, never by position (section 5.6). Raises as the class says, and PipelineError
        where no `sender_username` is configured [API-9].
        """
        if self._settings.sender_username is None:
            # Unknown, not permanent: a gap in the configuration must not send events to the dead letters.
            raise PipelineError("claimx_api_sender_username is not configured", Category.UNKNOWN)
        request = ApiRequest.report(project_id, self._settings.sender_username)
        reply = await self._share(self._reports, request, read_video_report, as_of)
        if isinstance(reply, NotFound):
            return reply
        wanted = [call for call in reply.value if call.video_collaboration_id == video_collaboration_id]
        return Answer(value=wanted[-1] if wanted else None, requested_at=reply.requested_at)

    async def check(self) -> None:
        """Return if the API is reachable and accepts the credential; one try, for start-up.

        It asks for project 0 and takes every status as a sign of life, but 401 and a redirect to the login page.
        Raises ClaimXApiError: auth for these, transient where nothing answers, or a success that is not JSON does (the
        URL is not the API's).
        """
        try:
            await self._exchange.ask(SIGN_OF_LIFE, Flight(), self._guard)
        except ClaimXApiError as error:
            if error.category is Category.AUTH or (error.status is None and error.category is Category.TRANSIENT):
                raise

    def not_ready(self) -> frozenset[str]:
        """Return what stands in the way of calls, in words of [WRK-5]."""
        return frozenset() if self._health is None else self._health.not_ready()

    @property
    def hangs(self) -> bool:
        """Whether callers wait and no request has begun or ended for longer than any outage can explain."""
        return self._exchange.hangs

    async def _share(
        self,
        flights: SingleFlight[Reply[T]],
        request: ApiRequest,
        read: Callable[[object], T],
        as_of: datetime | None,
    ) -> Reply[T]:
        async def call(flight: Flight) -> Reply[T]:
            return await self._call(request, read, flight)

        saved = API_CALLS_SAVED.labels(request.endpoint)
        with awaiting("claimx_api"):
            return await flights.get(request.key, call, as_of=as_of, on_shared=saved.inc)

    async def _call(self, request: ApiRequest, read: Callable[[object], T], flight: Flight) -> Reply[T]:
        """Try until an answer, a failure of this request's own, or until the service is known to be down."""
        tries = _Tries()
        while True:
            await self._probe_if_due(request)
            try:
                requested_at, decoded = await self._exchange.ask(request, flight, self._guard)
                answer = Answer(value=read(decoded), requested_at=requested_at)
            except ClaimXApiError as error:
                if error.reason == NOT_FOUND:
                    return NotFound(requested_at=flight.sent_at or self._clock.now())
                failure = error
            else:
                self._answered.remember(request)
                return answer
            flight.sent_at = None
            tries.made += 1
            log.warning(
                "claimx_api_call_failed",
                method=request.method,
                endpoint=request.endpoint,
                status=failure.status,
                category=failure.category.value,
                tries=tries.made,
                **request.ids,
            )
            if not await self._goes_on(request, failure, tries):
                raise failure

    async def _goes_on(self, request: ApiRequest, failure: ClaimXApiError, tries: _Tries) -> bool:
        """Return True when it is time for another try, False if the failure is the request's own.

        Raises UnavailableError where it is the service's.
        """
        health = self._health
        is_closed = health is None or health.closed
        is_transient = failure.category is Category.TRANSIENT
        if not is_transient and not may_be_the_credential(failure):
            return False
        if is_closed and (not is_transient or (failure.retry_after_s or 0.0) > MAX_HONOURED_S):
            return False  # a single 401 or 403 follows section 7; a long Retry-After settled point 17
        if is_closed and tries.made <= self._settings.quick_retries:
            return await self._pause(tries)
        return health is not None and await self._is_not_its_own(health, request, failure, tries)

    async def _is_not_its_own(
        self, health: ApiHealth, request: ApiRequest, failure: ClaimXApiError, tries: _Tries
    ) -> bool:
        """Find out whose fault a failure is; return and raise as `_goes_on` does."""
        if not health.closed and failure.retry_after_s is not None:
            raise health.refusal()  # the service's own word, no second opinion needed
        is_last = tries.made > self._settings.quick_retries + health.settings.failure_threshold
        if await self._second_opinion(request, as_of=self._clock.now()):
            is_known = tries.others_answered or failure.category is not Category.TRANSIENT
            tries.others_answered = True
            return not is_known and not is_last
        if not health.closed:
            raise health.refusal()
        tries.others_answered = False
        return not is_last and await self._pause(tries)

    async def _pause(self, tries: _Tries) -> bool:
        """Wait before another try, longer each time, up to two seconds or so; then return True."""
        await self._sleep(tries.delay_s * (0.5 + self._rng.random()))
        tries.delay_s = min(tries.delay_s * 2, _LONGEST_RETRY_S)
        return True

    async def _probe_if_due(self, request: ApiRequest) -> None:
        """Send the probe where one is due; raises UnavailableError unless all calls pass afterwards.

        What is sent as a probe was answered before: a request that fails by itself must not decide for all others.
        """
        health = self._health
        if health is not None and not health.closed:
            await self._second_opinion(request, as_of=None)
            if not health.closed:
                raise health.refusal()

    async def _second_opinion(self, request: ApiRequest, *, as_of: datetime | None) -> bool:
        """Return whether the service answers something that it answered before, asked after `as_of`.

        Many who doubt at the same time share the question. Raises UnavailableError if it is refused.
        """
        health = self._health
        guard = nullcontext if health is None else health.second_opinion
        asked = self._answered.other_than(request)

        async def ask(flight: Flight) -> bool:
            is_answered = await self._exchange.is_answered(asked, flight, guard)
            API_SECOND_OPINIONS.labels("answered" if is_answered else "unanswered").inc()
            return is_answered

        return await self._opinions.get(asked.path, ask, as_of=as_of)
