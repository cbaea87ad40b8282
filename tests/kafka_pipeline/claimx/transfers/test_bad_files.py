"""Whatever a link leads to has a category, in both modes, and leaves nothing behind (issue 4, bad input; [7.3])."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload
from kafka_pipeline.common.failures import Category, UnavailableError
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Wait

SECRET = "PLANTED-4711"
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


async def endless(write: Any) -> None:
    """Send bytes for ever."""
    await write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")


async def drip(write: Any) -> None:
    """Send a byte now and then: never silent for long, never done."""
    await write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await write(b"x")
        await asyncio.sleep(0.02)


async def silent(write: Any) -> None:
    """Begin, and say nothing more."""
    await write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
    await asyncio.sleep(60)


async def cut(write: Any) -> None:
    """Promise more than comes."""
    await write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)


def told(outcome: Outcome) -> tuple[str, str]:
    """Return what becomes of the record, and under which word."""
    match outcome:
        case Retry():
            assert SECRET not in outcome.error_text
            return "retry", outcome.category.value
        case Dead():
            assert SECRET not in outcome.error_text
            return "dead", outcome.reason
        case _:
            raise AssertionError(outcome)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ("retry", "auth")),
        (404, ("dead", "not_found")),
        (408, ("retry", "transient")),
        (410, ("dead", "not_found")),
        (416, ("dead", "permanent")),
        (418, ("dead", "permanent")),
        (429, ("retry", "transient")),
        (500, ("retry", "transient")),
        (503, ("retry", "transient")),
        (206, ("retry", "transient")),
        (304, ("dead", "permanent")),
    ],
)
async def test_each_answer_has_its_category(bench: Any, status: int, expected: tuple[str, str]) -> None:
    """One request, no refresh, nothing left."""
    bench.server.scripts["/f"] = bench.answer(status)
    assert told(await bench.download(bench.task())) == expected
    assert (bench.server.asked["/f"], bench.api.calls, bench.left_behind(), bench.rows()) == (1, 0, [], [])


@pytest.mark.parametrize(
    ("script", "limits", "expected"),
    [
        (cut, {"max_resumes": 1}, ("retry", "transient")),
        (endless, {"max_bytes": 100_000}, ("dead", "permanent")),
        (endless, {"total_timeout_s": 0.3}, ("retry", "transient")),
        (drip, {"total_timeout_s": 0.3}, ("retry", "transient")),
        (silent, {"read_timeout_s": 0.1, "max_resumes": 0}, ("retry", "transient")),
    ],
    ids=["wrong length", "endless body, bounded", "endless body", "slow drip", "silence"],
)
async def test_a_body_that_is_none_has_its_category(
    bench: Any, script: Any, limits: dict[str, Any], expected: tuple[str, str]
) -> None:
    """What came of it is gone, from disk and lake."""
    bench.server.scripts["/f"] = script
    assert told(await bench.download(bench.task(), **limits)) == expected
    assert (bench.left_behind(), bench.rows()) == ([], [])


@pytest.mark.parametrize(
    "location",
    [
        "/f",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal/",
        "https://elsewhere.example.com/f",
        "http://localhost:1/f",
        "",
    ],
)
async def test_a_redirect_that_leads_nowhere_good_is_permanent(bench: Any, location: str) -> None:
    """A loop, another scheme, a metadata address, another host or port."""
    bench.server.scripts["/f"] = bench.answer(302, Location=location)
    assert told(await bench.download(bench.task())) == ("dead", "permanent")
    assert bench.server.asked["/f"] == (6 if location == "/f" else 1)
    assert bench.left_behind() == []


@pytest.mark.parametrize(
    "link",
    ["ftp://localhost/f", "http://elsewhere.example.com/f", "https://127.0.0.1/f", "http://user:pw@localhost/f", "x"],
)
async def test_a_link_that_is_never_followed_is_permanent(bench: Any, link: str) -> None:
    """No request is made."""
    outcome = await bench.download(bench.task(download_url=f"{link}?sig={SECRET}"))
    assert told(outcome) == ("dead", "permanent")
    assert bench.server.asked.total() == 0


async def test_a_server_that_cannot_prove_who_it_is_is_not_believed(bench: Any) -> None:
    """TLS: transient, because certificates get renewed; never relaxed."""
    outcome = await bench.download(bench.task(download_url=bench.link("/f", scheme="https")))
    assert told(outcome) == ("retry", "transient")
    assert "tls" in outcome.error_text


async def test_a_login_page_is_no_file(bench: Any) -> None:
    """Settled point 12."""
    bench.server.scripts["/f"] = bench.answer(200, b"<html>", Content_Type="text/html")
    assert told(await bench.download(bench.task())) == ("retry", "auth")
    assert bench.left_behind() == []


async def test_a_server_that_asks_for_time_gets_it(bench: Any) -> None:
    """429 with Retry-After: the next attempt is not before that, and the host's other files wait a minute at most."""
    bench.server.scripts["/f"] = bench.answer(429, Retry_After="600")
    before = datetime.now(UTC)
    outcome = await bench.download(bench.task())
    assert isinstance(outcome, Retry)
    assert outcome.not_before is not None
    assert before + timedelta(seconds=599) <= outcome.not_before <= datetime.now(UTC) + timedelta(seconds=600)


async def test_403_costs_one_fresh_link_and_then_it_is_for_good(bench: Any) -> None:
    """LNK-6: not known to be expired, so one refresh; the second 403 ends in the dead letters."""
    bench.server.scripts = {"/f": bench.answer(403, b"AccessDenied"), "/fresh": bench.answer(403, b"AccessDenied")}
    bench.api.links = {"71": bench.link("/fresh")}
    assert told(await bench.download(bench.task())) == ("dead", "permanent")
    assert bench.server.asked == {"/f": 1, "/fresh": 1}
    bench.server.asked.clear()
    assert told(await bench.download(bench.task(refresh_count=1))) == ("dead", "permanent")
    assert (bench.server.asked, bench.api.calls) == ({"/f": 1}, 1)


@pytest.mark.parametrize(
    ("status", "body"), [(403, EXPIRED), (400, b"<Code>ExpiredToken</Code>"), (403, b"AccessDenied")]
)
async def test_a_fresh_link_is_tried_at_once_and_counts_as_no_attempt(bench: Any, status: int, body: bytes) -> None:
    """LNK-5: the file arrives in the same attempt."""
    bench.server.scripts = {"/f": bench.answer(status, body), "/fresh": bench.answer(200, b"a photo")}
    bench.api.links = {"71": bench.link("/fresh")}
    outcome = await bench.download(bench.task(retry_count=3))
    assert isinstance(outcome, Done)
    [message] = outcome.messages
    schema = ClaimXCachedDownload if bench.mode == "cached" else ClaimXUploadResult
    assert schema.from_bytes(message.value).retry_count == 3
    assert bench.left_behind() == ["leak.jpg"]


async def test_a_link_that_expires_again_after_its_refresh_is_transient_and_travels_on(bench: Any) -> None:
    """Settled point 9: the next attempt begins with what this one learned."""
    bench.server.scripts = {"/f": bench.answer(403, EXPIRED), "/fresh": bench.answer(403, EXPIRED)}
    bench.api.links = {"71": bench.link("/fresh")}
    task = bench.task()
    outcome = await bench.download(task)
    assert told(outcome) == ("retry", "transient")
    assert isinstance(outcome, Retry)
    assert outcome.value is not None
    carried = type(task).from_bytes(outcome.value)
    assert (carried.download_url, carried.refresh_count) == (bench.link("/fresh"), 1)
    assert bench.server.asked == {"/f": 1, "/fresh": 1}


@pytest.mark.parametrize("known", [True, False], ids=["file not listed", "project unknown"])
async def test_a_refresh_that_fails_decides_by_its_own_category_with_the_old_link(bench: Any, *, known: bool) -> None:
    """LNK-5: nothing new travels on."""
    bench.api.known = known
    outcome = await bench.download(bench.task(expires_at=datetime.now(UTC)))
    assert told(outcome) == (("retry", "transient") if known else ("dead", "not_found"))
    assert getattr(outcome, "value", None) is None
    assert bench.server.asked.total() == 0


async def test_a_zero_byte_file_is_a_file(bench: Any) -> None:
    """It is stored, with its size and the hash of nothing."""
    bench.server.scripts["/f"] = bench.answer(200, b"")
    outcome = await bench.download(bench.task())
    assert isinstance(outcome, Done)
    if bench.mode == "cached":
        [outcome] = await bench.uploader().process([bench.record(outcome.messages[0].value)])
        assert isinstance(outcome, Done)
    assert await bench.files.head("claimx/1/71/leak.jpg") == 0
    [row] = bench.rows()
    assert (row["bytes_downloaded"], row["content_sha256"][:8]) == (0, "e3b0c442")


async def test_a_gzip_bomb_stays_as_small_as_it_travelled(bench: Any) -> None:
    """Nothing is ever inflated: the cap counts the bytes that come, and those are the bytes that are kept."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    bench.server.scripts["/f"] = bench.answer(200, bomb, Content_Encoding="gzip")
    outcome = await bench.download(bench.task(), max_bytes=len(bomb))
    assert isinstance(outcome, Done)
    assert bench.kept() == [bomb]


async def test_a_host_that_is_down_keeps_its_files_waiting_alone(bench: Any) -> None:
    """Settled point 7: no attempt is burnt once it is known; all other files go on."""
    bench.server.scripts = {"/f": bench.answer(503), "/g": bench.answer(200, b"g")}
    worker = await bench.worker(circuit=CircuitSettings(failure_threshold=3, reset_s=2.0))
    outcomes = [(await worker.process([bench.record(bench.task("/f", str(n)))]))[0] for n in range(5)]
    assert [type(outcome) for outcome in outcomes] == [Retry, Retry, Wait, Wait, Wait]
    assert bench.server.asked["/f"] == 3
    waiting = outcomes[-1]
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.alone) == ("host_unavailable", True)
    await waiting.until()
    [outcome] = await worker.process([bench.record(bench.task("/g", "9"))])
    assert isinstance(outcome, Done)


async def test_an_api_that_is_down_keeps_only_the_files_waiting_that_need_it(bench: Any) -> None:
    """A file whose link is good goes on; one that needs a fresh link waits, alone, and no attempt is burnt."""

    async def until() -> None:
        """Return at once."""

    bench.server.scripts["/f"] = bench.answer(200, b"f")
    bench.api.fails = UnavailableError("claimx_api is known to be down", until)
    assert isinstance(await bench.download(bench.task()), Done)
    waiting = await bench.download(bench.task(media_id="72", expires_at=datetime.now(UTC)))
    assert isinstance(waiting, Wait)
    assert waiting.alone
    assert Category.CIRCUIT_OPEN.value == waiting.reason
