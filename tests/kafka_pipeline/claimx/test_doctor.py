"""Promises of the doctor's judgement: what is a failure, what a warning, and that no failure hides another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.claimx import doctor
from kafka_pipeline.claimx.doctor import Check, Finding, Found, Status, examine, folder, skew
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.messaging import BrokerUnavailableError
from kafka_pipeline.config import ConfigError, PipelineConfig, Problem

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
LINK = "https://files.example.com/a?X-Amz-Signature=hunter2"


def check(name: str, look: Callable[[], Awaitable[Found]], *, timeout_s: float = 20.0) -> Check:
    """Return a check with a remedy."""
    return Check(name=name, look=look, timeout_s=timeout_s, remedy="look there")


async def well() -> Found:
    """Find nothing wrong."""
    return Status.OK, "it is there", None


def failing(error: Exception) -> Callable[[], Awaitable[Found]]:
    """Return a look that meets an error."""

    async def look() -> Found:
        raise error

    return look


@pytest.mark.parametrize(
    ("error", "told", "remedy"),
    [
        (PipelineError("the lake is away: wait", Category.TRANSIENT), "the lake is away: wait", None),
        (BrokerUnavailableError("Kafka is away:\ncheck it"), "Kafka is away: check it", None),
        (
            ConfigError([Problem(field="a", what="is wrong", remedy="mend it"), Problem(what="b", remedy="mend it")]),
            "a is wrong; b",
            "mend it",
        ),
        (PermissionError(13, "Permission denied"), "Permission denied", "look there"),
        (KeyError(LINK), "unexpected KeyError", "look there"),
        (TimeoutError(), "TimeoutError", "look there"),
    ],
)
async def test_whatever_a_check_meets_is_a_finding(error: Exception, told: str, remedy: str | None) -> None:
    """In one line with a remedy, and without what nobody foresaw; the others are looked at all the same."""
    result = await examine([check("one", failing(error)), check("two", well)])
    one, two = result.findings
    assert one == Finding(check="one", status=Status.FAILED, told=told, remedy=remedy)
    assert two == Finding(check="two", status=Status.OK, told="it is there")
    assert (result.passed, result.timed_out) == (False, False)


async def test_what_does_not_answer_is_a_finding_and_keeps_nobody_waiting() -> None:
    """Not even if it does not hear that it was cancelled; the checks run side by side."""
    begun = []

    async def deaf() -> Found:
        begun.append("deaf")
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(begun) > 1:
                    raise
                begun.append("heard")

    async def other() -> Found:
        while not begun:
            await asyncio.sleep(0)
        return await well()

    result = await examine([check("slow", deaf, timeout_s=0.05), check("other", other)])
    assert [(each.status, each.told) for each in result.findings] == [
        (Status.FAILED, "no answer within 0.05 s"),
        (Status.OK, "it is there"),
    ]
    assert result.timed_out
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def judged(offset_s: float, *, took_s: float = 0.2) -> tuple[Status, str]:
    """Return what is found where the API's clock is ahead of ours by so much."""
    theirs = (NOW + timedelta(seconds=offset_s)).replace(microsecond=0)
    found = skew(format_datetime(theirs, usegmt=True), asked_at=NOW, answered_at=NOW + timedelta(seconds=took_s))
    return found[0], found[1]


def test_a_clock_that_is_off_is_told_in_which_direction() -> None:
    """A few seconds are what HTTP can tell; a minute does harm."""
    assert judged(0)[0] is judged(4)[0] is judged(-4)[0] is Status.OK
    assert judged(30) == (Status.WARNING, "this clock is 30 s behind the API's")
    assert judged(-30) == (Status.WARNING, "this clock is 29 s ahead of the API's")
    assert judged(-3_600)[0] is judged(3_600)[0] is Status.FAILED


@given(offset_s=st.integers(-10_000, 10_000), took_s=st.integers(0, 30))
def test_a_slow_answer_never_makes_a_good_clock_a_bad_one(offset_s: int, took_s: int) -> None:
    """The answer was dated somewhere between question and answer."""
    status, _ = judged(offset_s, took_s=took_s)
    if 0 <= offset_s <= took_s:
        assert status is Status.OK
    if offset_s > took_s + 61 or offset_s < -62:
        assert status is Status.FAILED


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 02 Mar 2026 14:00:00"])
def test_an_api_that_tells_no_time_is_a_warning(date: str | None) -> None:
    """Nothing is known then."""
    assert skew(date, asked_at=NOW, answered_at=NOW)[0] in {Status.WARNING, Status.OK}
    assert skew(None, asked_at=NOW, answered_at=NOW)[0] is Status.WARNING


def test_a_folder_is_judged_by_writing_and_by_the_room_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left in it; less room than the cache may take is a warning, hardly any a failure."""
    config = PipelineConfig(cache_max_bytes=10 * 2**30)
    free = {"bytes": 20 * 2**30}
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free["bytes"]}))
    place = tmp_path / "cache"
    assert folder("cache_dir", place, config) == (Status.OK, f"{place} can be written, 20.0 GiB free", None)
    assert list(place.iterdir()) == []
    free["bytes"] = 5 * 2**30
    status, _, remedy = folder("cache_dir", place, config)
    assert (status, remedy) == (Status.WARNING, "free the disk, or lower cache_max_bytes (10.0 GiB)")
    assert folder("data_dir", place, config)[0] is Status.OK
    free["bytes"] = 2**20
    assert folder("data_dir", place, config)[0] is Status.FAILED
    status, told, remedy = folder("cache_dir", Path("/dev/null/cache"), config)
    assert (status, told) == (Status.FAILED, "/dev/null/cache cannot be written (Not a directory)")
    assert remedy is not None
    assert remedy.startswith("set CACHE_DIR to a folder")


async def test_an_embedded_broker_makes_its_topics_itself(embedded_site: Any) -> None:
    """That they are missing is no failure there."""
    (topics,) = [each for each in doctor.checks(embedded_site.config, embedded_site.environ) if each.name == "topics"]
    status, told, _ = await topics.look()
    assert (status, told) == (Status.OK, "all 16 are there")
    elsewhere = embedded_site.config.model_copy(update={"claimx_dlq_topic": "others"})
    (topics,) = [each for each in doctor.checks(elsewhere, embedded_site.environ) if each.name == "topics"]
    status, told, _ = await topics.look()
    assert (status, told) == (Status.OK, "3 are made when the first worker starts")
