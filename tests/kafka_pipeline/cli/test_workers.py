"""The commands that run workers: how they begin, how they end, and that they work as processes of their own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.verifier import verify

READY = "partitions_assigned"
STOPPED = "worker_stopped"


async def feed(site: Any) -> None:
    """Publish the simulator's whole feed."""
    items = site.simulator.feed()
    await site.producer.send([Message(topic=site.topics.events, key=item.key, value=item.value) for item in items])


async def verified(site: Any) -> None:
    """Compare the lake with the truth."""
    report = await asyncio.to_thread(verify, site.lake, site.simulator.truth())
    assert report.ok, report.differences


async def test_five_processes_do_what_one_does(site: Any, program: Any) -> None:
    """One process a worker, on either broker: the lake is the one that the truth describes.

    SIGTERM ends each of them with 0, drained and gone from its group.
    """
    running = [await program.start(kind.value, **site.environ) for kind in WorkerKind]
    await feed(site)
    await site.filled(site.topics.downloads_pending, 1)
    await site.drained(*site.topics.work[:2])
    await site.drained(site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results)
    for each in running:
        ended = await each.stop(signal.SIGTERM)
        assert ended.code == 0
        assert STOPPED in ended.err
        assert "Traceback" not in ended.err
    await verified(site)


async def test_sigterm_under_load_loses_nothing_and_doubles_nothing(site: Any, program: Any) -> None:
    """Stopped in the middle, drained, ended with 0; the next process does the rest and ends by itself when idle."""
    await feed(site)
    first = await program.start("claimx-all", **site.environ)
    await site.filled(site.topics.downloads_pending, 3)
    stopped = await first.stop(signal.SIGTERM)
    assert stopped.code == 0
    assert "batches_abandoned" not in stopped.err
    second = await program.run("claimx-all", "--exit-when-idle", "0.5", **site.environ)
    assert second.code == 0
    await verified(site)


async def test_a_second_signal_ends_the_process_at_once(embedded_site: Any, program: Any) -> None:
    """Whoever does not want to wait for the drain says so twice."""
    site = embedded_site
    enricher = await program.start("claimx-enricher", **site.environ)
    await enricher.told(READY)
    site.simulator._traffic._latency_s = 60.0
    before = site.simulator.calls.total()
    await feed(site)
    async with site.working(WorkerKind.INGESTER), asyncio.timeout(60):
        while site.simulator.calls.total() == before:
            await asyncio.sleep(0.05)
    enricher.send(signal.SIGTERM)
    await enricher.told("stopping")
    assert (await enricher.stop(signal.SIGTERM)).code == 128 + signal.SIGTERM


async def test_two_processes_of_one_worker_need_a_real_broker(embedded_site: Any, program: Any) -> None:
    """On the embedded one the second is refused with one line that says why, and the first does the work."""
    site = embedded_site
    first = await program.start("claimx-all", **site.environ)
    await first.told(READY, times=len(WorkerKind))
    second = await program.run("claimx-all", **site.environ)
    assert second.code == 2
    assert "Traceback" not in second.err
    (line,) = [line for line in second.err.splitlines() if line.startswith("kafka-pipeline: ")]
    assert "another process" in line
    await feed(site)
    for topic in site.topics.work:
        await site.drained(topic)
    assert (await first.stop()).code == 0
    await verified(site)


@pytest.mark.parametrize(
    ("command", "changes", "told"),
    [
        ("claimx-ingester", {"WORKER_BATCH_RECORDS": "many"}, "worker_batch_records"),
        ("claimx-uploader", {"LAKE_URL": "/dev/null/lake"}, "the lake at /dev/null/lake cannot be written"),
        ("claimx-downloader", {"CACHE_DIR": "/dev/null/cache"}, "cache"),
        ("claimx-downloader", {"CLAIMX_API_URL": ""}, "claimx_api_url"),
        ("claimx-enricher", {"CLAIMX_API_URL": ""}, "claimx_api_url"),
        ("claimx-enricher", {"CLAIMX_API_TOKEN": ""}, "CLAIMX_API_TOKEN"),
        ("claimx-enricher", {"CLAIMX_API_TOKEN": "d3Jvbmc6a2V5"}, "refuses the token"),
        (
            "claimx-enricher",
            {"CLAIMX_API_URL": "http://127.0.0.1:1/api", "ALLOW_PRIVATE_DOWNLOAD_HOSTS": "127.0.0.1:1"},
            "does not answer",
        ),
        ("claimx-all", {"CLAIMX_API_TOKEN": "d3Jvbmc6a2V5"}, "refuses the token"),
    ],
)
async def test_what_is_missing_at_the_start_is_one_line_and_code_2(
    embedded_site: Any, program: Any, command: str, changes: dict[str, str], told: str
) -> None:
    """The part and the remedy are named; no traceback, no token."""
    ended = await program.run(command, **embedded_site.environ | changes)
    assert ended.code == 2
    assert told in ended.problem
    assert "d3Jvbmc6a2V5" not in ended.err


BROKEN = {
    "a bad value": ({"DELTA_FLUSH_SECONDS": "soon"}, "delta_flush_seconds"),
    "no broker": ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka at 127.0.0.1:1 does not answer"),
    "a broken broker file": ({"DATA_DIR": "/dev/null/data"}, "/dev/null/data"),
    "no lake": ({"LAKE_URL": "/dev/null/lake"}, "the lake at /dev/null/lake cannot be written"),
}


@pytest.mark.parametrize("cause", BROKEN)
def test_no_worker_starts_without_what_all_of_them_need(
    inside: Callable[..., tuple[int, str, str]], cause: str
) -> None:
    """Each of the five, and all in one: the same line from each, under its own name, and code 2."""
    changes, told = BROKEN[cause]
    environ = {"CLAIMX_API_URL": "http://127.0.0.1:1/api", "CLAIMX_API_TOKEN": "d3Jvbmc6a2V5"} | changes
    environ |= {"CLAIMX_API_SENDER_USERNAME": "tests@example.com", "ALLOW_PRIVATE_DOWNLOAD_HOSTS": "127.0.0.1:1"}
    for command in [kind.value for kind in WorkerKind] + ["claimx-all"]:
        code, out, err = inside(command, **environ)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("kafka-pipeline: ")
        assert told in line


async def test_the_enricher_does_not_start_without_a_sender(embedded_site: Any, program: Any) -> None:
    """[API-9] Reports name an account; there is no default."""
    ended = await program.run("claimx-enricher", **embedded_site.environ | {"CLAIMX_API_SENDER_USERNAME": ""})
    assert ended.code == 2
    assert "claimx_api_sender_username" in ended.problem


async def test_probes_answer_while_a_worker_runs(embedded_site: Any, program: Any, unused_tcp_port: int) -> None:
    """health_port serves start, liveness, readiness, each check of them, and the worker's own numbers."""
    environ = embedded_site.environ | {"HEALTH_PORT": str(unused_tcp_port)}
    running = await program.start("claimx-all", **environ)
    await running.told(READY, times=len(WorkerKind))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
        for path in ("/startupz", "/livez", "/readyz"):
            await answers(session, path, 200)
            verbose = await answers(session, f"{path}?verbose", 200)
            assert verbose.endswith("ok\n")
        for part in ("kafka", "lake", "claimx_api", "cache", *(kind.value for kind in WorkerKind)):
            assert f"[+] {part}\n" in await answers(session, "/readyz?verbose", 200)
        async with session.get("/metrics") as answer:
            assert 'records_in_flight{worker="claimx-ingester"}' in await answer.text()
    assert (await running.stop()).code == 0


async def test_probes_answer_while_a_worker_starts(embedded_site: Any, program: Any, unused_tcp_port: int) -> None:
    """Alive, but neither started nor ready: here the API takes its time to say that it accepts the token."""
    site = embedded_site
    site.simulator._traffic._latency_s = 60.0
    running = await program.start("claimx-enricher", **site.environ | {"HEALTH_PORT": str(unused_tcp_port)})
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
        assert await answers(session, "/livez", 200) == "ok\n"
        assert await answers(session, "/startupz", 503) == "starting\n"
        assert await answers(session, "/readyz", 503) == "starting\n"
    running.send(signal.SIGKILL)
    await running.ended()


async def test_a_worker_that_hangs_fails_its_liveness_and_still_ends_when_told(
    embedded_site: Any, program: Any, unused_tcp_port: int
) -> None:
    """A process with a mistake in it; whoever restarts it gets the same record again, for nothing was committed."""
    site = embedded_site
    environ = site.environ | {"HEALTH_PORT": str(unused_tcp_port), "SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    hung = await program.start("claimx-ingester", module="tests.kafka_pipeline.cli.hung_worker", **environ)
    await hung.told(READY)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
        await answers(session, "/livez", 200)
        await site.publish(b"{}")
        assert await answers(session, "/livez", 503) == "claimx-ingester: a batch hangs\n"
        assert await answers(session, "/readyz", 200) == "ok\n", "that is another question"
    ended = await hung.stop(signal.SIGTERM)
    assert ended.code == 0
    assert "batches_abandoned" in ended.err
    assert await site.committed(site.topics.events) == 0


async def answers(session: aiohttp.ClientSession, path: str, status: int) -> str:
    """Return what a probe says, once it says it with this status."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(path) as answer:
                    if answer.status == status:
                        return await answer.text()
            except aiohttp.ClientConnectorError:
                pass
            await asyncio.sleep(0.05)
