"""What a probe can ask a process: has it begun, is it alive, is it ready, and what are its numbers.

    /startupz  200 once everything is open and every worker has begun
    /livez     200 while work goes on or waits for a dependency; 503 where only a restart helps
    /readyz    200 while nothing stands in the way of work; else 503 and the reasons, one a line
    /metrics   Prometheus text

`?verbose` tells of each check whether it passed. `/health/live` and `/health/ready` are the same under other names.
A probe asks nobody: checks tell what is known already, so that the answer comes at once whatever hangs. A process whose
event loop hangs does not answer, which says the same. Reasons are fixed words and names of ours (I10).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Findings: TypeAlias = Mapping[str, Sequence[str]]
"""Of each check by its name the reasons why it does not pass; none where it does."""

Probe: TypeAlias = Callable[[], Findings]
"""Returns what is found now; must neither wait nor raise."""

_SHUTDOWN_S = 1.0


class HealthServer:
    """Serves the probes on all interfaces while it is entered. Raises OSError if the port is taken."""

    def __init__(self, port: int, *, started: Probe, live: Probe, ready: Probe, host: str = "0.0.0.0") -> None:  # noqa: S104  # probes come from outside the container
        self._address = (host, port)
        probes = {"/startupz": started, "/livez": live, "/readyz": ready}
        aliases = {"/health/live": live, "/health/ready": ready}
        self._runner = web.AppRunner(_app(probes | aliases), access_log=None, shutdown_timeout=_SHUTDOWN_S)

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on; another one than asked for if that was 0."""
        return int(self._runner.addresses[0][1])


def reasons_in(findings: Findings) -> list[str]:
    """Return all reasons, each once, in the order of the checks."""
    return list(dict.fromkeys(reason for reasons in findings.values() for reason in reasons))


def _app(probes: Mapping[str, Probe]) -> web.Application:
    async def numbers(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    for path, probe in probes.items():
        app.router.add_get(path, _handler(probe))
    app.router.add_get("/metrics", numbers)
    return app


def _handler(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        findings = probe()
        reasons = reasons_in(findings)
        lines = _verbose(findings) if "verbose" in request.query else reasons or ["ok"]
        return web.Response(status=503 if reasons else 200, text="\n".join(lines) + "\n")

    return answer


def _verbose(findings: Findings) -> list[str]:
    checks = [f"[-] {name}: {', '.join(why)}" if why else f"[+] {name}" for name, why in findings.items()]
    return [*checks, "failed" if reasons_in(findings) else "ok"]
