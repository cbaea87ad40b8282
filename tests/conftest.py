"""The real parts that tests run against, and one place that tells what could not run.

`kafka_bootstrap`  address of a real Apache Kafka, started once per session
`azurite`          Azure Storage on this machine, once per session: what reaches it, as environment variables
`seaweedfs`        an S3 on this machine, once per session: the same
`broker`           a broker of each kind, one after the other: "embedded" and "kafka"
`unique`           names that no other test uses, for topics and groups
`missing`          what a fixture calls when its real part is not on this machine
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from zlib import crc32

import pytest
import pytest_asyncio

from kafka_pipeline.common.messaging import Broker
from kafka_pipeline.common.messaging.embedded import EmbeddedBroker
from kafka_pipeline.common.messaging.kafka import KafkaBroker, KafkaSettings

REPOSITORY = Path(__file__).resolve().parent.parent
MISSING_TOOL = 4
"""The exit code of the scripts where a tool they need is missing: Java, Maven, Node."""

Started = Callable[..., AbstractContextManager[str]]
"""Starts a service by a script and its arguments, gives what it printed, and takes the service down."""


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Return what to call, with a reason, when a real part is missing: a skip here, a failure in CI."""

    def give_up(reason: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(f"in CI every real part must run: {reason}", pytrace=False)
        pytest.skip(reason)

    return give_up


@contextmanager
def _users(folder: Path) -> Iterator[Callable[[int], int]]:
    """Count who uses what is in a folder, alone for as long as the context is entered: the runners share it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def change(by: int) -> int:
            file.seek(0)
            users = int(file.read() or 0) + by
            file.truncate(0)
            file.write(str(users))
            file.flush()
            return users

        yield change


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> Started:
    """Return what starts a real part by a script of ours, with its data in a temporary folder.

    Where tests run side by side, all runners share it: the first starts it, the last takes it down.
    """

    @contextmanager
    def start(script: str, *service: str, options: Sequence[str] = ()) -> Iterator[str]:
        command = [sys.executable, str(REPOSITORY / "scripts" / script)]
        base = tmp_path_factory.getbasetemp()
        session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        folder = session / f"{script}-{crc32(repr([service, options]).encode()):08x}"
        data = ["--data", str(folder / "node")]
        with _users(folder) as change:
            up = subprocess.run(
                [*command, "up", *service, *data, *options], capture_output=True, text=True, check=False
            )
            if up.returncode == MISSING_TOOL:
                missing(up.stderr.strip())
            if up.returncode != 0:
                subprocess.run([*command, "down", *service, *data], capture_output=True, check=False)
                pytest.fail(up.stderr.strip(), pytrace=False)
            change(1)
        try:
            yield up.stdout
        finally:
            with _users(folder) as change:
                if change(-1) == 0:
                    subprocess.run([*command, "down", *service, *data], capture_output=True, check=False)

    return start


@pytest.fixture(scope="session")
def kafka_bootstrap(started: Started) -> Iterator[str]:
    """Give the address of a real Kafka: a running one if KAFKA_BOOTSTRAP_SERVERS names it, else one of our own."""
    running = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if running:
        yield running
        return
    with started("kafka") as printed:
        yield printed.split()[-1]


@pytest.fixture(scope="session")
def azurite(started: Started) -> Iterator[Mapping[str, str]]:
    """Give the variables with which a lake on Azurite is opened; take paths from `unique` below the container."""
    with started("storage", "azurite") as printed:
        yield dict(line.split("=", 1) for line in printed.splitlines())


@pytest.fixture(scope="session")
def seaweedfs(started: Started) -> Iterator[Mapping[str, str]]:
    """Give the address of an S3 and the key that opens it."""
    with started("storage", "seaweedfs") as printed:
        yield dict(line.split("=", 1) for line in printed.splitlines())


@pytest.fixture
def unique() -> Callable[..., str]:
    """Return a function that makes a name nobody else uses: `unique("topic")` gives `topic-3f2a…`."""
    return lambda stem="name": f"{stem}-{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    """Give a broker of each kind. Kafka's is shared with other tests: take topics and groups from `unique`."""
    made: Broker
    if request.param == "embedded":
        made = EmbeddedBroker(tmp_path / "broker.db", revoke_budget_s=5)
    else:
        settings = KafkaSettings(
            bootstrap_servers=request.getfixturevalue("kafka_bootstrap"),
            session_timeout_s=6,  # the least that a broker's defaults allow
            heartbeat_interval_s=0.2,
            max_poll_interval_s=25,  # a fifth of it is the revoke budget
        )
        made = KafkaBroker(settings)
    yield made
    await made.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say at the very end what could not run, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("what could not run here")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count} tests: {reason}")
