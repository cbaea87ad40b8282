"""Promises of the probes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest

from kafka_pipeline.common.observability.health import Findings, HealthServer, Probe

Serve = Callable[..., AbstractAsyncContextManager[HealthServer]]


def fine() -> Findings:
    """Find nothing."""
    return {"everything": []}


def failing() -> Findings:
    """Find something that the probe at hand must not tell."""
    return {"other": ["another probe's reason"]}


@pytest.fixture
def serve() -> Serve:
    """Return a function that serves probes on some port of loopback; those not given fail."""

    @asynccontextmanager
    async def made(**probes: Probe) -> AsyncIterator[HealthServer]:
        given = {"started": failing, "live": failing, "ready": failing} | probes
        async with HealthServer(0, **given, host="127.0.0.1") as server:
            yield server

    return made


async def ask(server: HealthServer, path: str) -> tuple[int, str]:
    """Ask a probe and return status and text."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, await answer.text()


PATHS = [
    ("/startupz", "started"),
    ("/livez", "live"),
    ("/health/live", "live"),
    ("/readyz", "ready"),
    ("/health/ready", "ready"),
]


@pytest.mark.parametrize(("path", "probe"), PATHS)
async def test_a_probe_tells_its_reasons_each_once_and_those_of_no_other(serve: Serve, path: str, probe: str) -> None:
    """200 and `ok` while nothing is found, 503 and one reason a line otherwise."""
    findings: dict[str, list[str]] = {"kafka": [], "lake": ["lake_unavailable"], "worker": ["x", "lake_unavailable"]}
    async with serve(**{probe: lambda: findings}) as server:
        assert await ask(server, path) == (503, "lake_unavailable\nx\n")
        findings["lake"].clear()
        findings["worker"].clear()
        assert await ask(server, path) == (200, "ok\n")


@pytest.mark.parametrize(("path", "probe"), PATHS)
async def test_verbose_tells_of_every_check(serve: Serve, path: str, probe: str) -> None:
    """Also of those that pass, so that one sees what is asked at all."""
    findings: dict[str, list[str]] = {"kafka": [], "worker": ["no partitions", "circuit_open"]}
    async with serve(**{probe: lambda: findings}) as server:
        told = "[+] kafka\n[-] worker: no partitions, circuit_open\nfailed\n"
        assert await ask(server, f"{path}?verbose") == (503, told)
        findings["worker"].clear()
        assert await ask(server, f"{path}?verbose=1") == (200, "[+] kafka\n[+] worker\nok\n")


async def test_metrics_are_prometheus_text(serve: Serve) -> None:
    """The loop's own counters are among them, with their meaning."""
    async with serve() as server:
        status, text = await ask(server, "/metrics")
    assert status == 200
    assert "# HELP python_info" in text


async def test_a_taken_port_is_an_error_at_the_start(serve: Serve) -> None:
    """It is told at once, and nothing stays open."""
    async with serve() as server:
        with pytest.raises(OSError, match="address already in use"):
            await HealthServer(server.port, started=fine, live=fine, ready=fine, host="127.0.0.1").__aenter__()
