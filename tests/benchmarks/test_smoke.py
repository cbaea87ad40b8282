"""Every benchmark runs, at tiny size, so that none rots. What it costs is not looked at here."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.report import stored_results

ROOT: Final = Path(__file__).parents[2]

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "download": ("seaweedfs",),
    "enrichment": ("kafka",),
    "event_dedup": (),
    "ingest": ("kafka",),
    "latency": ("kafka",),
    "loop_overhead": ("kafka",),
    "memory": ("kafka",),
    "parse_event": (),
    "retry_precision": ("kafka",),
    "scale_out": ("kafka",),
    "upload": ("azurite",),
    "upsert_growth": (),
}
"""The real parts of each benchmark: the marks of its test."""

FIXTURES: Final = {"kafka": "kafka_bootstrap", "azurite": "azurite", "seaweedfs": "seaweedfs"}
"""What starts a part once per session, or skips the test where its tools are missing."""


def cases() -> list[Any]:
    """Return every benchmark with the marks of what it needs."""
    return [
        pytest.param(name, marks=[getattr(pytest.mark, part) for part in NEEDS.get(name, ())], id=name)
        for name in BENCHMARKS
    ]


def numbers(value: object) -> Iterator[float]:
    """Yield every number of a JSON value."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)


def test_what_every_benchmark_needs_is_known() -> None:
    """Else its test would run where its part is missing."""
    assert set(BENCHMARKS) == set(NEEDS)


@pytest.mark.parametrize("name", cases())
def test_a_benchmark_runs_and_says_what_it_should(name: str, request: pytest.FixtureRequest) -> None:
    """In a process of its own, as `make bench` runs it. The Kafka of the other tests will do."""
    environ = dict(os.environ)
    for part in NEEDS[name]:
        started = request.getfixturevalue(FIXTURES[part])
        if part == "kafka":
            environ["KAFKA_BOOTSTRAP_SERVERS"] = started
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", name],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    ours = [line for line in ended.stderr.splitlines() if not line.startswith("%")]  # librdkafka says what it waits for
    assert ours == [f"{name} …"]
    told = json.loads(ended.stdout)
    assert told["quick"] is True
    assert told["results"]
    for each in told["results"]:
        assert each["name"].startswith(f"{name}.")
        assert each["bounds"], "there is something to reach"
        assert all(bound["at_least"] is not None or bound["at_most"] is not None for bound in each["bounds"])
        assert all(math.isfinite(number) for number in numbers(each))
        assert each["ratio"] > 0
        assert each["sizes"]
    assert len({each["name"] for each in told["results"]}) == len(told["results"])
    assert str(ROOT) not in ended.stdout
    assert str(Path.home()) + os.sep not in ended.stdout


def test_nothing_is_stored_of_a_benchmark_that_is_gone() -> None:
    """What the page shows can be measured again."""
    assert {each.benchmark for each in stored_results()} <= set(BENCHMARKS)
