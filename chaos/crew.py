"""The worker processes of a run, and a supervisor that starts them again, as Kubernetes would."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.schedule import Member
from kafka_pipeline.cli.errors import ExitCode
from kafka_pipeline.config import PipelineConfig

_ROOT = Path(__file__).parents[1]
_AGAIN_S = 1.0
"""Pause before a worker that ended by itself is started again."""
_STOP_S = 45.0
"""Longest time to end after SIGTERM: the time to drain, as much to leave the group, and some to start and end."""
_DUMP_S = 5.0
_READY_S = 90.0
_LOOK_EVERY_S = 0.2


@dataclass(slots=True)
class _Post:
    """A member's place: its process, and what is wanted of it."""

    member: Member
    log: Path
    port: int = 0
    """Where it answers about its health: another one at each start, so that a port somebody took costs one start."""
    process: asyncio.subprocess.Process | None = None
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


class Crew:
    """Keeps members running. What ended in a way it must not is in `faults`, one line each."""

    def __init__(self, config: PipelineConfig, environ: Mapping[str, str], folder: Path) -> None:
        ours = {name.upper() for name in PipelineConfig.model_fields}
        base = {name: value for name, value in os.environ.items() if name not in ours}
        self._environ = base | {"PYTHONPATH": str(_ROOT)} | dict(environ)
        self._folder = folder
        self._posts: dict[Member, _Post] = {}
        self.faults: list[str] = []
        self.refused_starts = 0
        """Starts that ended with the code for a dependency that does not answer."""

    def start(self, member: Member) -> None:
        """Start a member, and keep it running from now on."""
        post = self._posts.get(member)
        if post is None:
            post = _Post(member, self._folder / f"{member}.log")
            self._posts[member] = post
        post.wanted.set()
        if post.keeper is None:
            post.keeper = asyncio.create_task(self._keep(post), name=str(member))

    async def kill(self, member: Member) -> None:
        """End a member by SIGKILL; it stays away until it is started."""
        await self._end(self._posts[member], signal.SIGKILL)

    async def term(self, member: Member) -> None:
        """Ask a member to stop; it must exit with 0, unless it was only just starting. Stays away until started."""
        post = self._posts[member]
        started = await self._answers(post, "/startupz")
        code = await self._end(post, signal.SIGTERM)
        if code != ExitCode.OK and started:
            self.faults.append(f"{member}: exit code {code} after SIGTERM")

    def freeze(self, member: Member) -> None:
        """Stop a member where it is."""
        self._send(self._posts[member], signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """Let a member go on."""
        self._send(self._posts[member], signal.SIGCONT)

    async def ready(self) -> None:
        """Return once every member that should run is ready. Raises TimeoutError."""
        async with asyncio.timeout(_READY_S):
            for post in self._posts.values():
                while post.wanted.is_set() and not await self._answers(post, "/readyz"):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(_LOOK_EVERY_S)

    def pids(self) -> dict[Member, int]:
        """Return the process ids of those that run."""
        return {member: post.process.pid for member, post in self._posts.items() if post.process is not None}

    def ports(self) -> dict[Member, int]:
        """Return where those that run tell of their health, and their metrics."""
        return {member: post.port for member, post in self._posts.items() if post.process is not None}

    def logs(self) -> list[Path]:
        """Return what the members printed."""
        return [post.log for post in self._posts.values()]

    async def stop(self) -> None:
        """Ask all to stop, together."""
        await asyncio.gather(*(self.term(member) for member, post in self._posts.items() if post.wanted.is_set()))

    async def close(self) -> None:
        """End whatever still runs."""
        for post in self._posts.values():
            await self._end(post, signal.SIGKILL)
            if post.keeper is not None:
                post.keeper.cancel()
                with suppress(asyncio.CancelledError):
                    await post.keeper

    async def _keep(self, post: _Post) -> None:
        while True:
            await post.wanted.wait()
            post.port = _free_port({other.port for other in self._posts.values()})
            with post.log.open("ab") as log:
                post.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "kafka_pipeline", post.member.kind.value),
                    env=self._environ | {"HEALTH_PORT": str(post.port), "PYTHONFAULTHANDLER": "1"},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            code = await post.process.wait()
            post.process = None
            if not post.wanted.is_set():
                continue
            if code == ExitCode.CANNOT_START:
                self.refused_starts += 1
            else:
                self.faults.append(f"{post.member}: ended by itself with code {code}")
            await asyncio.sleep(_AGAIN_S)

    async def _end(self, post: _Post, number: signal.Signals) -> int:
        post.wanted.clear()
        process = post.process
        if process is None:
            return ExitCode.OK
        self._send(post, number)
        try:
            async with asyncio.timeout(_STOP_S):
                code = await process.wait()
        except TimeoutError:
            code = await self._abort(post, process)
        while post.process is process:  # noqa: ASYNC110  # until its keeper has heard of it too: some turns of the loop
            await asyncio.sleep(0)
        return code

    async def _abort(self, post: _Post, process: asyncio.subprocess.Process) -> int:
        """End what does not end by itself; faulthandler logs where each of its threads was, whoever has the GIL."""
        self._send(post, signal.SIGABRT)
        try:
            async with asyncio.timeout(_DUMP_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def _answers(self, post: _Post, path: str) -> bool:
        limit = aiohttp.ClientTimeout(total=2.0)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(f"http://127.0.0.1:{post.port}{path}") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    @staticmethod
    def _send(post: _Post, number: signal.Signals) -> None:
        if post.process is not None:
            with suppress(ProcessLookupError):
                post.process.send_signal(number)


def _free_port(taken: Collection[int]) -> int:
    """Return a port that is free, and that is not in `taken`: who was given one has perhaps not yet bound it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
