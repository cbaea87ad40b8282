"""Promises of the demo, kept by real processes: it proves what it shows, and survives being stopped and killed."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

SMALL = ("demo", "--data-dir", "here", "--events", "150", "--projects", "15", "--latency-ms", "5")
MEDIUM = ("demo", "--data-dir", "here", "--events", "500", "--projects", "50", "--latency-ms", "5")
ROOT = Path(__file__).parents[3]
VERIFIED = "Verified: every row and every file equals the ground truth."


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run a small demo once; give its folder, to be copied, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "kafka_pipeline", *SMALL]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder / "here", ended.stdout


def test_a_demo_ends_verified_and_tells_what_went_in_and_what_came_out(finished: tuple[Path, str]) -> None:
    """With code 0, a line of proof, and every figure that the first issue asks for."""
    _, out = finished
    assert VERIFIED in out
    figures = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line.strip())
    assert figures["events in"].split() == ["150"]
    for label in ("duplicates dropped", "malformed set aside", "files", "API calls per event", "events per second"):
        assert figures[label].strip()
    tables = ("events", "projects", "contacts", "media", "attachments")
    assert all(int(figures[f"rows in claimx_{name}"].split()[0]) > 0 for name in tables)
    assert "event to row, p50 / p99" in figures
    assert "event to file, p50 / p99" in figures


async def test_a_demo_can_be_run_again_and_not_twice_at_once(program: Any, finished: tuple[Path, str]) -> None:
    """The second run begins from nothing; a third in the same folder is refused while it runs, and does no harm.

    Nothing of the environment gets in: settings of a real system must not lead a demo there.
    """
    shutil.copytree(finished[0], program.folder / "here")
    left = program.folder / "here" / "lake" / "Files" / "left-by-the-first-run"
    left.touch()
    foreign = {"LAKE_URL": "/nowhere/lake", "CLAIMX_API_URL": "https://claimx.example.com/api"}
    running = await program.start(*SMALL, **foreign)
    await running.told("events over")
    refused = await program.run(*SMALL)
    assert refused.code == 2
    assert "a demo is running" in refused.problem
    ended = await running.ended()
    assert (ended.code, ended.err) == (0, "")
    assert VERIFIED in ended.out
    assert not left.exists()


@pytest.fixture
def fresh_kafka(tmp_path: Path, kafka_bootstrap: str, missing: Callable[[str], NoReturn]) -> Iterator[dict[str, str]]:
    """Give the environment of somebody who has Kafka's jars and no node yet; stop the node that comes to be."""
    shared = os.environ.get("XDG_CACHE_HOME")
    cache = Path(shared, "kafka-pipeline", "kafka") if shared else ROOT / ".cache" / "kafka"
    jars = next(cache.glob("jars-*"), None)
    if jars is None:
        missing("Apache Kafka's jars are not here, only a running broker")
    folder = tmp_path / "cache" / "kafka-pipeline" / "kafka"
    folder.mkdir(parents=True)
    (folder / jars.name).symlink_to(jars)
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "KAFKA_BOOTSTRAP_SERVERS": ""}
    yield environ
    down = [sys.executable, str(ROOT / "scripts" / "kafka"), "down"]
    subprocess.run(down, env=os.environ | environ, capture_output=True, check=True, timeout=60)


@pytest.mark.kafka
async def test_a_demo_brings_its_own_kafka(program: Any, fresh_kafka: dict[str, str]) -> None:
    """On a node that was never used: no group has a coordinator yet, which must not end the process either."""
    ended = await program.run(*SMALL, "--kafka", **fresh_kafka)
    assert (ended.code, ended.err) == (0, "")
    assert "Starting Apache Kafka (stop it with scripts/kafka down)" in ended.out
    assert VERIFIED in ended.out


@pytest.mark.kafka
async def test_a_demo_on_a_running_broker_ends_verified(program: Any, kafka_bootstrap: str) -> None:
    """The same, with the Apache Kafka that a variable names between the workers."""
    ended = await program.run(*SMALL, "--kafka", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap)
    assert (ended.code, ended.err) == (0, "")
    assert kafka_bootstrap in ended.out
    assert VERIFIED in ended.out


async def test_an_interrupted_demo_is_resumed_to_the_same_end(program: Any) -> None:
    """Ctrl-C drains and ends with 130; --resume goes on and ends verified."""
    running = await program.start(*MEDIUM)
    await running.made(program.folder / "here", "lake/Tables/claimx_events/_delta_log/*.json")
    stopped = await running.stop(signal.SIGINT)
    assert stopped.code == 130
    assert "--resume" in stopped.out
    resumed = await program.run("demo", "--data-dir", "here", "--resume")
    assert resumed.code == 0, resumed.out
    assert VERIFIED in resumed.out


@pytest.mark.crash
@pytest.mark.parametrize(
    "sign",
    [
        "lake/Tables/claimx_events/_delta_log/*.json",
        "lake/Tables/claimx_media/_delta_log/*.json",
        "cache/claimx/*/*",
        "lake/Files/claimx/*/*/*",
        "lake/Tables/claimx_attachments/_delta_log/*.json",
    ],
    ids=["while ingesting", "while enriching", "while downloading", "while uploading", "while recording"],
)
async def test_a_killed_demo_is_resumed_to_the_same_end(program: Any, sign: str) -> None:
    """Kill -9 in any phase: nothing is lost, nothing is twice, nothing partial stays (I1, I2, I5, I6)."""
    running = await program.start(*MEDIUM)
    await running.made(program.folder / "here", sign)
    killed = await running.stop(signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    resumed = await program.run("demo", "--data-dir", "here", "--resume")
    assert resumed.code == 0, resumed.out
    assert VERIFIED in resumed.out


async def test_a_planted_difference_is_found(program: Any, finished: tuple[Path, str]) -> None:
    """What the verifier says is worth something: a row too many and a changed byte end with 1 and are named."""
    shutil.copytree(finished[0], program.folder / "here")
    lake = program.folder / "here" / "lake"
    table = DeltaTable(str(lake / "Tables" / "claimx_media"))
    rows = table.to_pyarrow_table().slice(0, 1)
    write_deltalake(table, pa.table(rows), mode="append")
    victim = next(path for path in (lake / "Files").rglob("*") if path.is_file())
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    ended = await program.run("demo", "--data-dir", "here", "--resume")
    assert ended.code == 1
    assert "doubled" in ended.out
    assert "bytes different" in ended.out
    assert VERIFIED not in ended.out


async def test_a_demo_empties_no_folder_that_is_not_its_own(program: Any) -> None:
    """Files of somebody else stay where they are."""
    shutil.copytree(Path(__file__).parent, program.folder / "here")
    ended = await program.run(*SMALL)
    assert ended.code == 2
    assert "--data-dir" in ended.problem
    assert filecmp.cmp(__file__, program.folder / "here" / Path(__file__).name, shallow=False)


PLAN = {"seed": 1, "events": 9, "projects": 2, "latency_ms": 1, "kafka_bootstrap_servers": None, "run_id": "x"}


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (None, "nothing to resume"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({"seed": 1}), "cannot be read"),
        (json.dumps(PLAN | {"events": "many"}), "cannot be read"),
    ],
)
def test_there_must_be_something_to_resume(
    inside: Callable[..., tuple[int, str, str]], tmp_path: Path, plan: str | None, told: str
) -> None:
    """One readable line for a folder without a demo, and for one whose plan is broken; nothing is emptied."""
    folder = tmp_path / "here"
    if plan is not None:
        folder.mkdir()
        (folder / "demo.lock").touch()
        (folder / "demo.json").write_text(plan)
    code, out, err = inside("demo", "--data-dir", "here", "--resume")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert told in err
    assert plan is None or (folder / "demo.json").read_text() == plan


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("demo", "--data-dir", "here", "--events", "5"), "leave no room for 100 projects"),
        (("demo", "--data-dir", "here", "--projects", "1000000"), "projects must be between"),
        (("demo", "--data-dir", "here", "--latency-ms", "inf"), "--latency-ms"),
        (("demo", "--data-dir", "here/demo.json"), "File exists"),
        (("demo", "--data-dir", "/dev/null/here"), "/dev/null/here"),
        (("--set", "lake_url=/nowhere", "demo", "--data-dir", "here"), "takes no settings"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_demo_that_cannot_begin_says_why_and_leaves_the_last_one_alone(
    inside: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    """With code 2 and without a traceback, before anything is emptied."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "demo.lock").touch()
    (folder / "demo.json").write_text(json.dumps(PLAN))
    code, out, err = inside(*arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert json.loads((folder / "demo.json").read_text()) == PLAN
