"""A download ends in a whole file or in nothing, whatever the server does."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import ssl
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.common.clock import SYSTEM_CLOCK
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.errors import OF_THE_HOST, DownloadError, Fault
from kafka_pipeline.common.http.guard import Credential, DownloadPolicy, Origin

BODY = bytes(range(256)) * 300
SECRET = "canary-4711"
HEAD = f'HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\nETag: "v1"\r\nConnection: close\r\n\r\n'.encode()


async def failing(kit: Any, url: str, **options: Any) -> DownloadError:
    """Download, expect a failure, and check what holds for every failure: nothing leaks, nothing stays."""
    async with kit.downloader(**options) as downloader:
        with pytest.raises(DownloadError) as caught:
            await downloader.download(url, kit.target)
    assert kit.left_behind() == []
    assert SECRET not in str(caught.value)
    assert "/secret-path" not in str(caught.value)
    return caught.value


async def test_a_file_arrives_whole_with_its_hash(kit: Any) -> None:
    """Bytes, size, hash and content type are those the server sent; nothing else is in the folder."""
    server = await kit.server(kit.answer(200, BODY, Content_Type="image/jpeg"))

    async with kit.downloader() as downloader:
        got = await downloader.download(server.url("/f?sig=1"), kit.target)

    assert kit.target.read_bytes() == BODY
    assert (got.bytes_downloaded, got.sha256, got.content_type) == (
        len(BODY),
        hashlib.sha256(BODY).hexdigest(),
        "image/jpeg",
    )
    assert kit.left_behind() == ["photo.jpg"]
    assert stat.S_IMODE(kit.target.stat().st_mode) & 0o007 == 0


async def test_path_and_query_go_over_the_wire_unchanged(kit: Any) -> None:
    """A presigned link is signed over these bytes; what cannot travel as it is is percent-encoded."""
    server = await kit.server(kit.answer(200, b"x"))
    signed = "/a%2Fb/c+d%20e;v=1?X-Amz-Credential=A%2f20260101%2Fs3&filename=front door ü.jpg&e=&q=a=b"

    async with kit.downloader() as downloader:
        await downloader.download(server.url(signed), kit.target)

    assert signed.replace(" ", "%20").replace("ü", "%C3%BC") == server.requests[0].target
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_zero_bytes_are_a_file(kit: Any) -> None:
    """An empty file is complete when its length says zero."""
    server = await kit.server(kit.answer(200, b""))

    async with kit.downloader() as downloader:
        got = await downloader.download(server.url("/f"), kit.target)

    assert (0, b"", hashlib.sha256(b"").hexdigest()) == (got.bytes_downloaded, kit.target.read_bytes(), got.sha256)


async def test_a_body_without_length_is_taken_to_its_end(kit: Any) -> None:
    """Chunked answers have no Content-Length."""

    async def chunked(_request: Any, write: Any) -> None:
        await write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(BODY), 10_000):
            chunk = BODY[start : start + 10_000]
            await write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        await write(b"0\r\n\r\n")

    server = await kit.server(chunked)

    async with kit.downloader() as downloader:
        await downloader.download(server.url("/f"), kit.target)

    assert kit.target.read_bytes() == BODY


async def test_compressed_bytes_are_never_inflated(kit: Any) -> None:
    """A bomb stays as small as it travelled."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    server = await kit.server(kit.answer(200, bomb, Content_Encoding="gzip"))

    async with kit.downloader(max_bytes=len(bomb)) as downloader:
        got = await downloader.download(server.url("/f"), kit.target)

    assert (len(bomb), "gzip") == (got.bytes_downloaded, got.content_encoding)
    assert kit.target.read_bytes() == bomb


@pytest.mark.parametrize(
    ("status", "body", "fault", "category"),
    [
        (401, b"", Fault.UNAUTHORIZED, Category.AUTH),
        (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message>", Fault.FORBIDDEN, Category.PERMANENT),
        (403, b"Request has expired, says some page", Fault.FORBIDDEN, Category.PERMANENT),
        (403, b"<Error><Message>Request has expired</Message></Error>", Fault.EXPIRED, Category.URL_EXPIRED),
        (403, b"x" * 5000 + b"<Message>Request has expired</Message>", Fault.FORBIDDEN, Category.PERMANENT),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", Fault.EXPIRED, Category.URL_EXPIRED),
        (400, b"<Error><Code>Other</Code></Error>", Fault.REQUEST_REFUSED, Category.PERMANENT),
        (404, b"", Fault.NOT_FOUND, Category.PERMANENT),
        (408, b"", Fault.THROTTLED, Category.TRANSIENT),
        (416, b"", Fault.REQUEST_REFUSED, Category.PERMANENT),
        (429, b"", Fault.THROTTLED, Category.TRANSIENT),
        (500, b"", Fault.SERVER_ERROR, Category.TRANSIENT),
        (503, b"", Fault.SERVER_ERROR, Category.TRANSIENT),
        (206, b"abc", Fault.SHORT_BODY, Category.TRANSIENT),
        (304, b"", Fault.REQUEST_REFUSED, Category.PERMANENT),
    ],
)
async def test_a_status_decides_what_becomes_of_the_task(
    kit: Any, status: int, body: bytes, fault: Fault, category: Category
) -> None:
    """Section 7.3, and LNK-6 for 400 and 403: one request, one typed error."""
    server = await kit.server(kit.answer(status, body))

    error = await failing(kit, server.url(f"/secret-path?sig={SECRET}"))

    assert (fault, category, status) == (error.fault, error.category, error.status)
    assert error.expired is (fault is Fault.EXPIRED)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("7", 7, 7), ("Wed, 21 Oct 2026 07:28:00 GMT", None, None), ("0", None, None), ("x", None, None)],
)
async def test_retry_after_is_told(kit: Any, value: str, low: float | None, high: float | None) -> None:
    """Seconds count; a past date, zero and garbage are no wish at all."""
    server = await kit.server(kit.answer(429, Retry_After=value))

    error = await failing(kit, server.url("/f"))

    assert (low, high) == (error.retry_after_s, error.retry_after_s)


async def test_retry_after_as_a_date_is_told_in_seconds(kit: Any) -> None:
    """The other form of the header."""
    then = SYSTEM_CLOCK.now() + timedelta(seconds=100)
    server = await kit.server(kit.answer(503, Retry_After=then.strftime("%a, %d %b %Y %H:%M:%S GMT")))

    error = await failing(kit, server.url("/f"))

    assert error.retry_after_s is not None
    assert 60 < error.retry_after_s <= 100
    assert error.not_before is not None
    assert then - timedelta(seconds=2) <= error.not_before <= then


@pytest.mark.parametrize(("name", "refused"), [("photo.jpg", True), ("noextension", True), ("report.HTML", False)])
async def test_a_page_in_place_of_a_file_is_the_login(kit: Any, name: str, refused: bool) -> None:  # noqa: FBT001
    """Unless a page is what was asked for."""
    server = await kit.server(kit.answer(200, b"<html>", Content_Type="text/html; charset=utf-8"))

    async with kit.downloader() as downloader:
        if not refused:
            await downloader.download(server.url("/f"), kit.folder / name)
            return
        with pytest.raises(DownloadError) as caught:
            await downloader.download(server.url("/f"), kit.folder / "x.html", file_name=name)

    assert (caught.value.fault, caught.value.category) == (Fault.LOGIN_PAGE, Category.AUTH)


class TestCuts:
    """A connection that breaks in the middle of a body."""

    async def test_goes_on_where_the_body_was_cut(self, kit: Any) -> None:
        """By Range with If-Range, until the file is whole; hash and bytes are those of one piece."""

        async def part(request: Any, write: Any) -> None:
            start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
            stop = min(start + 20_000, len(BODY))
            head = f'HTTP/1.1 206 P\r\nContent-Length: {len(BODY) - start}\r\nETag: "v1"\r\n'
            await write(
                f"{head}Content-Range: bytes {start}-{len(BODY) - 1}/{len(BODY)}\r\n\r\n".encode() + BODY[start:stop]
            )

        async def cut(_request: Any, write: Any) -> None:
            await write(HEAD + BODY[:30_000])

        server = await kit.server(cut, part)

        async with kit.downloader() as downloader:
            got = await downloader.download(server.url("/f"), kit.target)

        assert kit.target.read_bytes() == BODY
        assert hashlib.sha256(BODY).hexdigest() == got.sha256
        assert (got.resumes, server.requests[1].headers["if-range"]) == (3, '"v1"')
        assert [r.headers["range"] for r in server.requests[1:]] == ["bytes=30000-", "bytes=50000-", "bytes=70000-"]

    @pytest.mark.parametrize("second", ["new file", "other part", "other version", "416"])
    async def test_begins_again_when_the_file_is_not_the_same(self, kit: Any, second: str) -> None:
        """200, a 206 of something else, and 416 all mean: what we have is worth nothing."""
        new = b"another file entirely"

        async def cut(_request: Any, write: Any) -> None:
            await write(HEAD + BODY[:30_000])

        odd = {
            "new file": kit.answer(200, new),
            "other part": kit.answer(206, BODY[7:], ETag='"v1"', Content_Range=f"bytes 7-{len(BODY) - 1}/{len(BODY)}"),
            "other version": kit.answer(
                206, BODY[30_000:], ETag='"v2"', Content_Range=f"bytes 30000-{len(BODY) - 1}/{len(BODY)}"
            ),
            "416": kit.answer(416, Content_Range="bytes */20"),
        }[second]
        server = await kit.server(cut, odd, kit.answer(200, new))

        async with kit.downloader() as downloader:
            got = await downloader.download(server.url("/f"), kit.target)

        assert (new, hashlib.sha256(new).hexdigest()) == (kit.target.read_bytes(), got.sha256)
        assert "range" not in server.requests[-1].headers or second == "new file"

    @pytest.mark.parametrize("validator", ["", 'ETag: W/"weak"\r\n'])
    async def test_begins_again_without_a_validator(self, kit: Any, validator: str) -> None:
        """Nothing says that the rest belongs to the same file, so no Range is asked for."""

        async def cut(_request: Any, write: Any) -> None:
            await write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n{validator}\r\n".encode() + BODY[:30_000])

        server = await kit.server(cut, kit.answer(200, BODY))

        async with kit.downloader() as downloader:
            await downloader.download(server.url("/f"), kit.target)

        assert kit.target.read_bytes() == BODY
        assert "range" not in server.requests[1].headers

    async def test_a_date_is_a_validator_too(self, kit: Any) -> None:
        """Where there is no strong ETag, the date of the last change is asked for."""
        changed = "Wed, 21 Oct 2026 07:28:00 GMT"

        async def cut(_request: Any, write: Any) -> None:
            await write(f"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nLast-Modified: {changed}\r\n\r\nabc".encode())

        server = await kit.server(cut, kit.answer(206, b"def", Content_Range="bytes 3-5/6"))

        async with kit.downloader() as downloader:
            await downloader.download(server.url("/f"), kit.target)

        assert (b"abcdef", changed) == (kit.target.read_bytes(), server.requests[1].headers["if-range"])

    async def test_a_length_that_is_never_reached_is_a_short_body(self, kit: Any) -> None:
        """Going on has an end: after a few cuts the attempt fails, to be tried again later."""
        server = await kit.server(kit.answer(200, b"abc", Content_Length="10"))

        error = await failing(kit, server.url("/f"), max_resumes=2)

        assert (error.fault, error.category, len(server.requests)) == (Fault.SHORT_BODY, Category.TRANSIENT, 3)

    async def test_a_length_that_is_exceeded_is_not_taken_for_the_file(self, kit: Any) -> None:
        """Which of body and length is right nobody can know: the answer is no HTTP, and may be better later."""
        server = await kit.server(kit.answer(200, b"abcdef", Content_Length="3"))

        error = await failing(kit, server.url("/f"))

        assert (error.fault, error.category) == (Fault.SERVER_ERROR, Category.TRANSIENT)

    async def test_an_error_while_going_on_is_told_as_it_is(self, kit: Any) -> None:
        """A link that expires between two parts is an expired link."""

        async def cut(_request: Any, write: Any) -> None:
            await write(HEAD + BODY[:30_000])

        server = await kit.server(cut, kit.answer(403, b"<Message>Request has expired</Message>"))

        error = await failing(kit, server.url("/f"))

        assert error.expired


class TestLimits:
    """Time, size and room are bounded."""

    async def test_silence_ends_the_download(self, kit: Any) -> None:
        """A server that says nothing more is left after the read time-out."""

        async def silent(_request: Any, write: Any) -> None:
            await write(HEAD + b"abc")
            await asyncio.sleep(60)

        server = await kit.server(silent)

        error = await failing(kit, server.url("/f"), read_timeout_s=0.1, max_resumes=0)

        assert (error.fault, error.category) == (Fault.TIMED_OUT, Category.TRANSIENT)

    async def test_a_slow_drip_ends_with_the_whole_attempt(self, kit: Any) -> None:
        """Never silent for long enough, and yet over."""

        async def drip(_request: Any, write: Any) -> None:
            await write(HEAD)
            while True:
                await write(b"a")
                await asyncio.sleep(0.02)

        server = await kit.server(drip)

        error = await failing(kit, server.url("/f"), read_timeout_s=5.0, total_timeout_s=0.3)

        assert Fault.TIMED_OUT is error.fault

    async def test_a_server_that_never_answers_ends_too(self, kit: Any) -> None:
        """Before a single header."""

        async def mute(_request: Any, _write: Any) -> None:
            await asyncio.sleep(60)

        server = await kit.server(mute)

        error = await failing(kit, server.url("/f"), read_timeout_s=0.1)

        assert Fault.TIMED_OUT is error.fault

    async def test_an_error_body_that_never_ends_is_not_waited_for(self, kit: Any) -> None:
        """The few bytes that tell expired from forbidden have a time-out of their own."""

        async def endless(_request: Any, write: Any) -> None:
            await write(b"HTTP/1.1 403 F\r\nContent-Length: 4000\r\n\r\n<Message>Request has expired</Message>")
            await asyncio.sleep(60)

        server = await kit.server(endless)

        error = await failing(kit, server.url("/f"), read_timeout_s=0.1)

        assert error.expired

    @pytest.mark.parametrize("length", ["Content-Length: 99999999", "Transfer-Encoding: chunked", "X: y"])
    async def test_an_endless_body_is_cut_at_the_limit(self, kit: Any, length: str) -> None:
        """Whether the server says how long it is, or not."""

        async def endless(_request: Any, write: Any) -> None:
            await write(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode())
            while True:
                await write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

        server = await kit.server(endless)

        error = await failing(kit, server.url("/f"), max_bytes=100_000)

        assert (error.fault, error.category) == (Fault.TOO_LARGE, Category.PERMANENT)

    @pytest.mark.parametrize(("chunked", "needed"), [(False, len(BODY)), (True, 16 << 20)])
    async def test_no_room_ends_before_anything_is_written(self, kit: Any, chunked: bool, needed: int) -> None:  # noqa: FBT001
        """And says how much room there must be the next time."""
        head = (
            f"Transfer-Encoding: chunked\r\n\r\n{len(BODY):x}\r\n"
            if chunked
            else f"Content-Length: {len(BODY)}\r\n\r\n"
        )

        async def script(_request: Any, write: Any) -> None:
            await write(f"HTTP/1.1 200 OK\r\n{head}".encode() + BODY)

        server = await kit.server(script)
        async with kit.downloader() as downloader:
            with pytest.raises(DownloadError) as caught:
                await downloader.download(server.url("/f"), kit.target, room=lambda _bytes: False)

        assert (Fault.NO_ROOM, needed, []) == (caught.value.fault, caught.value.needed_bytes, kit.left_behind())

    async def test_a_cancelled_download_leaves_nothing(self, kit: Any) -> None:
        """Shut down in the middle of a body: no partial file stays."""

        async def stalled(_request: Any, write: Any) -> None:
            await write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(2 << 20))
            await asyncio.sleep(60)

        server = await kit.server(stalled)
        async with kit.downloader() as downloader:
            task = asyncio.create_task(downloader.download(server.url("/f"), kit.target))
            while kit.left_behind() == []:  # more than a megabyte is on the disk before the rest has come
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert kit.left_behind() == []

    async def test_a_cache_that_cannot_be_written_is_no_fault_of_the_file(self, kit: Any) -> None:
        """It is told apart, so that readiness can say so; the attempt may be made again."""
        server = await kit.server(kit.answer(200, BODY))
        (kit.folder / "claims").write_bytes(b"a file where the folder should be")

        async with kit.downloader() as downloader:
            with pytest.raises(DownloadError) as caught:
                await downloader.download(server.url("/f"), kit.target)

        assert (
            caught.value.fault,
            caught.value.category,
            caught.value.reason,
        ) == (Fault.CACHE_UNWRITABLE, Category.TRANSIENT, "cache_unwritable")

    async def test_a_full_disk_leaves_nothing(self, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write that fails half-way takes what was written with it."""

        def full(*_args: object) -> int:
            raise OSError(28, "No space left on device", str(kit.target))

        server = await kit.server(kit.answer(200, BODY))
        monkeypatch.setattr(os, "writev", full)

        error = await failing(kit, server.url("/f"))

        assert Fault.CACHE_UNWRITABLE is error.fault
        assert "photo" not in str(error)


class TestSinks:
    """A download goes wherever its caller wants it: the sink is the only one who knows."""

    class Held:
        """Takes bytes into memory, as slowly and as unwillingly as it is told."""

        def __init__(self) -> None:
            self.kept = b""
            self.size_bytes = 0
            self.sha256 = ""
            self.calls: list[str] = []
            self.stalls = False
            self.fails: PipelineError | None = None

        async def open(self) -> None:
            """Note it."""
            self.calls.append("open")

        async def write(self, data: bytes | bytearray) -> None:
            """Take, stall or fail."""
            if self.fails:
                raise self.fails
            if self.stalls:
                await asyncio.sleep(60)
            self.kept += bytes(data)
            self.size_bytes = len(self.kept)

        async def restart(self) -> None:
            """Forget."""
            self.calls.append("restart")
            self.kept, self.size_bytes = b"", 0

        async def finish(self) -> None:
            """Note it."""
            self.calls.append("finish")

        async def discard(self) -> None:
            """Note it."""
            self.calls.append("discard")

    async def test_bytes_go_into_the_sink_and_nowhere_else(self, kit: Any) -> None:
        """Cut, and begun again because the file changed: what the sink holds in the end is the file."""

        async def cut(_request: Any, write: Any) -> None:
            await write(HEAD + BODY[:50_000])

        server = await kit.server(cut, kit.answer(200, BODY[::-1], ETag='"v2"'))
        sink = self.Held()

        async with kit.downloader() as downloader:
            got = await downloader.stream(server.url("/f"), sink, file_name="f.jpg")

        assert (BODY[::-1], len(BODY), 1) == (sink.kept, got.bytes_downloaded, got.resumes)
        assert sink.calls == ["open", "restart", "finish", "discard"]
        assert kit.left_behind() == []

    async def test_a_sink_that_fails_is_told_to_forget(self, kit: Any) -> None:
        """Its own error comes out unchanged, and nothing is finished."""
        server = await kit.server(kit.answer(200, BODY))
        sink = self.Held()
        sink.fails = PipelineError("the lake is away", Category.TRANSIENT)

        async with kit.downloader() as downloader:
            with pytest.raises(PipelineError, match="the lake is away"):
                await downloader.stream(server.url("/f"), sink, file_name="f.jpg")

        assert sink.calls == ["open", "discard"]

    async def test_a_sink_that_takes_too_long_is_not_the_hosts_fault(self, kit: Any) -> None:
        """A breaker of the host must not count it."""
        server = await kit.server(kit.answer(200, BODY))
        sink = self.Held()
        sink.stalls = True

        async with kit.downloader(total_timeout_s=0.2) as downloader:
            with pytest.raises(DownloadError) as caught:
                await downloader.stream(server.url("/f"), sink, file_name="f.jpg")

        assert (caught.value.fault, caught.value.category) == (Fault.SINK_SLOW, Category.TRANSIENT)
        assert Fault.SINK_SLOW not in OF_THE_HOST
        assert sink.calls == ["open", "discard"]


class TestRedirects:
    """Every hop is checked like the first one."""

    async def test_follows_to_an_allowed_host(self, kit: Any) -> None:
        """Relative and absolute targets, each kind of redirect."""
        storage = await kit.server(kit.answer(200, BODY))
        hops = [kit.answer(status, Location=f"/hop{status}") for status in (301, 302, 303, 307)]
        service = await kit.server(*hops, kit.answer(308, Location=storage.url("/final?sig=a%2Fb")))

        async with kit.downloader() as downloader:
            await downloader.download(service.url("/start"), kit.target)

        assert kit.target.read_bytes() == BODY
        assert storage.requests[0].target == "/final?sig=a%2Fb"
        assert [r.target for r in service.requests] == ["/start", "/hop301", "/hop302", "/hop303", "/hop307"]

    async def test_a_loop_ends_after_five_hops(self, kit: Any) -> None:
        """Six requests: the first one, and five redirects followed."""
        server = await kit.server(kit.answer(302, Location="/again"))

        error = await failing(kit, server.url("/f"))

        assert (error.fault, error.category, len(server.requests)) == (Fault.TOO_MANY_REDIRECTS, Category.PERMANENT, 6)

    @pytest.mark.parametrize(
        "location",
        [
            "file:///etc/passwd",
            "http://169.254.169.254/latest/meta-data",
            "https://169.254.169.254/",
            "//metadata.google.internal/",
            f"https://other.example.com/secret-path?sig={SECRET}",
            "http://user:pw@localhost/x",
            "https://localhost/",
            "javascript:alert(1)",
            "http://[::1/",
            "http:///nowhere",
            "",
        ],
    )
    async def test_a_redirect_elsewhere_is_refused(self, kit: Any, location: str) -> None:
        """Whatever is not on the list, on its port, over its scheme."""
        server = await kit.server(kit.answer(302, Location=location))

        error = await failing(kit, server.url("/f"))

        assert (error.fault, error.category) == (Fault.REDIRECT_REFUSED, Category.PERMANENT)
        assert len(server.requests) == 1

    async def test_a_redirect_to_the_login_means_our_credential(self, kit: Any) -> None:
        """Also where the login's host would not be allowed: it is not asked, only recognised."""
        server = await kit.server(kit.answer(302, Location="https://login.example.com/signin?next=/f"))

        error = await failing(kit, server.url("/f"), is_login_page=lambda url: url.host == "login.example.com")

        assert (error.fault, error.category) == (Fault.LOGIN_PAGE, Category.AUTH)

    async def test_the_credential_stays_with_its_origin(self, kit: Any) -> None:
        """Scheme, host and port: another port is another origin, and there is no way back."""
        api = await kit.server()
        storage = await kit.server(kit.answer(302, Location=api.url("/back")))
        api.scripts = [
            kit.answer(302, Location="/same"),
            kit.answer(302, Location=storage.url("/elsewhere")),
            kit.answer(200, BODY),
        ]
        credential = Credential(origin=Origin.parse(api.url("/")), headers={"Authorization": f"Bearer {SECRET}"})

        async with kit.downloader() as downloader:
            await downloader.download(api.url("/f"), kit.target, credential=credential)

        assert ["authorization" in request.headers for request in api.requests] == [True, True, False]
        assert ["authorization" in request.headers for request in storage.requests] == [False]
        assert SECRET not in repr(credential)

    async def test_cookies_are_not_kept(self, kit: Any) -> None:
        """A cookie would be a credential that crosses requests."""
        server = await kit.server(kit.answer(302, Location="/again", Set_Cookie="a=b"), kit.answer(200, BODY))

        async with kit.downloader() as downloader:
            await downloader.download(server.url("/f"), kit.target)

        assert ["cookie" in request.headers for request in server.requests] == [False, False]


class TestAddresses:
    """The address that is checked is the one that is connected to."""

    async def test_an_allowed_name_with_a_private_address_is_blocked(self, kit: Any) -> None:
        """Being on the list is not enough: nobody connects to loopback for a public name."""
        server = await kit.server(kit.answer(200, BODY))
        resolver = kit.resolver(["127.0.0.1"])

        error = await failing(
            kit,
            f"https://storage.example.com/secret-path?sig={SECRET}",
            resolver=resolver,
            allowed_hosts=frozenset({"storage.example.com"}),
        )

        assert (error.fault, error.category) == (Fault.ADDRESS_BLOCKED, Category.PERMANENT)
        assert server.requests == []

    async def test_a_name_that_changes_its_answer_is_asked_once(self, kit: Any) -> None:
        """What is connected to is the answer that was checked; a second, worse one never comes into play."""
        server = await kit.server(kit.answer(200, BODY))
        pair = f"storage.example.com:{server.port}"
        resolver = kit.resolver(["127.0.0.1"], ["169.254.169.254"])

        async with kit.downloader(resolver=resolver, private_hosts=frozenset({pair})) as downloader:
            await downloader.download(f"http://{pair}/f", kit.target)

        assert resolver.asked == ["storage.example.com"]
        assert kit.target.read_bytes() == BODY

    async def test_a_pair_that_is_allowed_does_not_open_the_metadata_service(self, kit: Any) -> None:
        """The setting admits private addresses, not link-local ones."""
        error = await failing(
            kit,
            "http://storage.example.com:8080/f",
            resolver=kit.resolver(["169.254.169.254"]),
            private_hosts=frozenset({"storage.example.com:8080"}),
        )

        assert Fault.ADDRESS_BLOCKED is error.fault

    async def test_a_name_without_an_address_may_have_one_later(self, kit: Any) -> None:
        """DNS failures are transient."""
        error = await failing(
            kit,
            "https://storage.example.com/f",
            resolver=kit.resolver([]),
            allowed_hosts=frozenset({"storage.example.com"}),
        )

        assert (error.fault, error.category) == (Fault.NETWORK, Category.TRANSIENT)


class TestConnections:
    """What is no HTTP, or not who it says it is."""

    async def test_a_self_signed_server_is_not_believed(self, kit: Any, certificate: tuple[Path, Path]) -> None:
        """TLS is verified, also for pairs of the setting."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server = await kit.server(kit.answer(200, BODY), ssl=context)

        error = await failing(kit, server.url(f"/secret-path?sig={SECRET}"))

        assert (error.fault, error.category) == (Fault.TLS, Category.TRANSIENT)
        assert server.requests == []

    async def test_a_certificate_of_an_added_authority_is_believed(
        self, kit: Any, certificate: tuple[Path, Path]
    ) -> None:
        """The very same server, once its certificate is trusted."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server = await kit.server(kit.answer(200, BODY), ssl=context)
        trusting = ssl.create_default_context(cafile=str(certificate[0]))

        async with kit.downloader(ssl_context=trusting) as downloader:
            await downloader.download(server.url("/f"), kit.target)

        assert kit.target.read_bytes() == BODY

    def test_a_context_that_does_not_verify_is_refused(self) -> None:
        """There is no way to switch verification off [SEC-12]."""
        context = ssl.create_default_context()
        context.check_hostname = False

        with pytest.raises(ValueError, match="verification"):
            Downloader(DownloadPolicy(), ssl_context=context)

    @pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"])
    async def test_a_reply_that_is_no_http_may_be_better_later(self, kit: Any, reply: bytes) -> None:
        """Not the file's fault, so not the end of the task."""

        async def script(_request: Any, write: Any) -> None:
            await write(reply)

        server = await kit.server(script)

        error = await failing(kit, server.url(f"/secret-path?sig={SECRET}"))

        assert Category.TRANSIENT is error.category

    async def test_nobody_listening_is_a_network_fault(self, kit: Any) -> None:
        """Connection refused."""
        server = await kit.server(kit.answer(200))
        await server.stop()

        error = await failing(kit, server.url("/f"))

        assert Fault.NETWORK is error.fault

    async def test_a_link_that_is_refused_is_not_asked(self, kit: Any) -> None:
        """The first check needs no network."""
        server = await kit.server(kit.answer(200))

        error = await failing(kit, f"https://elsewhere.example.com/secret-path?sig={SECRET}")

        assert (error.fault, error.category, error.reason) == (Fault.LINK_REFUSED, Category.PERMANENT, "permanent")
        assert server.requests == []
