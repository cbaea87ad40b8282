"""`simulate`: a ClaimX to point the pipeline at."""

from __future__ import annotations

import signal
from typing import Any

import aiohttp
import pytest

from kafka_pipeline.config import load_config
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.feed import FeedKind, build_feed
from kafka_pipeline.simulator.settings import SimulatorSettings


async def test_it_prints_its_settings_serves_and_ends_with_ctrl_c(program: Any) -> None:
    """The lines it prints are shell: with them in force the configuration points at it, and it answers."""
    running = await program.start("simulate", "--projects", "3", "--events", "20")
    await running.told("ALLOW_PRIVATE_DOWNLOAD_HOSTS=")
    environ = dict(line.removeprefix("export ").split("=", 1) for line in running.out.decode().splitlines())
    config = load_config(None, {}, {name: value for name, value in environ.items() if name != "CLAIMX_API_TOKEN"})
    project = f"{config.require_claimx_api_url()}/export/project/900001"
    async with aiohttp.ClientSession() as session:
        async with session.get(project) as refused:
            assert refused.status == 401
        token = config.claimx_api_token(environ)
        async with session.get(project, headers={"Authorization": f"Basic {token}"}) as answer:
            assert answer.status == 200
    assert len(config.allow_private_download_hosts) == 2
    ended = await running.stop(signal.SIGINT)
    assert ended.code == 0
    assert "Traceback" not in ended.err


async def test_the_feed_is_written_as_lines_that_are_the_same_for_a_seed(program: Any) -> None:
    """`--write-feed -` gives what the seed's feed has, but for what would not survive as a line, and ends."""
    arguments = ("simulate", "--seed", "7", "--projects", "3", "--events", "40", "--write-feed", "-")
    ended = await program.run(*arguments)
    assert (ended.code, ended.err) == (0, "")
    settings = SimulatorSettings(seed=7, projects=3, events=40)
    feed = build_feed(settings, build_world(settings))
    wanted = [item.value.decode() for item in feed if item.kind is not FeedKind.MALFORMED]
    assert ended.out.splitlines() == wanted


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("simulate", "--events", "5", "--write-feed", "-"), "leave no room for 100 projects"),
        (("simulate", "--projects", "1000000"), "projects must be between"),
        (("simulate", "--latency-ms", "inf"), "--latency-ms"),
        (("simulate", "--port", "70000"), "--port"),
        (("--set", "health_port=1", "simulate"), "takes no settings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_numbers_that_make_no_world_are_told_with_code_2(inside: Any, arguments: tuple[str, ...], told: str) -> None:
    """What is wrong with them is said; nothing begins."""
    code, out, err = inside(*arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


async def test_a_port_in_use_is_one_line_and_code_2(program: Any, embedded_site: Any) -> None:
    """The port is named."""
    port = embedded_site.simulator.download_hosts[0].rpartition(":")[2]
    ended = await program.run("simulate", "--port", port)
    assert (ended.code, ended.out) == (2, "")
    assert f"127.0.0.1', {port}" in ended.problem
    assert "address already in use" in ended.problem.lower()
