"""`doctor`: everything is looked at, on both brokers; what is wrong is one line with the remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

PARTS = ["config", "broker", "topics", "api", "lake", "clock", "disk"]
WRONG_TOKEN = "d3Jvbmc6a2V5"


async def test_where_all_is_well_each_check_says_so(site: Any, program: Any) -> None:
    """Code 0, a line for each part, nothing on stderr; the lake and the cache are as before."""
    ended = await program.run("doctor", **site.environ | {"CACHE_MAX_BYTES": "1048576"})
    assert (ended.code, ended.err) == (0, ""), ended.out
    lines = ended.out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", part] for part in PARTS]
    assert not any((site.lake / "Files").iterdir())
    as_json = await program.run("doctor", "--json", **site.environ)
    findings = json.loads(as_json.out)
    assert [each["check"] for each in findings] == PARTS
    assert {tuple(each) for each in findings} == {("check", "status", "told", "remedy")}


@pytest.mark.kafka
async def test_missing_topics_are_told_with_the_command_that_makes_them(
    kafka_bootstrap: str, new_site: Any, program: Any
) -> None:
    """And nothing else fails because of it."""
    site = await new_site(kafka_bootstrap, bare=True)
    ended = await program.run("doctor", "--json", **site.environ)
    assert ended.code == 1
    failed = [each for each in json.loads(ended.out) if each["status"] == "failed"]
    assert [each["check"] for each in failed] == ["topics"]
    assert failed[0]["told"].startswith("16 of 16 are missing (")
    assert failed[0]["remedy"] == "run `kafka-pipeline claimx-topics` to create them"


async def test_a_refused_token_is_told_and_not_shown(embedded_site: Any, program: Any) -> None:
    """The variable is named, the token is not."""
    ended = await program.run("doctor", **embedded_site.environ | {"CLAIMX_API_TOKEN": WRONG_TOKEN})
    assert ended.code == 1
    (line,) = [line for line in ended.out.splitlines() if line.startswith("failed")]
    assert "refuses the token; check the variable CLAIMX_API_TOKEN" in line
    assert WRONG_TOKEN not in ended.out + ended.err


def test_everything_wrong_is_told_at_once(inside: Any) -> None:
    """No check keeps another from being made; no traceback, nothing on stderr."""
    code, out, err = inside(
        "doctor",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        CLAIMX_API_URL="http://127.0.0.1:1/api",
        ALLOW_PRIVATE_DOWNLOAD_HOSTS="127.0.0.1:1",
        CLAIMX_API_TOKEN=WRONG_TOKEN,
        CLAIMX_API_SENDER_USERNAME="tests@example.com",
        LAKE_URL="/dev/null/lake",
        CACHE_DIR="/dev/null/cache",
    )
    assert (code, err) == (1, "")
    told = {line.split()[1]: line for line in out.splitlines()}
    assert list(told) == PARTS
    assert {part: line.split()[0] for part, line in told.items()} == {
        "config": "ok",
        "clock": "warning",
        **dict.fromkeys(("broker", "topics", "api", "lake", "disk"), "failed"),
    }
    assert "Kafka at 127.0.0.1:1 does not answer: check kafka_bootstrap_servers" in told["broker"]
    assert "see the check of the broker" in told["topics"]
    assert "check claimx_api_url and the network" in told["api"]
    assert "set LAKE_URL to a folder that this user may write" in told["lake"]
    assert "set CACHE_DIR to a folder that this user may write" in told["disk"]


def test_a_broken_setting_is_told_and_the_rest_needs_it(inside: Any) -> None:
    """One line a problem, as `config check` tells them; code 1, for a check failed."""
    code, out, err = inside("--set", "health_port=x", "doctor", "--json", LOG_LEVEL="loud")
    assert (code, err) == (1, "")
    findings = json.loads(out)
    assert [(each["check"], each["status"]) for each in findings] == [("config", "failed")] * 2
    assert all(each["remedy"] for each in findings)


async def test_what_hangs_keeps_the_doctor_no_longer_than_its_time_out(embedded_site: Any, program: Any) -> None:
    """An API that takes its time is told, and the process ends."""
    embedded_site.simulator._traffic._latency_s = 60.0
    ended = await program.run("doctor", **embedded_site.environ | {"CLAIMX_API_TIMEOUT_SECONDS": "0.2"})
    assert ended.code == 1
    (line,) = [line for line in ended.out.splitlines() if line.startswith("failed")]
    assert line.split()[1] == "api"
    assert "Traceback" not in ended.err
