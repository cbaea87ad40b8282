"""Promises of the probes."""

from __future__ import annotations

import aiohttp
import pytest

from kafka_pipeline.common.observability.health import HealthServer


async def ask(server: HealthServer, path: str) -> tuple[int, str]:
    """Ask a probe and return status and text."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("path", ["/livez", "/health/live"])
async def test_liveness_tells_what_hangs(path: str) -> None:
    """A hung loop makes it 503 with the reason; what stands in the way of work does not."""
    hung: list[str] = []
    async with HealthServer(
        0, liveness=lambda: hung, readiness=lambda: ["lake_unavailable"], host="127.0.0.1"
    ) as server:
        assert await ask(server, path) == (200, "ok\n")
        hung.append("worker hangs")
        assert await ask(server, path) == (503, "worker hangs\n")


@pytest.mark.parametrize("path", ["/readyz", "/health/ready"])
async def test_readiness_tells_every_reason(path: str) -> None:
    """One reason a line; 200 once there is none."""
    reasons = ["lake_unavailable", "worker has no partitions"]
    async with HealthServer(0, liveness=list, readiness=lambda: reasons, host="127.0.0.1") as server:
        assert await ask(server, path) == (503, "lake_unavailable\nworker has no partitions\n")
        reasons.clear()
        assert await ask(server, path) == (200, "ok\n")


async def test_metrics_are_prometheus_text() -> None:
    """The loop's own counters are among them, with their meaning."""
    async with HealthServer(0, liveness=list, readiness=list, host="127.0.0.1") as server:
        status, text = await ask(server, "/metrics")
    assert status == 200
    assert "# HELP python_info" in text


async def test_a_taken_port_is_an_error_at_the_start() -> None:
    """It is told at once, and nothing stays open."""
    async with HealthServer(0, liveness=list, readiness=list, host="127.0.0.1") as server:
        with pytest.raises(OSError, match="address already in use"):
            await HealthServer(server.port, liveness=list, readiness=list, host="127.0.0.1").__aenter__()
