"""The way in for people and tests: faults are read, put in force and taken back over HTTP, while ClaimX runs.

| request | what it does |
|---|---|
| GET /_faults | tells how long the script has been in force, and what it has done, as JSON |
| PUT /_faults | puts the script in the body in force; 400 tells what is wrong with it, one line each |
| DELETE /_faults | ends all faults |

It has a port of its own, on loopback: an outage of the API must not close it.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from aiohttp import web

from kafka_pipeline.simulator.fault_board import FaultBoard
from kafka_pipeline.simulator.fault_script import MAX_SCRIPT_BYTES, FaultScriptError, parse_fault_script
from kafka_pipeline.simulator.faults import NO_FAULTS, FaultScript

PATH = "/_faults"


class ControlServer:
    """Answers on `PATH`. `put` puts a script in force."""

    def __init__(self, board: FaultBoard, put: Callable[[FaultScript], None]) -> None:
        self._board = board
        self._put = put

    def app(self) -> web.Application:
        """Return the application, ready to be served."""
        app = web.Application(client_max_size=MAX_SCRIPT_BYTES + 1)
        app.router.add_get(PATH, self._tell)
        app.router.add_put(PATH, self._replace)
        app.router.add_delete(PATH, self._end)
        return app

    async def _tell(self, request: web.Request) -> web.Response:
        board = self._board
        state = {
            "faults": len(board.script.faults),
            "in_force_s": round(board.elapsed_s, 3),
            "injected": {kind.value: count for kind, count in sorted(board.injected.items())},
        }
        return web.Response(body=orjson.dumps(state) + b"\n", content_type="application/json")

    async def _replace(self, request: web.Request) -> web.Response:
        try:
            script = parse_fault_script(await request.read())
        except FaultScriptError as error:
            return web.Response(status=400, text="".join(f"{line}\n" for line in error.problems))
        self._put(script)
        return web.Response(status=204)

    async def _end(self, request: web.Request) -> web.Response:
        self._put(NO_FAULTS)
        return web.Response(status=204)
