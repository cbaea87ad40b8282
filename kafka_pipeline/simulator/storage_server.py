"""The storage behind the links: objects served as S3 does, to whoever holds a valid presigned link.

Answers and their XML follow Amazon S3: 400 for two ways of signing at once, 403 for a missing, forged or expired
signature, 404 for an unknown key, 206 and 416 for ranges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.simulator.faults import Endpoint
from kafka_pipeline.simulator.links import LinkVerdict, Signer
from kafka_pipeline.simulator.traffic import Traffic, storage_error
from kafka_pipeline.simulator.world import World

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)

_REFUSALS = {
    LinkVerdict.UNSIGNED: ("AccessDenied", "Access Denied"),
    LinkVerdict.EXPIRED: ("AccessDenied", "Request has expired"),
    LinkVerdict.FORGED: (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
    ),
}


class UnsatisfiableRangeError(ValueError):
    """The range begins behind the end of the object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes from `start` to `stop` (exclusive) of an object."""

    start: int
    stop: int


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Read a Range header; None means the whole object, which is also what an unreadable header asks for.

    Raises UnsatisfiableRangeError.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(size_bytes - int(last), 0), size_bytes
    else:
        start, stop = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise UnsatisfiableRangeError
    return ByteRange(start=start, stop=stop)


class StorageServer:
    """Serves the objects of one world."""

    def __init__(self, world: World, *, signer: Signer, traffic: Traffic, clock: Clock, epoch: datetime) -> None:
        self._world = world
        self._signer = signer
        self._traffic = traffic
        self._clock = clock
        self._modified = format_datetime(epoch.astimezone(UTC).replace(microsecond=0), usegmt=True)

    def app(self) -> web.Application:
        """Return the application, ready to be served."""
        app = web.Application(middlewares=[self._traffic.middleware])
        app.router.add_get("/claimx-media/{key}", self._object, name=Endpoint.FILE.value, allow_head=True)
        return app

    async def _object(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            return storage_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        verdict = self._signer.check(
            request.method, request.headers.get("Host", ""), request.path, request.query.items(), now=self._clock.now()
        )
        if verdict is not LinkVerdict.VALID:
            return storage_error(403, *_REFUSALS[verdict])
        item = self._world.objects.get(request.path)
        if item is None:
            return storage_error(404, "NoSuchKey", "The specified key does not exist.")
        file = item.file()
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": item.content_type,
            "ETag": file.etag,
            "Last-Modified": self._modified,
        }
        try:
            wanted = parse_range(request.headers.get("Range"), file.size_bytes)
        except UnsatisfiableRangeError:
            answer = storage_error(416, "InvalidRange", "The requested range is not satisfiable")
            answer.headers["Content-Range"] = f"bytes */{file.size_bytes}"
            return answer
        if request.headers.get("If-Range", file.etag) not in {file.etag, self._modified}:
            wanted = None
        part = wanted or ByteRange(start=0, stop=file.size_bytes)
        if wanted:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size_bytes}"
        response = web.StreamResponse(status=206 if wanted else 200, headers=headers)
        response.content_length = part.stop - part.start
        await response.prepare(request)
        if request.method != "HEAD":
            await self._traffic.send(request, response, file.chunks(part.start, part.stop), is_file=True)
        await response.write_eof()
        return response
