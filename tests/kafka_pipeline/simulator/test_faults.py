"""Faults over real HTTP: what a caller meets, and how people and tests bring it about."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.faults import NO_FAULTS, FaultKind
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.world import LinkForm, MediaItem

pytestmark = pytest.mark.timeout(30)

PROJECT = "/export/project/900001"
TASK = "/customTasks/assignment/8200001"


def put(claimx: Simulator, script: str) -> None:
    """Put a script in force."""
    claimx.put_faults(parse_fault_script(script.encode()))


async def ask(http: Any, claimx: Simulator, path: str = PROJECT) -> tuple[int, aiohttp.ClientResponse]:
    """Ask the API and read the whole answer."""
    async with http.get(f"{claimx.api_url}{path}", headers={"Authorization": f"Basic {claimx.token}"}) as answer:
        await answer.read()
        return answer.status, answer


async def report(http: Any, claimx: Simulator, project_id: int) -> int:
    """Ask for the video calls of a project."""
    body = {"reportType": "VIDEO_COLLABORATION", "projectId": project_id, "senderUsername": "a@example.com"}
    headers = {"Authorization": f"Basic {claimx.token}"}
    async with http.post(f"{claimx.api_url}/data", json=body, headers=headers) as answer:
        return int(answer.status)


def links_of(body: Any) -> list[str]:
    """Return the links of a media list, in whatever frame it comes."""
    if isinstance(body, list):
        return [link for part in body for link in links_of(part)]
    if not isinstance(body, dict):
        return []
    if "fullDownloadLink" in body:
        return [body["fullDownloadLink"]] if body["fullDownloadLink"] else []
    return links_of(body.get("data", body.get("media")))


async def link(http: Any, claimx: Simulator, item: MediaItem) -> str:
    """Return a fresh link to an item out of its project's list."""
    path = f"/export/project/{item.project_id}/media"
    async with http.get(f"{claimx.api_url}{path}", headers={"Authorization": f"Basic {claimx.token}"}) as answer:
        links = links_of(await answer.json())
    return next(each for each in reversed(links) if str(item.media_id) in each)


def an_item(claimx: Simulator, form: LinkForm = LinkForm.FILE_SERVICE) -> MediaItem:
    """Return a file that is reached in this way."""
    return next(item for item in claimx.world.media.values() if item.link is form)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_a_script_given_at_the_start_is_in_force_from_then(http: Any, clock: Any) -> None:
    """The first request meets it."""
    script = parse_fault_script(b"[{fail: 1, status: 500, times: 1}]")
    async with Simulator(SimulatorSettings(projects=2, events=10), clock, faults=script) as claimx:
        assert [(await ask(http, claimx))[0] for _ in range(2)] == [500, 200]


async def test_an_error_strikes_the_endpoints_and_ids_that_are_named(start: Any, http: Any) -> None:
    """Others answer as ever; a video report goes by its project."""
    claimx = await start()
    put(claimx, "[{endpoint: [project, report], ids: [900001], fail: 1, status: 502}]")
    assert (await ask(http, claimx))[0] == 502
    assert (await ask(http, claimx, "/export/project/900002"))[0] == 200
    assert (await ask(http, claimx, TASK))[0] == 200
    assert [await report(http, claimx, project) for project in (900_001, 900_002)] == [502, 200]
    assert claimx.injected == {FaultKind.FAIL: 2}
    put(claimx, "[]")
    assert (await ask(http, claimx))[0] == 200


async def test_a_burst_of_429_says_when_to_come_again(start: Any, http: Any, clock: Any) -> None:
    """In seconds or as a date, as the script wants it."""
    claimx = await start()
    put(claimx, "[{throttle: 1, retry_after: 7s}]")
    status, answer = await ask(http, claimx)
    assert (status, answer.headers["Retry-After"]) == (429, "7")
    put(claimx, "[{throttle: 1, retry_after: 7s, form: date}]")
    status, answer = await ask(http, claimx)
    assert (status, parsedate_to_datetime(answer.headers["Retry-After"])) == (429, clock.now() + timedelta(seconds=7))


async def test_a_delay_comes_before_the_answer(start: Any, http: Any) -> None:
    """An answer takes its time, and no less."""
    claimx = await start()
    put(claimx, "[{latency: 40ms}]")
    began = asyncio.get_running_loop().time()
    assert (await ask(http, claimx))[0] == 200
    assert asyncio.get_running_loop().time() - began >= 0.04


async def test_an_outage_that_answers_says_503_to_everybody(start: Any, http: Any, clock: Any) -> None:
    """Within its time, and not the storage where the API alone is down."""
    claimx = await start()
    item = an_item(claimx, LinkForm.STORAGE)
    url = await link(http, claimx, item)
    put(claimx, "[{at: 1s, for: 5s, outage: 503}]")
    assert (await ask(http, claimx))[0] == 200
    clock.advance(1)
    assert (await ask(http, claimx))[0] == 503
    async with http.get(url) as answer:
        assert answer.status == 200
    clock.advance(5)
    assert (await ask(http, claimx))[0] == 200


async def test_an_outage_that_refuses_closes_the_port_and_opens_it_again(start: Any, http: Any) -> None:
    """Open connections end, new ones are refused, and afterwards the same address answers."""
    claimx = await start()
    address = claimx.api_url
    assert (await ask(http, claimx))[0] == 200  # leaves a connection open

    async def refused() -> bool:
        try:
            await ask(http, claimx)
        except aiohttp.ClientConnectorError:
            return True
        except aiohttp.ClientError:
            pass
        return False

    async def answers() -> bool:
        return not await refused()

    for _ in range(2):
        put(claimx, "[{outage: refuse}]")
        await until(refused)
        assert await refused()
        put(claimx, "[]")
        await until(answers)
    assert claimx.api_url == address
    assert claimx.injected == {}


@pytest.mark.parametrize("looks", range(2, 7))
async def test_an_outage_ends_also_if_its_end_passes_between_two_looks_at_the_clock(looks: int, http: Any) -> None:
    """Timers fire a little early: who decides on one look and waits by the next may wait for ever."""
    script = parse_fault_script(b"[{for: 100ms, outage: refuse, endpoint: all}]")
    async with Simulator(SimulatorSettings(projects=2, events=10), _Leaping(looks), faults=script) as claimx:

        async def answers() -> bool:
            try:
                return (await ask(http, claimx))[0] == 200
            except aiohttp.ClientError:
                return False

        await until(answers)


class _Leaping:
    """A clock that stands for so many looks, and is past everything from then on."""

    def __init__(self, looks: int) -> None:
        self._left = looks

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        self._left -= 1
        return 0.0 if self._left >= 0 else 1000.0


async def test_an_outage_begins_and_ends_by_itself(http: Any) -> None:
    """By the clock of the machine, without anybody asking."""
    script = parse_fault_script(b"[{for: 300ms, outage: refuse, endpoint: all}]")
    async with Simulator(SimulatorSettings(projects=2, events=10), faults=script) as claimx:
        met: list[str] = []

        async def over() -> bool:
            try:
                await ask(http, claimx)
            except aiohttp.ClientConnectorError:
                met.append("refused")
                return False
            return bool(met)

        await until(over)


async def test_a_closed_port_ends_with_the_simulator(http: Any) -> None:
    """Leaving it during an outage leaves nothing behind."""
    async with Simulator(SimulatorSettings(projects=2, events=10)) as claimx:
        port = int(claimx.download_hosts[0].split(":")[1])
        put(claimx, "[{outage: refuse}]")
        await asyncio.sleep(0)
    async with Simulator(SimulatorSettings(projects=2, events=10, api_port=port)) as again:
        assert (await ask(http, again))[0] == 200


async def test_a_short_link_says_so_and_is_refused_when_its_time_is_over(start: Any, http: Any, clock: Any) -> None:
    """Both kinds of links; the next list may give a better one."""
    claimx = await start(link_lifetime_s=600)
    put(claimx, "[{short_links: 1, lifetime: 2s, times: 1}]")
    service, storage = an_item(claimx), an_item(claimx, LinkForm.STORAGE)
    short = {item.media_id: await link(http, claimx, item) for item in (service, storage)}
    assert "expires=2000" in short[service.media_id]
    assert "X-Amz-Expires=2&" in short[storage.media_id]
    clock.advance(2)
    for url in short.values():
        async with http.get(url) as answer:
            assert answer.status == 403
    for item in (service, storage):
        async with http.get(await link(http, claimx, item)) as answer:
            assert answer.status == 200


async def test_a_link_that_looks_good_may_be_called_expired(start: Any, http: Any) -> None:
    """In the words of the storage, or of the file service, whichever is to say so."""
    claimx = await start()
    item = an_item(claimx)
    url = await link(http, claimx, item)
    put(claimx, "[{expired: 1, endpoint: link, times: 1}, {expired: 1, times: 1}]")
    async with http.get(url) as answer:
        assert (answer.status, await answer.text()) == (403, "The link is no longer valid.")
    async with http.get(url) as answer:
        assert answer.status == 403
        assert "<Message>Request has expired</Message>" in await answer.text()
    async with http.get(url) as answer:
        assert answer.status == 200


async def test_a_cut_connection_ends_in_the_middle(start: Any, http: Any) -> None:
    """Of an API answer and of a file: the length is promised, half of it comes, and the rest can be asked for."""
    claimx = await start()
    put(claimx, "[{cut: 1, times: 1}]")
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(http, claimx)
    assert (await ask(http, claimx))[0] == 200
    item = an_item(claimx, LinkForm.STORAGE)
    put(claimx, "[]")
    url = await link(http, claimx, item)
    put(claimx, "[{cut: 1, times: 1}]")
    async with http.get(url) as answer:
        data = await answer.content.readexactly(item.size_bytes // 2)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.readany()
    assert (item.size_bytes // 2, item.size_bytes // 2) == (len(data), claimx.bytes_served)
    async with http.get(url, headers={"Range": f"bytes={len(data)}-"}) as answer:
        data += await answer.read()
    assert hashlib.sha256(data).hexdigest() == item.file().sha256()


async def test_a_slow_body_comes_whole(start: Any, http: Any) -> None:
    """Of an API answer and of a file, in many pieces, and not faster than it is to."""
    claimx = await start()
    item = an_item(claimx, LinkForm.STORAGE)
    url = await link(http, claimx, item)
    put(claimx, f"[{{drip: 1, endpoint: [file, project], bytes_per_second: {item.size_bytes * 5}}}]")
    began = asyncio.get_running_loop().time()
    async with http.get(url) as answer:
        data = await answer.read()
    assert hashlib.sha256(data).hexdigest() == item.file().sha256()
    assert asyncio.get_running_loop().time() - began >= 0.09
    assert (await ask(http, claimx))[0] == 200


async def test_faults_are_put_in_force_told_and_ended_over_http(start: Any, http: Any) -> None:
    """On an address of its own, which answers while the API refuses everybody."""
    claimx = await start()
    script = b"[{outage: refuse}, {endpoint: file, cut: 0.5}]"
    async with http.put(claimx.faults_url, data=script) as answer:
        assert answer.status == 204
    async with http.get(claimx.faults_url) as answer:
        assert await answer.json() == {"faults": 2, "in_force_s": 0.0, "injected": {}}
    async with http.delete(claimx.faults_url) as answer:
        assert answer.status == 204

    async def answers() -> bool:
        try:
            return (await ask(http, claimx))[0] == 200
        except aiohttp.ClientError:
            return False

    await until(answers)
    async with http.put(claimx.faults_url, data=b"[{fail: 1, status: 500}]") as answer:
        assert answer.status == 204
    assert (await ask(http, claimx))[0] == 500
    async with http.get(claimx.faults_url) as answer:
        assert (await answer.json())["injected"] == {"fail": 1}


async def test_a_script_with_a_mistake_changes_nothing(start: Any, http: Any) -> None:
    """What is wrong is told, and the faults in force stay."""
    claimx = await start()
    put(claimx, "[{fail: 1, status: 500}]")
    async with http.put(claimx.faults_url, data=b"[{fail: 3}, {}]") as answer:
        told = (await answer.text()).splitlines()
        assert (answer.status, len(told)) == (400, 2)
        assert told[0] == "fault 1: fail must be a share from 0 to 1"
    assert (await ask(http, claimx))[0] == 500


async def test_without_faults_nothing_is_struck(start: Any, http: Any) -> None:
    """A ClaimX that behaves counts no fault."""
    claimx = await start()
    claimx.put_faults(NO_FAULTS)
    assert (await ask(http, claimx))[0] == 200
    assert claimx.injected == {}
