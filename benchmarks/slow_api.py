"""A ClaimX API that takes a fixed time for each answer, in a process of its own.

The simulated ClaimX makes each answer anew and draws its latency; on two cores its work would be a good part of what is
measured. This one keeps to a fixed time, and its answers have the form and the size of the real ones.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import orjson
import uvloop
from aiohttp import web

PATH = "/service/cxedirest"
TOKEN = "YmVuY2g6aW52ZW50ZWQta2V5"  # noqa: S105  # invented, and this API's alone
RESET, URL, TOLD = "reset", "url", "told"

_HOST = "127.0.0.1"
_MEDIA = "media"
_LINK = (
    "https://storage.example.com/{project}/{media}.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=INVENTED%2F20260302%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260302T180000Z"
    "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={media:064x}"
)


@dataclass(slots=True, kw_only=True)
class Asked:
    """What the API was asked since the last reset. Times are those of `time.monotonic`."""

    projects: int = 0
    """Calls for a project."""
    media: int = 0
    """Calls for a list of files."""
    at_once: int = 0
    """Calls under way now."""
    most_at_once: int = 0
    first_s: float = 0.0
    """When the first call came."""
    last_s: float = 0.0
    """When the last answer went."""
    busy_s: float = field(default_factory=time.process_time)
    """Processor time of the API's process."""

    def begin(self, *, is_media: bool) -> None:
        """Count a call."""
        self.first_s = self.first_s or time.monotonic()
        self.media += is_media
        self.projects += not is_media
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)

    def end(self) -> None:
        """Count its answer."""
        self.at_once -= 1
        self.last_s = time.monotonic()

    @property
    def calls(self) -> int:
        """All calls."""
        return self.projects + self.media

    @property
    def per_s(self) -> float:
        """Calls per second, from the first call to the last answer."""
        return self.calls / (self.last_s - self.first_s)


def media_id(project_id: int, number: int) -> str:
    """Return the id of a project's file, `number` from 0."""
    return f"{project_id}{number:02d}"


@contextmanager
def slow_api(latency_s: float, files: int) -> Iterator[Callable[[str], object]]:
    """Serve; for `benchmarks.side.Side`. Every project exists and has so many files, 100 at most.

    RESET forgets what was asked, URL is answered with the base URL, TOLD with an `Asked`.
    """
    started: list[str] = []
    ready, loop = threading.Event(), uvloop.new_event_loop()
    api = _Api(latency_s, files)

    async def start() -> None:
        runner = web.ServerRunner(web.Server(api.answer, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, _HOST, 0)
        await site.start()
        started.append(f"http://{_HOST}:{runner.addresses[0][1]}{PATH}")
        ready.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    def work(order: str) -> object:
        if order == URL:
            return started[0]
        if order == RESET:
            api.asked = Asked()
            return None
        return replace(api.asked, busy_s=time.process_time() - api.asked.busy_s)

    threading.Thread(target=serve, daemon=True).start()
    ready.wait()
    yield work


@dataclass(slots=True)
class _Api:
    latency_s: float
    files: int
    asked: Asked = field(default_factory=Asked)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        words = request.path.split("/")
        is_media = words[-1] == _MEDIA
        project_id = int(words[-2] if is_media else words[-1])
        if not project_id:  # a worker that starts asks whether the API is there
            return web.Response(status=404)
        asked = self.asked
        asked.begin(is_media=is_media)
        await asyncio.sleep(self.latency_s)
        body = orjson.dumps(_media_list(project_id, self.files) if is_media else _project(project_id))
        asked.end()
        return web.Response(body=body, content_type="application/json")


def _project(project_id: int) -> object:
    return {
        "data": {
            "project": {
                "projectId": project_id,
                "projectNumber": f"CLM-{project_id}",
                "mfn": f"MFN-{project_id}",
                "status": "Open",
                "createdDate": "2026-03-02T14:00:00",
                "dateOfLoss": "2026-03-01",
                "typeOfLoss": "Hail",
                "causeOfLoss": "Storm",
                "lossDescription": "Invented: hail damaged the roof and two windows on the north side",
                "yearBuilt": 1987,
                "squareFootage": 2140,
                "customerInformation": {
                    "firstName": "Ada",
                    "lastName": "Example",
                    "emails": [{"emailAddress": f"holder{project_id}@example.com", "primary": True}],
                    "phones": [{"phoneNumber": "555-0100", "phoneCountryCode": 1, "primary": True}],
                },
                "address": {
                    "street1": "1 Invented Street",
                    "city": "Springfield",
                    "stateProvince": "IL",
                    "zipPostcode": "62701",
                    "country": "US",
                },
            },
            "teamMembers": [
                {"userName": f"adjuster{project_id % 100}@example.com", "primaryContact": True, "mfn": None},
                {"userName": "desk@example.com", "primaryContact": False, "mfn": None},
            ],
            "companyName": "Example Mutual",
        }
    }


def _media_list(project_id: int, files: int) -> object:
    return {"data": [_file(project_id, media_id(project_id, number)) for number in range(files)]}


def _file(project_id: int, identity: str) -> object:
    return {
        "mediaID": int(identity),
        "taskAssignmentId": None,
        "mediaType": "image/jpeg",
        "mediaName": f"photo {identity}.jpg",
        "mediaDescription": "Roof, north side",
        "mediaComment": None,
        "latitude": 39.78,
        "longitude": -89.65,
        "gpsSource": "EXIF",
        "takenDate": "2026-03-02T15:00:00",
        "fullDownloadLink": _LINK.format(project=project_id, media=int(identity)),
    }
