"""Promises of the demo, kept by real processes: it proves what it shows, and survives being stopped and killed."""

from __future__ import annotations

import filecmp
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

SMALL = ("demo", "--data-dir", "here", "--events", "150", "--projects", "15", "--latency-ms", "5")
MEDIUM = ("demo", "--data-dir", "here", "--events", "500", "--projects", "50", "--latency-ms", "5")
VERIFIED = "Verified: every row and every file equals the ground truth."


async def test_a_demo_ends_verified_and_can_be_run_again(program: Any) -> None:
    """Twice in a row, each from nothing; the table says what went in and what came out."""
    for _ in range(2):
        ended = await program.run(*SMALL)
        assert (ended.code, ended.err) == (0, "")
        assert VERIFIED in ended.out
        for label in ("events in", "duplicates dropped", "malformed set aside", "rows in claimx_media", "files", "p50"):
            assert label in ended.out


@pytest.mark.kafka
async def test_a_demo_on_a_real_broker_ends_verified(program: Any, kafka_bootstrap: str) -> None:
    """The same, with Apache Kafka between the workers."""
    ended = await program.run(*SMALL, "--kafka", KAFKA_BOOTSTRAP_SERVERS=kafka_bootstrap)
    assert (ended.code, ended.err) == (0, "")
    assert kafka_bootstrap in ended.out
    assert VERIFIED in ended.out


async def test_nothing_of_the_environment_gets_into_a_demo(program: Any) -> None:
    """Settings of a real system must not lead a demo there."""
    ended = await program.run(*SMALL, LAKE_URL="/nowhere/lake", CLAIMX_API_URL="https://claimx.example.com/api")
    assert ended.code == 0
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


async def test_a_planted_difference_is_found(program: Any) -> None:
    """What the verifier says is worth something: a row too many and a changed byte end with 1 and are named."""
    assert (await program.run(*SMALL)).code == 0
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


async def test_two_demos_do_not_share_a_folder(program: Any) -> None:
    """The second one is refused while the first one runs."""
    running = await program.start(*SMALL)
    await running.told("events over")
    second = await program.run(*SMALL)
    assert second.code == 2
    assert "a demo is running" in second.problem
    assert (await running.ended()).code == 0


async def test_there_must_be_something_to_resume(program: Any) -> None:
    """One readable line for a folder without a demo, and for one whose plan is broken."""
    ended = await program.run("demo", "--data-dir", "here", "--resume")
    assert ended.code == 2
    assert "nothing to resume" in ended.problem
    shutil.rmtree(program.folder / "here")
    assert (await program.run(*SMALL)).code == 0
    (program.folder / "here" / "demo.json").write_text(json.dumps({"seed": "one"}))
    ended = await program.run("demo", "--data-dir", "here", "--resume")
    assert ended.code == 2
    assert "cannot be read" in ended.problem
