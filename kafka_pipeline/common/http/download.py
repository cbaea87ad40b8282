"""Brings a file from a link into a sink (a file of the disk, an object of the lake): whole, hashed, or not at all.

    link ─check─▶ connect (address checked) ─▶ redirect? check again ─▶ body ─▶ sink ─▶ finish: durable and visible
                                                                          └─ cut? go on by Range, a few times

One call is one attempt in the sense of the retry rules. It follows redirects itself, goes on after a cut with If-Range,
or begins again where the server cannot say that the file is still the same (settled point 11). Whatever ends it, what
was partial is gone afterwards. Memory is bounded by `_READ_BYTES` and by what the sink holds, whatever the size of the
file (I9).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.http import answers
from kafka_pipeline.common.http.edges import error_body, network_faults
from kafka_pipeline.common.http.errors import DownloadError, Fault
from kafka_pipeline.common.http.guard import Allowed, Credential, DownloadPolicy, Link, Refused, check_link, parse_link
from kafka_pipeline.common.http.resolver import CheckedResolver
from kafka_pipeline.common.http.retry_after import retry_after_seconds
from kafka_pipeline.common.http.sinks import FileSink, Sink
from kafka_pipeline.common.pulse import within

IsLoginPage = Callable[[URL], bool]
"""Says whether the target of a redirect is the service's own login page."""
Room = Callable[[int], bool]
"""Asks whether the cache has room for a file of so many bytes in all, and takes it if so."""

_READ_BYTES: Final = 256 << 10
"""Twice as many that came and were not taken yet stop the reading from a connection."""
_ROOM_STEP: Final = 8 << 20
"""By so many bytes the claim on the cache grows where the server does not say how long the file is."""
_USER_AGENT: Final = "kafka-pipeline"
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_CUT: Final = frozenset({Fault.SHORT_BODY, Fault.NETWORK, Fault.TIMED_OUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A file that is complete and durable in its place."""

    bytes_downloaded: int
    sha256: str
    """Hex digest of the bytes as they came, which are the bytes that are kept: nothing is ever inflated."""
    content_type: str | None
    content_encoding: str | None
    """Where not None, the server sent encoded bytes although asked not to."""
    resumes: int
    """How often the body was cut and gone on with, or begun again."""


@dataclass(slots=True)
class _Transfer:
    """What is known of a body so far."""

    sink: Sink
    suffix: str
    room: Room
    validator: str | None = None
    total_bytes: int | None = None
    claimed_bytes: int = 0
    content_type: str | None = None
    content_encoding: str | None = None
    interrupted: bool = False
    """Set once a body has begun: from here on a cut is worth going on after."""
    in_sink: bool = False
    """Set while the sink is waited for: what takes too long then is not the host's fault."""

    def begin_again(self) -> None:
        self.validator = None
        self.total_bytes = None

    async def write(self, data: bytes) -> None:
        self.in_sink = True
        await self.sink.write(data)
        self.in_sink = False


class Downloader:
    """Downloads under a policy, with one connection pool. Use as an asynchronous context manager.

    `is_login_page` is asked about the target of every redirect before it is followed. `ssl_context` may add
    certificate authorities; one that does not verify is refused with ValueError ([SEC-12]). Proxies of the
    environment, cookies and netrc are not used: each would get round the guard.
    """

    def __init__(
        self,
        policy: DownloadPolicy,
        *,
        is_login_page: IsLoginPage = lambda _url: False,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 100,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if ssl_context and not (ssl_context.verify_mode is ssl.CERT_REQUIRED and ssl_context.check_hostname):
            raise ValueError("TLS verification cannot be switched off")
        self._policy = policy
        self._is_login_page = is_login_page
        self._resolver = resolver
        self._ssl = ssl_context
        self._max_connections = max_connections
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        resolver = CheckedResolver(self._resolver or aiohttp.ThreadedResolver(), self._policy.is_private_pair)
        connector = aiohttp.TCPConnector(
            resolver=resolver, limit=self._max_connections, ssl=self._ssl if self._ssl is not None else True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=None,  # the attempt as a whole is timed
                sock_connect=self._policy.connect_timeout_s,
                sock_read=self._policy.read_timeout_s,
            ),
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def download(
        self,
        url: str,
        destination: Path,
        *,
        credential: Credential | None = None,
        file_name: str | None = None,
        room: Room | None = None,
    ) -> Downloaded:
        """Download the link to `destination`, replacing what is there, and return what came.

        `file_name` (by default the destination's) tells whether an HTML page is what was asked for. All else is as
        with `stream`; on any error, and when cancelled, no file is left behind.
        """
        name = file_name or destination.name
        return await self.stream(url, FileSink(destination), file_name=name, credential=credential, room=room)

    async def stream(
        self,
        url: str,
        sink: Sink,
        *,
        file_name: str,
        credential: Credential | None = None,
        room: Room | None = None,
    ) -> Downloaded:
        """Download the link into a sink, and return what came once the sink has finished.

        `credential` is sent while every hop so far is its origin, never again after. `room` is asked before bytes are
        written; if it says no, the download ends with NO_ROOM. Raises DownloadError, and what the sink raises; on any
        error, and when cancelled, the sink is told to discard.
        """
        link = parse_link(url)
        transfer = _Transfer(sink=sink, suffix=Path(file_name).suffix, room=room or (lambda _bytes: True))
        try:
            with within(self._policy.total_timeout_s):
                async with asyncio.timeout(self._policy.total_timeout_s):
                    resumes = await self._attempt(link, transfer, credential)
        except TimeoutError:
            host = None if isinstance(link, Refused) else link.origin.host
            fault = Fault.SINK_SLOW if transfer.in_sink else Fault.TIMED_OUT
            raise DownloadError(fault, host=host, detail="the whole attempt took too long") from None
        finally:
            await sink.discard()
        return Downloaded(
            bytes_downloaded=sink.size_bytes,
            sha256=sink.sha256,
            content_type=transfer.content_type,
            content_encoding=transfer.content_encoding,
            resumes=resumes,
        )

    async def _attempt(self, link: Link | Refused, transfer: _Transfer, credential: Credential | None) -> int:
        """Exchange requests and answers until the file is whole; return how many cuts there were."""
        allowed = self._checked(link, Fault.LINK_REFUSED)
        await transfer.sink.open()
        cuts = 0
        while True:
            try:
                await self._exchange(allowed, transfer, credential)
                break
            except DownloadError as error:
                if error.fault not in _CUT or not transfer.interrupted or cuts >= self._policy.max_resumes:
                    raise
                cuts += 1
                transfer.interrupted = False
        transfer.in_sink = True
        await transfer.sink.finish()
        return cuts

    async def _exchange(self, link: Allowed, transfer: _Transfer, credential: Credential | None) -> None:
        """Ask for the file, or for the rest of it, and write what comes."""
        headers: dict[str, str] = {}
        if transfer.sink.size_bytes and transfer.validator:
            headers = {"Range": f"bytes={transfer.sink.size_bytes}-", "If-Range": transfer.validator}
        async with self._answer(link, headers, credential) as (response, host):
            with_rest = await self._judged(response, host, transfer, asked_for_rest=bool(headers))
            if not with_rest and transfer.sink.size_bytes:
                await transfer.sink.restart()
            transfer.interrupted = True
            with network_faults(host):
                await self._body(response, host, transfer)

    async def _judged(
        self, response: aiohttp.ClientResponse, host: str, transfer: _Transfer, *, asked_for_rest: bool
    ) -> bool:
        """Return whether the body goes on where we stopped. Raises DownloadError for every answer without a file."""
        if asked_for_rest and response.status == 416:
            transfer.begin_again()
            transfer.interrupted = True
            raise DownloadError(Fault.SHORT_BODY, host=host, status=416)
        body = await error_body(response, self._policy.read_timeout_s) if response.status in {400, 403} else b""
        fault = answers.fault_of_status(response.status, body)
        if fault is not None:
            now = self._clock.now()
            wait_s = retry_after_seconds(response.headers.get("Retry-After"), now)
            not_before = None if wait_s is None else now + timedelta(seconds=wait_s)
            raise DownloadError(fault, host=host, status=response.status, retry_after_s=wait_s, not_before=not_before)
        if response.status == 206:
            if asked_for_rest and _goes_on(response, transfer):
                return True
            transfer.begin_again()
            transfer.interrupted = asked_for_rest
            raise DownloadError(Fault.SHORT_BODY, host=host, status=206, detail="not the part that was asked for")
        content_type = response.headers.get("Content-Type")
        if answers.is_page(content_type, transfer.suffix):
            raise DownloadError(Fault.LOGIN_PAGE, host=host, status=response.status, detail="a page, not a file")
        transfer.content_type = content_type
        transfer.content_encoding = response.headers.get("Content-Encoding")
        transfer.validator = answers.strong_validator(response.headers)
        transfer.total_bytes = response.content_length
        return False

    async def _body(self, response: aiohttp.ClientResponse, host: str, transfer: _Transfer) -> None:
        self._claim(host, transfer, transfer.total_bytes or 0)
        # By chunk, as they came: to take all that is there at once would copy every byte of it.
        async for chunk, _ in response.content.iter_chunks():
            if chunk:  # nothing marks the end of a chunk as the server sent it
                self._claim(host, transfer, transfer.sink.size_bytes + len(chunk))
                await transfer.write(chunk)
        if transfer.total_bytes is not None and transfer.sink.size_bytes != transfer.total_bytes:
            raise DownloadError(Fault.SHORT_BODY, host=host, status=response.status)

    def _claim(self, host: str, transfer: _Transfer, total_bytes: int) -> None:
        """Make sure that a file of that size is wanted, and that there is room for it."""
        if 0 < self._policy.max_bytes < total_bytes:
            raise DownloadError(Fault.TOO_LARGE, host=host, detail=f"more than {self._policy.max_bytes} bytes")
        if total_bytes <= transfer.claimed_bytes:
            return
        known = transfer.total_bytes is not None
        wanted = total_bytes if known else -(-total_bytes // _ROOM_STEP) * _ROOM_STEP
        if not transfer.room(wanted):
            raise DownloadError(Fault.NO_ROOM, host=host, needed_bytes=wanted if known else 2 * wanted)
        transfer.claimed_bytes = wanted

    @asynccontextmanager
    async def _answer(
        self, link: Allowed, headers: Mapping[str, str], credential: Credential | None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, str]]:
        """Follow redirects, each hop checked, and hand out the final answer and the host it came from."""
        if self._session is None:
            raise RuntimeError("the downloader is not open")
        for _ in range(self._policy.max_redirects + 1):
            origin = link.link.origin
            if credential is not None and credential.origin != origin:
                credential = None  # not even where a later hop leads back: whoever sent us there may not use it
            sent = {**headers, **(credential.headers_for(origin) if credential else {})}
            with network_faults(origin.host):
                response = await self._session.get(link.link.url, headers=sent, allow_redirects=False)
            try:
                if response.status not in answers.REDIRECTS:
                    yield response, origin.host
                    return
                location = response.headers.get("Location")
            finally:
                response.close()  # never reuse a connection whose body we did not read to its end
            link = self._next_hop(link, location)
        raise DownloadError(Fault.TOO_MANY_REDIRECTS, host=link.link.origin.host)

    def _next_hop(self, link: Allowed, location: str | None) -> Allowed:
        host = link.link.origin.host
        if not location:
            raise DownloadError(Fault.REDIRECT_REFUSED, host=host, detail="it leads nowhere")
        try:
            target = location if _ABSOLUTE.match(location) else urljoin(str(link.link.url), location)
        except ValueError:
            raise DownloadError(Fault.REDIRECT_REFUSED, host=host, detail="it is malformed") from None
        parsed = parse_link(target)
        if isinstance(parsed, Link) and self._is_login_page(parsed.url):
            raise DownloadError(Fault.LOGIN_PAGE, host=host, detail="it redirects to the login")
        return self._checked(parsed, Fault.REDIRECT_REFUSED)

    def _checked(self, link: Link | Refused, fault: Fault) -> Allowed:
        decision = link if isinstance(link, Refused) else check_link(link, self._policy)
        if isinstance(decision, Refused):
            raise DownloadError(fault, host=decision.host, detail=f"refused by its {decision.reason.value}")
        return decision


def _goes_on(response: aiohttp.ClientResponse, transfer: _Transfer) -> bool:
    """Return whether a 206 begins where we stopped, in the file that we began with."""
    part = answers.continuation(response.headers)
    if part is None or part.start != transfer.sink.size_bytes:
        return False
    if None not in {part.total_bytes, transfer.total_bytes} and part.total_bytes != transfer.total_bytes:
        return False
    etag = response.headers.get("ETag")
    if etag is not None and (transfer.validator or "").startswith('"') and etag != transfer.validator:
        return False
    transfer.total_bytes = transfer.total_bytes or part.total_bytes
    return True
