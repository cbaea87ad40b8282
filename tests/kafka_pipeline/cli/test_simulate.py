"""`simulate`: a ClaimX to point the pipeline at."""

from __future__ import annotations

import signal
from pathlib import Path
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
        async with session.put(environ["SIMULATOR_FAULTS_URL"], data=b"[{fail: 1, status: 500}]") as changed:
            assert changed.status == 204
        async with session.get(project, headers={"Authorization": f"Basic {token}"}) as failed:
            assert failed.status == 500
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


async def test_a_script_is_in_force_from_the_start(program: Any) -> None:
    """`--faults FILE`: the first caller meets it."""
    (program.folder / "storm.yaml").write_text("faults: [{fail: 1, status: 503, endpoint: project}]")
    running = await program.start("simulate", "--projects", "3", "--events", "20", "--faults", "storm.yaml")
    await running.told("ALLOW_PRIVATE_DOWNLOAD_HOSTS=")
    environ = dict(line.removeprefix("export ").split("=", 1) for line in running.out.decode().splitlines())
    headers = {"Authorization": f"Basic {environ['CLAIMX_API_TOKEN']}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{environ['CLAIMX_API_URL']}/export/project/900001", headers=headers) as answer,
    ):
        assert answer.status == 503
    assert (await running.stop(signal.SIGINT)).code == 0


def test_a_script_that_cannot_be_used_is_told_line_by_line(inside: Any, tmp_path: Path) -> None:
    """With code 2, the file's name before everything that is wrong with it."""
    (tmp_path / "storm.yaml").write_text("[{fail: 3}, {cut: 1, form: x}]")
    code, out, err = inside("simulate", "--faults", "storm.yaml")
    assert (code, out) == (2, "")
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "storm.yaml: fault 1: fail must be a share from 0 to 1",
        "storm.yaml: fault 2: form is not known beside cut: at, for, endpoint, ids, times are",
    ]
    code, _, err = inside("simulate", "--faults", "missing.yaml")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "missing.yaml" in err


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
