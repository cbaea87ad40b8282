"""The API client keeps its promises against a real HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.api_client import Answer, ClaimXApiClient, ClaimXApiSettings, NotFound
from kafka_pipeline.claimx.api_errors import ClaimXApiError, category_of_status
from kafka_pipeline.claimx.api_pace import Pace
from kafka_pipeline.common.failures import Category, PipelineError

TOKEN = "c2FtcGxlOnNlY3JldC1rZXk="
NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


class VirtualTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        """Start at NOW."""
        self.elapsed_s = 0.0
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        """Return NOW plus what was slept."""
        return NOW + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        """Return what was slept."""
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Advance, at once."""
        self.sleeps.append(seconds)
        self.elapsed_s += seconds
        await asyncio.sleep(0)


class Api:
    """A scripted service: answers in order, the last one for ever; remembers what it was asked."""

    def __init__(self, *answers: Script) -> None:
        """Take the answers."""
        self.answers = list(answers)
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.under_way = 0
        self.most_under_way = 0
        self._arrived = asyncio.Condition()

    async def until_under_way(self, number: int) -> None:
        """Return when so many requests wait for their answer."""
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: self.under_way >= number)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Give the next answer."""
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        async with self._arrived:
            self._arrived.notify_all()
        try:
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            return await answer(request)
        finally:
            self.under_way -= 1


def says(body: object, status: int = 200, **headers: str) -> Script:
    """Answer with JSON."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            body=orjson.dumps(body), status=status, headers={"Content-Type": "application/json", **headers}
        )

    return answer


def says_bytes(body: bytes, content_type: str = "application/json") -> Script:
    """Answer 200 with these bytes."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Break the connection before the answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs_up_midway(request: web.Request) -> web.StreamResponse:
    """Promise more than is sent."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"data": [')
    assert request.transport is not None
    request.transport.abort()
    return response


@asynccontextmanager
async def service(api: Script) -> AsyncIterator[str]:
    """Run the service; yield its base URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await api(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/service/cxedirest"))


@asynccontextmanager
async def client_of(
    api: Script, *, time: VirtualTime | None = None, token: str = TOKEN, **settings: object
) -> AsyncIterator[ClaimXApiClient]:
    """Run the service and a client of it, in virtual time."""
    time = time or VirtualTime()
    async with service(api) as url:
        chosen = {"quick_retries": 0, "sender_username": "integration@example.com", **settings}
        made = ClaimXApiSettings(url=url, token=token, **chosen)  # type: ignore[arg-type]  # a test's free choice
        async with ClaimXApiClient(made, clock=time, sleep=time.sleep, rng=random.Random(1)) as client:
            yield client


async def error_of(api: Script, **settings: object) -> ClaimXApiError:
    """Return the error that get_project meets."""
    async with client_of(api, **settings) as client:  # type: ignore[arg-type]  # passed through
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("900001")
    return caught.value


# --- requests ----------------------------------------------------------------------------------------------------


async def test_each_method_asks_exactly_the_documented_request() -> None:
    """Paths, parameters and body are those of section 5.2, and no id filter is sent for media."""
    api = Api(says({}))
    async with client_of(api) as client:
        await client.get_project("900001")
        await client.get_project_media("900001")
        await client.get_custom_task("8200001")
        await client.get_video_collaboration("9300001", "900001")
    assert [(request.method, request.path_qs) for request in api.requests] == [
        ("GET", "/service/cxedirest/export/project/900001"),
        ("GET", "/service/cxedirest/export/project/900001/media"),
        ("GET", "/service/cxedirest/customTasks/assignment/8200001?full=true"),
        ("POST", "/service/cxedirest/data"),
    ]
    assert orjson.loads(api.bodies[3]) == {
        "reportType": "VIDEO_COLLABORATION",
        "projectId": 900001,
        "senderUsername": "integration@example.com",
    }


@pytest.mark.parametrize("token", [TOKEN, f"Basic {TOKEN}", f"  basic {TOKEN}\n"])
async def test_basic_prefix_is_never_doubled(token: str) -> None:
    """[API-2] The header is `Basic <token>` however the token was configured; both content headers are JSON."""
    api = Api(says({}))
    async with client_of(api, token=token) as client:
        await client.get_project("1")
    headers = api.requests[0].headers
    assert (f"Basic {TOKEN}", "application/json", "application/json") == (
        headers["Authorization"],
        headers["Accept"],
        headers["Content-Type"],
    )


@pytest.mark.parametrize("project_id", ["", "12a", "../1", "1\n", "-1", "1.0", "\u0661", "9" * 65])
async def test_an_id_that_is_no_number_is_permanent_without_a_call(project_id: str) -> None:
    """[API-4] Nothing is sent, and the odd text is not repeated in the error."""
    api = Api(says({}))
    async with client_of(api) as client:
        for ask in (
            client.get_project(project_id),
            client.get_project_media(project_id),
            client.get_custom_task(project_id),
            client.get_video_collaboration("1", project_id),
        ):
            with pytest.raises(ClaimXApiError) as caught:
                await ask
            assert caught.value.category is Category.PERMANENT
            assert "12a" not in caught.value.text
    assert api.requests == []


async def test_a_very_long_numeric_id_is_sent_with_all_its_digits() -> None:
    """An id beyond 64 bits is still a number and loses nothing on the way."""
    api = Api(says({}))
    async with client_of(api) as client:
        await client.get_video_collaboration("1", "9" * 30)
    assert b'"projectId": ' + b"9" * 30 in api.bodies[0]


async def test_a_report_without_a_configured_sender_is_a_configuration_gap_not_a_dead_letter() -> None:
    """[API-9] The call is refused as unknown, so no event goes to the dead letters because of it."""
    async with client_of(Api(says({})), sender_username=None) as client:
        with pytest.raises(PipelineError) as caught:
            await client.get_video_collaboration("1", "2")
    assert caught.value.category is Category.UNKNOWN


# --- classification ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (401, Category.AUTH),
        (301, Category.AUTH),
        (302, Category.AUTH),
        (307, Category.AUTH),
        (400, Category.PERMANENT),
        (403, Category.PERMANENT),
        (410, Category.PERMANENT),
        (408, Category.TRANSIENT),
        (429, Category.TRANSIENT),
        (500, Category.TRANSIENT),
        (502, Category.TRANSIENT),
        (503, Category.TRANSIENT),
        (504, Category.TRANSIENT),
        (599, Category.TRANSIENT),
    ],
)
async def test_each_status_has_the_category_of_the_table(status: int, category: Category) -> None:
    """Section 7.2, row by row, with method, endpoint template, status and id on the error."""
    error = await error_of(Api(says({"secret": "body"}, status, Location="https://evil.example.com/login")))
    assert (category, status, "GET", "/export/project/{id}", {"project_id": "900001"}) == (
        error.category,
        error.status,
        error.method,
        error.endpoint,
        error.ids,
    )


def test_every_status_is_classified() -> None:
    """No number a server may invent is left without a category; only 2xx is success."""
    assert {status for status in range(100, 1000) if category_of_status(status) is None} == set(range(200, 300))


async def test_not_found_is_a_value_for_every_method() -> None:
    """A 404 is an answer with a time, not an exception."""
    async with client_of(Api(says({}, 404))) as client:
        replies = [
            await client.get_project("1"),
            await client.get_project_media("1"),
            await client.get_custom_task("1"),
            await client.get_video_collaboration("1", "2"),
        ]
    assert replies == [NotFound(requested_at=NOW)] * 4


@pytest.mark.parametrize(
    "answer",
    [
        says_bytes(b"<html>login</html>", "text/html"),
        says_bytes(b'{"data": [{"mediaID": 1'),
        says_bytes(b""),
        says_bytes(b"NaN"),
        says_bytes(b"[" * 100_000),
        says_bytes(b'"\\ud83d'),
        hangs_up,
        hangs_up_midway,
    ],
)
async def test_an_answer_that_is_not_json_or_breaks_off_is_transient(answer: Script) -> None:
    """[API-11] A login page, truncated JSON, no body at all and a broken connection may all pass."""
    error = await error_of(Api(answer))
    assert error.category is Category.TRANSIENT


async def test_json_of_no_known_shape_is_transient() -> None:
    """A bare scalar is what a proxy says, not the service."""
    async with client_of(Api(says("please log in"))) as client:
        with pytest.raises(PipelineError) as caught:
            await client.get_project("1")
    assert caught.value.category is Category.TRANSIENT


async def test_half_a_character_in_a_name_does_not_cost_the_list() -> None:
    """A lone surrogate, as a cut emoji leaves it, spoils its own name only."""
    body = rb'{"data": [{"mediaID": 1, "mediaName": "roof \ud83d.jpg"}, {"mediaID": 2, "mediaName": "b.jpg"}]}'
    async with client_of(Api(says_bytes(body))) as client:
        reply = await client.get_project_media("1")
    assert isinstance(reply, Answer)
    assert [item.media_name for item in reply.value.items] == ["roof \ufffd.jpg", "b.jpg"]


@pytest.mark.parametrize("status", [200, 201, 299])
async def test_any_2xx_is_success(status: int) -> None:
    """[API-3] Also those nobody expects."""
    async with client_of(Api(says({"project": {"projectId": 5}}, status))) as client:
        reply = await client.get_project("5")
    assert isinstance(reply, Answer)
    assert reply.value.project_id == "5"


async def test_no_content_is_the_empty_answer() -> None:
    """A 204 has no body to read: no media."""

    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async with client_of(Api(nothing)) as client:
        reply = await client.get_project_media("5")
    assert isinstance(reply, Answer)
    assert reply.value.items == ()


async def test_a_time_out_is_transient() -> None:
    """A service that never answers costs one time-out."""
    release = asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with client_of(Api(waits), timeout_s=0.05) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("1")
        release.set()
    assert (caught.value.category, caught.value.status) == (Category.TRANSIENT, None)


async def test_a_refused_connection_is_transient() -> None:
    """Nothing listens: the network's fault."""
    async with service(Api(says({}))) as url:
        pass
    settings = ClaimXApiSettings(url=url, token=TOKEN, quick_retries=0)
    async with ClaimXApiClient(settings) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("1")
        with pytest.raises(ClaimXApiError):
            await client.check()
    assert caught.value.category is Category.TRANSIENT


async def test_a_body_over_the_cap_is_permanent_and_not_read_to_its_end() -> None:
    """[API-11] With and without a length announced, reading stops at the cap."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b" " * 10_000)
            sent += 10_000
        return response

    announced = await error_of(Api(says_bytes(b" " * 10_001)), max_body_bytes=10_000)
    streamed = await error_of(endless, max_body_bytes=10_000)
    assert [announced.category, streamed.category] == [Category.PERMANENT] * 2
    assert sent < 50_000_000


async def test_a_body_at_the_cap_is_read() -> None:
    """The cap is the largest size allowed."""
    body = b"[]" + b" " * 9_998
    async with client_of(Api(says_bytes(body)), max_body_bytes=10_000) as client:
        assert isinstance(await client.get_project_media("1"), Answer)


async def test_a_small_answer_that_unpacks_to_a_huge_one_meets_the_cap() -> None:
    """The cap counts what was unpacked, so a compressed bomb does not pass it."""

    async def packed(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=b"[" + b" " * 5_000_000 + b"]")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    error = await error_of(packed, max_body_bytes=100_000)
    assert error.category is Category.PERMANENT


# --- quick retries and Retry-After -------------------------------------------------------------------------------


async def test_transient_errors_are_tried_again_twice_with_growing_jittered_pauses() -> None:
    """[API-7] About 1 s, then about 2 s; the third answer counts, and its time is the observation's time."""
    time = VirtualTime()
    api = Api(says({}, 500), says_bytes(b"<html>", "text/html"), says({"projectId": 7}))
    async with client_of(api, time=time, quick_retries=2) as client:
        reply = await client.get_project("7")
    first, second = time.sleeps
    assert len(api.requests) == 3
    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 3.0
    assert reply.requested_at == NOW + timedelta(seconds=first + second)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_lasting_errors_are_not_tried_again(status: int) -> None:
    """Only transient errors deserve a quick retry."""
    api = Api(says({}, status))
    async with client_of(api, quick_retries=2) as client:
        if status == 404:
            await client.get_project("1")
        else:
            with pytest.raises(ClaimXApiError):
                await client.get_project("1")
    assert len(api.requests) == 1


async def test_quick_retries_end() -> None:
    """After the last try the error is the caller's."""
    api = Api(says({}, 503))
    async with client_of(api, quick_retries=2) as client:
        with pytest.raises(ClaimXApiError):
            await client.get_project("1")
    assert len(api.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_slows_the_whole_client(status: int) -> None:
    """Settled point 17: the next request, whichever, leaves after the pause the service asked for."""
    time = VirtualTime()
    api = Api(says({}, status, **{"Retry-After": "30"}), says({}))
    async with client_of(api, time=time) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("1")
        reply = await client.get_project_media("2")
    assert caught.value.not_before == NOW + timedelta(seconds=30)
    assert reply.requested_at == NOW + timedelta(seconds=30)


async def test_retry_after_as_a_date_is_honoured() -> None:
    """The HTTP date form counts from our clock."""
    time = VirtualTime()
    api = Api(says({}, 429, **{"Retry-After": "Mon, 02 Mar 2026 14:00:20 GMT"}), says({}))
    async with client_of(api, time=time, quick_retries=1) as client:
        reply = await client.get_project("1")
    assert reply.requested_at == NOW + timedelta(seconds=20)


async def test_a_retry_after_beyond_a_minute_is_left_to_the_retry_topics() -> None:
    """No quick retry; the client pauses 60 s, and the error says when to come back."""
    time = VirtualTime()
    api = Api(says({}, 503, **{"Retry-After": "300"}), says({}))
    async with client_of(api, time=time, quick_retries=2) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.get_project("1")
        reply = await client.get_project("1")
    assert len(api.requests) == 2
    assert caught.value.not_before == NOW + timedelta(seconds=300)
    assert reply.requested_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("status", [500, 502, 408])
async def test_retry_after_means_nothing_with_other_statuses(status: int) -> None:
    """[API-6] Only 429 and 503 carry it."""
    error = await error_of(Api(says({}, status, **{"Retry-After": "30"})))
    assert error.not_before is None


async def test_the_rate_limit_spaces_requests_evenly() -> None:
    """Ten a second means a tenth of a second apart; no limit means no wait."""
    time = VirtualTime()
    pace = Pace(rate_per_second=10, clock=time, sleep=time.sleep)
    for _ in range(4):
        await pace.turn()
    assert time.elapsed_s == pytest.approx(0.3)
    free = Pace(rate_per_second=0, clock=time, sleep=time.sleep)
    for _ in range(100):
        await free.turn()
    assert time.elapsed_s == pytest.approx(0.3)


async def test_a_short_pause_never_shortens_a_long_one() -> None:
    """Two wishes of the service: the later end counts."""
    time = VirtualTime()
    pace = Pace(rate_per_second=0, clock=time, sleep=time.sleep)
    pace.slow_down(40)
    pace.slow_down(5)
    await pace.turn()
    assert time.elapsed_s == 40


# --- concurrency -------------------------------------------------------------------------------------------------


async def test_no_more_than_max_concurrent_requests_are_under_way() -> None:
    """[API-6] The bound holds, and is used in full."""
    gate = asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response({})

    api = Api(waits)
    async with client_of(api, max_concurrent=3) as client:
        calls = [asyncio.create_task(client.get_project(str(number))) for number in range(10)]
        await api.until_under_way(3)
        gate.set()
        await asyncio.gather(*calls)
    assert (api.most_under_way, len(api.requests)) == (3, 10)


async def test_equal_concurrent_requests_share_one_call() -> None:
    """Ten who ask the same at once cost one request, and the saving is counted."""
    before = REGISTRY.get_sample_value("claimx_api_calls_saved_total", {"endpoint": "/export/project/{id}"}) or 0
    api = Api(says({"projectId": 1}))
    async with client_of(api) as client:
        replies = await asyncio.gather(*(client.get_project("1") for _ in range(10)))
    after = REGISTRY.get_sample_value("claimx_api_calls_saved_total", {"endpoint": "/export/project/{id}"})
    assert (1, 1, before + 9) == (len(api.requests), len({id(reply) for reply in replies}), after)


async def test_two_calls_of_one_project_share_its_report() -> None:
    """The report is the project's; each caller gets the row of its own id, or None."""
    api = Api(says({"data": [{"videoCollaborationId": 1, "guid": "a"}, {"id": 2, "guid": "b"}]}))
    async with client_of(api) as client:
        replies = await asyncio.gather(*(client.get_video_collaboration(name, "7") for name in ("2", "1", "3")))
        await client.get_video_collaboration("1", "8")
    guids = [reply.value and reply.value.call["guid"] for reply in replies if isinstance(reply, Answer)]
    assert (guids, len(api.requests)) == (["b", "a", None], 2)


async def test_an_error_reaches_everybody_who_waits() -> None:
    """Sharing shares failures too, and the next caller starts anew."""
    api = Api(says({}, 400), says({}))
    async with client_of(api) as client:
        outcomes = await asyncio.gather(*(client.get_project("1") for _ in range(3)), return_exceptions=True)
        later = await client.get_project("1")
    assert [ClaimXApiError] * 3 == [type(outcome) for outcome in outcomes]
    assert isinstance(later, Answer)


async def test_a_cancelled_waiter_leaves_the_call_to_the_others() -> None:
    """The first to ask may go; the answer still comes. When all go, the call ends."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        asked.set()
        await gate.wait()
        return web.json_response({})

    api = Api(waits)
    async with client_of(api) as client:
        first, second = (asyncio.create_task(client.get_project("1")) for _ in range(2))
        await asked.wait()
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert isinstance(await second, Answer)
        gate.clear()
        asked.clear()
        alone = asyncio.create_task(client.get_project("1"))
        await asked.wait()
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await alone
        gate.set()
        assert isinstance(await client.get_project("1"), Answer)
    assert len(api.requests) == 3


async def test_who_needs_a_younger_state_does_not_join_an_older_call() -> None:
    """An event that came after a request was sent must not be answered from the state before it."""
    time = VirtualTime()
    gate = asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response({})

    api = Api(waits)
    async with client_of(api, time=time) as client:
        old = asyncio.create_task(client.get_project("1", as_of=NOW))
        await api.until_under_way(1)
        time.elapsed_s = 5
        same = asyncio.create_task(client.get_project("1", as_of=NOW))
        anyway = asyncio.create_task(client.get_project("1"))
        young = asyncio.create_task(client.get_project("1", as_of=NOW + timedelta(seconds=3)))
        await asyncio.sleep(0)
        gate.set()
        replies = await asyncio.gather(old, same, anyway, young)
    assert len(api.requests) == 2
    assert [(reply.requested_at - NOW).total_seconds() for reply in replies] == [0, 0, 0, 5]


async def test_closing_the_client_ends_what_is_under_way() -> None:
    """Nobody is left waiting for a closed client."""
    asked = asyncio.Event()

    async def waits(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    async with client_of(Api(waits)) as client:
        call = asyncio.create_task(client.get_project("1"))
        await asked.wait()
    with pytest.raises(asyncio.CancelledError):
        await call


# --- secrets -----------------------------------------------------------------------------------------------------


async def test_no_token_link_body_or_header_is_in_an_error_its_traceback_or_the_log() -> None:
    """[API-12, SEC-7, SEC-12] However a call fails, only template, status and ids are told."""
    told: list[str] = []
    secrets = {TOKEN, "secret-body", "secret-header", "127.0.0.1", "localhost", "senderUsername", "integration@"}
    with structlog.testing.capture_logs() as logged:
        for answer in (
            says({"note": "secret-body"}, 500, **{"X-Note": "secret-header"}),
            says({"note": "secret-body"}, 302, Location="https://example.com/?token=secret-header"),
            says_bytes(b"<p>secret-body</p>", "text/html"),
            hangs_up,
            hangs_up_midway,
        ):
            async with client_of(Api(answer)) as client:
                for ask in (client.get_project("900001"), client.get_video_collaboration("1", "900001")):
                    with pytest.raises(ClaimXApiError) as caught:
                        await ask
                    error: BaseException | None = caught.value
                    assert caught.value.__cause__ is None
                    told += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
                    while error is not None:
                        told.append(repr(error))
                        error = error.__context__
                told.append(repr(client) + repr(client._settings) + repr(client._exchange._session))
    told += [repr(entry) for entry in logged]
    text = "\n".join(told).replace('File "', "")
    assert {secret for secret in secrets - {"127.0.0.1", "localhost", "senderUsername"} if secret in text} == set()
    assert "127.0.0.1" not in "\n".join(line for line in told if "Settings(" not in line)
    assert "900001" in text


def test_the_token_is_in_no_repr() -> None:
    """[SEC-12] Neither the settings nor the client shows it, nor the account."""
    settings = ClaimXApiSettings(url="https://api.example.com/x/", token=TOKEN, sender_username="who@example.com")
    assert settings.base_url == "https://api.example.com/x"
    shown = repr(settings) + str(settings) + repr(ClaimXApiClient(settings))
    assert TOKEN not in shown
    assert "who@example.com" not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.com"},
        {"url": "https://user:pw@example.com"},
        {"url": "https://example.com/?a=b"},
        {"url": "example.com"},
        {"token": " "},
        {"token": "a\r\nX-Evil: 1"},
        {"max_concurrent": 0},
        {"timeout_s": 0.0},
        {"quick_retries": -1},
        {"max_body_bytes": 0},
    ],
)
def test_settings_that_cannot_work_are_refused_without_telling_the_token(wrong: dict[str, object]) -> None:
    """A bad value stops the start, in words that may be shown."""
    given = {"url": "https://example.com", "token": TOKEN, **wrong}
    with pytest.raises(ValueError, match="ClaimX API") as caught:
        ClaimXApiSettings(**given)  # type: ignore[arg-type]  # the point of the test
    assert TOKEN not in str(caught.value)
    assert "pw" not in str(caught.value)


# --- check and metrics -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 500, 503])
async def test_check_takes_any_answer_but_a_refused_credential_as_reachable(status: int) -> None:
    """One read of project 0, one try."""
    api = Api(says({}, status))
    async with client_of(api, quick_retries=2) as client:
        await client.check()
    assert [request.path for request in api.requests] == ["/service/cxedirest/export/project/0"]


@pytest.mark.parametrize("status", [401, 302])
async def test_check_reports_a_refused_credential(status: int) -> None:
    """401 and the way to the login page mean the token."""
    async with client_of(Api(says({}, status))) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.check()
    assert caught.value.category is Category.AUTH


async def test_check_reports_a_url_that_is_not_the_api_s() -> None:
    """A web site answers 200 to everything, but not in JSON."""
    async with client_of(Api(says_bytes(b"<html>", "text/html"))) as client:
        with pytest.raises(ClaimXApiError) as caught:
            await client.check()
    assert caught.value.category is Category.TRANSIENT


async def test_calls_are_counted_by_endpoint_template_and_outcome() -> None:
    """Each try is one count, labelled with nothing that grows."""

    def count(outcome: str) -> float:
        labels = {"endpoint": "/export/project/{id}/media", "outcome": outcome}
        return REGISTRY.get_sample_value("claimx_api_calls_total", labels) or 0.0

    before = {outcome: count(outcome) for outcome in ("success", "transient", "not_found")}
    async with client_of(Api(says({}, 500), says([]), says({}, 404)), quick_retries=1) as client:
        await client.get_project_media("1")
        await client.get_project_media("1")
    after = {outcome: count(outcome) for outcome in before}
    assert {name: after[name] - before[name] for name in before} == {"success": 1, "transient": 1, "not_found": 1}


async def test_a_client_that_is_not_open_says_so() -> None:
    """Forgetting `async with` is a clear error."""
    client = ClaimXApiClient(ClaimXApiSettings(url="https://example.com", token=TOKEN))
    with pytest.raises(PipelineError, match="not open"):
        await client.get_project("1")
