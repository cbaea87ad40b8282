"""The REST API of section 5 and the file service of section 6, on one port."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import orjson
from aiohttp import web

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.simulator import shapes
from kafka_pipeline.simulator.faults import Endpoint
from kafka_pipeline.simulator.links import Signer, file_service_expired, file_service_link
from kafka_pipeline.simulator.traffic import Handler, Traffic, link_expired
from kafka_pipeline.simulator.world import LinkForm, MediaItem, World

API_PATH = "/service/cxedirest"


class ApiServer:
    """Answers for one world. `origin` and `storage_host` are set once the ports are known."""

    def __init__(
        self, world: World, *, signer: Signer, traffic: Traffic, clock: Clock, token: str, link_lifetime_s: int
    ) -> None:
        self._world = world
        self._signer = signer
        self._traffic = traffic
        self._clock = clock
        self._token = token
        self._lifetime_s = link_lifetime_s
        self.origin = ""
        """`http://host:port` of this server."""
        self.storage_host = ""
        """`host:port` of the storage server."""

    def app(self) -> web.Application:
        """Return the application, ready to be served."""
        app = web.Application(middlewares=[self._traffic.middleware, self._authorize])
        app.router.add_get(f"{API_PATH}/export/project/{{id}}", self._project, name=Endpoint.PROJECT.value)
        app.router.add_get(f"{API_PATH}/export/project/{{id}}/media", self._media, name=Endpoint.MEDIA.value)
        app.router.add_get(f"{API_PATH}/customTasks/assignment/{{id}}", self._task, name=Endpoint.TASK.value)
        app.router.add_post(f"{API_PATH}/data", self._report, name=Endpoint.REPORT.value)
        app.router.add_get("/service/cxfileservice/file/{id}", self._file, name=Endpoint.LINK.value)
        return app

    def link(self, item: MediaItem) -> str | None:
        """Return a fresh link to a media item's file, or None where it has none."""
        match item.link:
            case LinkForm.NONE:
                return None
            case LinkForm.STORAGE:
                return self._storage_link(item, self._traffic.board.lifetime_s(item.media_id, self._lifetime_s))
            case LinkForm.FILE_SERVICE:
                name = item.name.link_name or item.name.media_name
                now = self._clock.now()
                lifetime_s = self._traffic.board.lifetime_s(item.media_id, self._lifetime_s)
                return file_service_link(self.origin, item.media_id, name, now=now, lifetime_s=lifetime_s)

    def _storage_link(self, item: MediaItem, lifetime_s: int) -> str:
        now = self._clock.now()
        return self._signer.presign(self.storage_host, item.storage_path, now=now, lifetime_s=lifetime_s)

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse API calls without the token [API-2]; the file service asks for none."""
        if request.path.startswith(f"{API_PATH}/"):
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Basic {self._token}".encode()):
                return _json({"message": "Unauthorized"}, status=401, headers={"WWW-Authenticate": "Basic"})
        return await handler(request)

    async def _project(self, request: web.Request) -> web.Response:
        project = self._world.projects.get(_id(request))
        return _missing() if project is None else _json(shapes.project_export(project))

    async def _media(self, request: web.Request) -> web.Response:
        project = self._world.projects.get(_id(request))
        return _missing() if project is None else _json(shapes.media_list(project, self.link))

    async def _task(self, request: web.Request) -> web.Response:
        task = self._world.tasks.get(_id(request))
        if task is None:
            return _missing()
        return _json(shapes.custom_task(task, self.origin, full=request.query.get("full") == "true"))

    async def _report(self, request: web.Request) -> web.Response:
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _json({"message": "not JSON"}, status=400)
        well_formed = (
            isinstance(body, dict)
            and body.get("reportType") == "VIDEO_COLLABORATION"
            and type(body.get("projectId")) is int
            and isinstance(body.get("senderUsername"), str)
            and "@" in body["senderUsername"]
        )
        if not well_formed:
            return _json({"message": "reportType, projectId and senderUsername are needed"}, status=400)
        project = self._world.projects.get(body["projectId"])
        return _json({"data": []} if project is None else shapes.video_report(project))

    async def _file(self, request: web.Request) -> web.Response:
        item = self._world.media.get(_id(request))
        if item is None or item.link is LinkForm.NONE:
            return web.Response(status=404, text="no such file")
        query = request.query
        if file_service_expired(query.get("systemDate"), query.get("expires"), now=self._clock.now()):
            return link_expired()
        return web.Response(status=302, headers={"Location": self._storage_link(item, self._lifetime_s)})


def basic_token(user: str, key: str) -> str:
    """Return the pre-encoded Basic token of a user and an API key."""
    return base64.b64encode(f"{user}:{key}".encode()).decode()


def _id(request: web.Request) -> int:
    """Return the id in the path; one that is no number is nobody's."""
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _missing() -> web.Response:
    return _json({"message": "not found"}, status=404)


def _json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:  # noqa: ANN401 - JSON
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")
