"""Whose fault a failed call is: the client, its breakers and its limit against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.api_client import Answer, ClaimXApiClient, ClaimXApiSettings, NotFound
from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.claimx.api_health import ApiHealth
from kafka_pipeline.claimx.api_request import PROJECT_ENDPOINT, ApiRequest
from kafka_pipeline.claimx.single_flight import Flight
from kafka_pipeline.common.failures import Category, UnavailableError
from kafka_pipeline.common.resilience.breaker import CircuitSettings

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
RESET_S = 60.0
PREFIX = "/service/cxedirest"
Mood = Callable[[web.Request], Awaitable[int]]
"""What the service answers a request with; 0 breaks the connection."""


class VirtualTime:
    """A clock that jumps to the next sleeper's time whenever nothing else happens: no request, no other task."""

    def __init__(self) -> None:
        """Start at NOW."""
        self.elapsed_s = 0.0
        self.happenings = 0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        """Return NOW plus what has passed."""
        return NOW + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        """Return what has passed."""
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock is there."""
        self.happenings += 1
        sleeper = self.elapsed_s + seconds, asyncio.Event()
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    async def run(self) -> None:
        """Jump whenever it has been quiet for some turns."""
        quiet, seen = 0, 0
        while True:
            await asyncio.sleep(0.0005)
            quiet = quiet + 1 if seen == self.happenings else 0
            seen = self.happenings
            if quiet >= 4 and self._sleepers:
                quiet = 0
                self.elapsed_s = max(self.elapsed_s, min(due_s for due_s, _ in self._sleepers))
                for due_s, event in self._sleepers:
                    if due_s <= self.elapsed_s:
                        event.set()


@dataclass(kw_only=True)
class Service:
    """A ClaimX whose mood decides, per request; it remembers what it was asked, and when."""

    time: VirtualTime
    mood: Mood
    asked: list[tuple[float, str]] = field(default_factory=list)
    said: Counter[int] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer by mood."""
        self.time.happenings += 1
        self.asked.append((self.time.elapsed_s, request.path.removeprefix(PREFIX)))
        status = await self.mood(request)
        self.said[status] += 1
        self.time.happenings += 1
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({}, status=status or 200, headers=self.headers if status >= 400 else {})

    def asked_after(self, start_s: float) -> list[str]:
        """Return the paths that were asked from then on."""
        return [path for at_s, path in self.asked if at_s >= start_s]


def always(status: int) -> Mood:
    """Answer everything the same."""

    async def mood(_: web.Request) -> int:
        return status

    return mood


def but(others: int, **ids: int) -> Mood:
    """Answer the ids that are named `_ID=status` their own way, all others alike."""

    async def mood(request: web.Request) -> int:
        return next((status for key, status in ids.items() if key.removeprefix("_") in request.path.split("/")), others)

    return mood


def down_until(time: VirtualTime, end_s: float, status: int = 503) -> Mood:
    """Fail until then."""

    async def mood(_: web.Request) -> int:
        return status if time.elapsed_s < end_s else 200

    return mood


@asynccontextmanager
async def client_of(
    service: Service, *, threshold: int = 5, **chosen: object
) -> AsyncIterator[tuple[ClaimXApiClient, ApiHealth]]:
    """Run the service and a client with breakers, in virtual time."""
    time = service.time
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    async with TestServer(app) as server:
        given = {"quick_retries": 2, "sender_username": "integration@example.com", **chosen}
        made = ClaimXApiSettings(url=str(server.make_url(PREFIX)), token="c2FtcGxl", **given)  # type: ignore[arg-type]  # a test's free choice
        circuits = CircuitSettings(failure_threshold=threshold, reset_s=RESET_S, probe_lease_s=35.0)
        health = ApiHealth(circuits, clock=time, sleep=time.sleep)
        clock = asyncio.create_task(time.run())
        async with ClaimXApiClient(made, health=health, clock=time, sleep=time.sleep, rng=random.Random(1)) as client:
            yield client, health
        clock.cancel()


@dataclass(slots=True)
class Worker:
    """What the loop does with a record: an attempt is burnt by a failure, an unavailable service is waited for."""

    attempts: list[Category] = field(default_factory=list)
    waits: Counter[str] = field(default_factory=Counter)

    async def work(self, ask: Callable[[], Awaitable[object]]) -> object:
        """Ask until there is an answer, or an attempt is burnt."""
        while True:
            try:
                return await ask()
            except UnavailableError as error:
                self.waits[error.reason] += 1
                await error.until()
            except ClaimXApiError as error:
                self.attempts.append(error.category)
                return error


# --- outages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 500, 503, 429])
@pytest.mark.parametrize("quick_retries", [0, 2, 10])
async def test_an_outage_met_by_one_lonely_call_costs_no_attempt(status: int, quick_retries: int) -> None:
    """Twenty seconds, nobody else there to open the breaker: the call does it alone, waits once, and is answered."""
    time = VirtualTime()
    service = Service(time=time, mood=down_until(time, 20, status))
    worker = Worker()
    async with client_of(service, quick_retries=quick_retries) as (client, health):
        reply = await asyncio.wait_for(worker.work(lambda: client.get_project("1")), 60)
        assert health.closed
    assert isinstance(reply, Answer)
    assert worker.attempts == []
    assert worker.waits["circuit_open"] <= 1
    assert time.elapsed_s <= 20 + RESET_S


async def test_an_outage_met_by_many_calls_costs_no_attempt_and_ends_within_one_reset_time() -> None:
    """A hundred records, some under way when it begins; five minutes; a handful of requests meanwhile."""
    time = VirtualTime()
    begins_s, ends_s = 2.0, 302.0

    async def mood(_: web.Request) -> int:
        return 503 if begins_s <= time.elapsed_s < ends_s else 200

    service = Service(time=time, mood=mood)
    worker = Worker()

    async def record(number: int, client: ClaimXApiClient) -> object:
        await time.sleep(number * 0.1)
        return await worker.work(lambda: client.get_project(str(1000 + number)))

    async with client_of(service) as (client, _):
        replies = await asyncio.wait_for(asyncio.gather(*(record(number, client) for number in range(100))), 100)
    assert {type(reply) for reply in replies} == {Answer}
    assert worker.attempts == []
    assert time.elapsed_s <= ends_s + RESET_S + 1
    in_the_outage = [path for at_s, path in service.asked if begins_s + 10 <= at_s < ends_s]
    assert len(in_the_outage) <= 6


@given(
    begins_s=st.floats(0, 20),
    lasts_s=st.floats(0, 400),
    threshold=st.integers(1, 8),
    quick_retries=st.integers(0, 3),
    gap_s=st.floats(0, 5),
    seed=st.integers(0, 1_000_000),
)
@settings(max_examples=40, deadline=None)
def test_no_outage_of_any_length_costs_an_attempt(
    begins_s: float, lasts_s: float, threshold: int, quick_retries: int, gap_s: float, seed: int
) -> None:
    """Whenever it begins, however long it lasts, at any traffic: every record is answered in the end."""
    time = VirtualTime()
    rng = random.Random(seed)

    async def mood(_: web.Request) -> int:
        return rng.choice([0, 500, 503]) if begins_s <= time.elapsed_s < begins_s + lasts_s else 200

    async def all_of_it() -> None:
        service = Service(time=time, mood=mood)
        worker = Worker()

        async def record(number: int, client: ClaimXApiClient) -> object:
            await time.sleep(number * gap_s)
            ask = client.get_project if number % 2 else client.get_custom_task
            return await worker.work(lambda: ask(str(1000 + number)))

        async with client_of(service, threshold=threshold, quick_retries=quick_retries) as (client, health):
            replies = await asyncio.gather(*(record(number, client) for number in range(10)))
            assert health.closed
        assert {type(reply) for reply in replies} == {Answer}
        assert worker.attempts == []

    asyncio.run(asyncio.wait_for(all_of_it(), 100))


async def test_an_outage_that_ends_while_its_cause_is_looked_for_costs_no_attempt() -> None:
    """All tries fell into it, others are answered already: the call gets one try more before it counts as its own."""
    service = Service(time=VirtualTime(), mood=always(200))

    async def mood(_: web.Request) -> int:
        return 200 if len(service.asked) > 3 else 500

    service.mood = mood
    worker = Worker()
    async with client_of(service) as (client, _):
        assert isinstance(await worker.work(lambda: client.get_project("1")), Answer)
    assert (worker.attempts, worker.waits) == ([], Counter())
    assert [path for _, path in service.asked][3:] == ["/export/project/0", "/export/project/1"]


async def test_calls_stop_when_the_breaker_opens() -> None:
    """Quick retries too: ten are allowed, five failures and one second opinion are made."""
    service = Service(time=VirtualTime(), mood=always(500))
    async with client_of(service, quick_retries=10) as (client, _):
        with pytest.raises(UnavailableError) as caught:
            await client.get_project("1")
        with pytest.raises(UnavailableError):
            await client.get_project_media("2")
    assert (caught.value.category, caught.value.reason) == (Category.CIRCUIT_OPEN, "circuit_open")
    assert [path for _, path in service.asked] == ["/export/project/1"] * 5 + ["/export/project/0"]


async def test_everybody_who_shares_a_refused_call_waits() -> None:
    """Single flight passes the refusal on to all, unharmed."""
    service = Service(time=VirtualTime(), mood=always(500))
    async with client_of(service) as (client, _):
        ends = await asyncio.gather(*(client.get_project("1") for _ in range(5)), return_exceptions=True)
    assert [type(end) for end in ends] == [UnavailableError] * 5


# --- records that fail by themselves -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503])
async def test_a_record_that_fails_by_itself_is_an_attempt_of_its_own(status: int) -> None:
    """The service answers others: no breaker, no wait, whether or not anybody else asks just then."""
    service = Service(time=VirtualTime(), mood=but(200, _666=status))
    async with client_of(service) as (client, health):
        await client.get_custom_task("1")
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_custom_task("666")
        assert health.closed
    assert (caught.value.category, caught.value.ids) == (Category.TRANSIENT, {"task_assignment_id": "666"})
    poisoned, good = "/customTasks/assignment/666", "/customTasks/assignment/1"
    assert [path for _, path in service.asked] == [good, *[poisoned] * 3, good, poisoned, good]


@pytest.mark.parametrize("threshold", [1, 2, 3, 5])
@pytest.mark.parametrize("known_before", [True, False])
async def test_many_records_that_fail_by_themselves_never_stop_the_others(
    threshold: int, *, known_before: bool
) -> None:
    """Ten of them at once, more than open a breaker: each is an attempt, nobody waits; also in a fresh process."""
    mood = but(200, _0=404, **{f"_{number}": 500 for number in range(660, 670)})
    service = Service(time=VirtualTime(), mood=mood)
    worker = Worker()
    async with client_of(service, threshold=threshold) as (client, health):
        if known_before:
            await client.get_custom_task("1")
        asks = [lambda number=number: client.get_custom_task(str(number)) for number in range(660, 670)]
        await asyncio.wait_for(asyncio.gather(*(worker.work(ask) for ask in asks)), 60)
        assert isinstance(await worker.work(lambda: client.get_custom_task("2")), Answer)
        assert health.closed
    assert worker.attempts == [Category.TRANSIENT] * 10
    assert service.time.elapsed_s < RESET_S


async def test_a_record_that_fails_by_itself_does_not_keep_the_breaker_open_after_an_outage() -> None:
    """It is first in line when the service is back, and is not what the service is judged by."""
    time = VirtualTime()

    async def mood(request: web.Request) -> int:
        return 500 if time.elapsed_s < 30 or request.path.endswith("666") else 200

    service = Service(time=time, mood=mood)
    worker = Worker()
    async with client_of(service) as (client, health):
        poisoned = asyncio.create_task(worker.work(lambda: client.get_custom_task("666")))
        good = asyncio.create_task(worker.work(lambda: client.get_custom_task("1")))
        assert isinstance(await asyncio.wait_for(good, 60), Answer)
        assert isinstance(await asyncio.wait_for(poisoned, 60), ClaimXApiError)
        assert health.closed
    assert worker.attempts == [Category.TRANSIENT]
    assert time.elapsed_s < 30 + RESET_S + 15


async def test_a_service_that_fails_now_and_then_ends_the_tries_of_a_hopeless_call() -> None:
    """Half of all answers are errors: the tries are bounded, and others are answered meanwhile."""
    rng = random.Random(3)

    async def mood(request: web.Request) -> int:
        return 500 if request.path.endswith("666") or rng.random() < 0.5 else 200

    service = Service(time=VirtualTime(), mood=mood)
    worker = Worker()
    async with client_of(service, threshold=50) as (client, _):
        await asyncio.wait_for(worker.work(lambda: client.get_custom_task("666")), 60)
    tries = sum(path.endswith("666") for _, path in service.asked)
    assert tries <= 1 + 2 + 50


async def test_not_found_and_other_lasting_errors_need_no_second_opinion() -> None:
    """They are the record's, at once, and leave the breaker alone."""
    service = Service(time=VirtualTime(), mood=but(200, _404=404, _400=400))
    async with client_of(service) as (client, health):
        for _ in range(10):
            assert isinstance(await client.get_project("404"), NotFound)
            with pytest.raises(ClaimXApiError):
                await client.get_project("400")
        assert health.closed
    assert len(service.asked) == 20


async def test_a_long_retry_after_is_left_to_the_retry_topics_while_the_service_lives() -> None:
    """Settled point 17: beyond 60 s the record goes, with a not-before; no second opinion is asked."""
    service = Service(time=VirtualTime(), mood=but(200, _666=503), headers={"Retry-After": "300"})
    async with client_of(service) as (client, _):
        await client.get_project("1")
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("666")
    assert caught.value.not_before == NOW + timedelta(seconds=300)
    assert len(service.asked) == 2


# --- the credential ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 302])
async def test_a_single_refusal_follows_section_7_and_is_told_by_readiness(status: int) -> None:
    """[7.1 auth] An attempt; not ready until a call succeeds."""
    service = Service(time=VirtualTime(), mood=but(200, _666=status))
    async with client_of(service) as (client, _):
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("666")
        assert client.not_ready() == {"api_auth"}
        await client.get_project("1")
        assert client.not_ready() == frozenset()
    assert caught.value.category is Category.AUTH


@pytest.mark.parametrize("status", [401, 403, 302])
async def test_a_refused_credential_is_waited_for_with_one_probe_per_reset_time(status: int) -> None:
    """Settled point 6: after N refusals in a row no record goes anywhere until the token works again."""
    time = VirtualTime()
    service = Service(time=time, mood=down_until(time, 250, status))
    worker = Worker()
    async with client_of(service) as (client, _):
        for number in range(4):
            await worker.work(lambda number=number: client.get_project(str(number + 1)))  # type: ignore[misc]  # bound now
        assert len(worker.attempts) == 4
        reply = await asyncio.wait_for(worker.work(lambda: client.get_project("5")), 60)
        assert client.not_ready() == frozenset()
    assert isinstance(reply, Answer)
    assert len(worker.attempts) == 4
    assert set(worker.waits) == {"api_auth"}
    assert len(service.asked_after(1)) == 4 + 2  # a probe a minute, the one that succeeds, and the call itself
    assert time.elapsed_s <= 250 + RESET_S


async def test_records_that_may_not_be_read_do_not_pass_for_a_refused_credential() -> None:
    """Twenty 403 in a row, and every other project is readable: each is permanent, nobody waits."""
    service = Service(time=VirtualTime(), mood=but(200, **{f"_{number}": 403 for number in range(500, 520)}))
    worker = Worker()
    async with client_of(service) as (client, health):
        await client.get_project("1")
        for number in range(500, 520):
            await worker.work(lambda number=number: client.get_project(str(number)))  # type: ignore[misc]  # bound now
        assert health.closed
    assert (worker.attempts, worker.waits) == ([Category.PERMANENT] * 20, Counter())


# --- readiness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "reasons"), [(503, {"circuit_open"}), (0, {"circuit_open", "api_unreachable"})])
async def test_readiness_says_what_is_wrong_until_it_is_not(status: int, reasons: set[str]) -> None:
    """[WRK-5] An open breaker, and beside it a service that does not even answer."""
    time = VirtualTime()
    service = Service(time=time, mood=down_until(time, 20, status))
    async with client_of(service) as (client, _):
        assert client.not_ready() == frozenset()
        with pytest.raises(UnavailableError) as caught:
            await client.get_project("1")
        assert client.not_ready() == reasons
        await caught.value.until()
        await client.get_project("1")
        assert client.not_ready() == frozenset()


# --- how much it bears -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Fragile:
    """A service that falls over: above `bears` requests at once it refuses, and does nobody any good."""

    bears: int
    under_way: int = 0

    async def __call__(self, _: web.Request) -> int:
        """Refuse what is too much at once; the rest takes a few turns."""
        self.under_way += 1
        try:
            if self.under_way > self.bears:
                return 503
            await asyncio.sleep(0.002)
            return 200
        finally:
            self.under_way -= 1


async def load(bears: int, **limits: int) -> tuple[Counter[int], float]:
    """Send 1,500 requests from 60 tasks; return what was said, and the limit in the end."""
    service = Service(time=VirtualTime(), mood=Fragile(bears))

    async with client_of(service, threshold=1_000, quick_retries=0, max_concurrent=40, **limits) as (client, _):

        async def task(first: int) -> None:
            for number in range(25):
                request = ApiRequest.get(PROJECT_ENDPOINT, "project_id", str(first * 100 + number))
                with suppress(ClaimXApiError):
                    await client._exchange.ask(request, Flight(), client._guard)

        await asyncio.gather(*(task(first) for first in range(60)))
        limit = REGISTRY.get_sample_value("concurrency_limit", {"limiter": "claimx_api"})
    assert limit is not None
    return service.said, limit


async def test_the_client_finds_out_how_many_calls_a_fragile_service_bears() -> None:
    """With a limit that follows the service, far fewer calls are refused than with the fixed maximum."""
    adaptive, limit = await load(bears=8)
    fixed, _ = await load(bears=8, min_concurrent=40)
    assert 4 <= limit <= 9
    assert adaptive[503] <= 0.15 * adaptive.total()
    assert fixed[503] >= 3 * adaptive[503]
    assert adaptive[200] > fixed[200]
