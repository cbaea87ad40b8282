"""Real parts for benchmarks, each started for one of them and gone with it: Apache Kafka, Azurite, SeaweedFS."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_SCRIPTS = Path(__file__).parents[1] / "scripts"


class PartError(Exception):
    """A real part did not start; the text says what it said."""


@contextmanager
def kafka() -> Iterator[str]:
    """Give the address of an Apache Kafka: the one that KAFKA_BOOTSTRAP_SERVERS names, else one of our own."""
    running = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if running:
        yield running
        return
    with _up("kafka") as printed:
        yield printed.split()[-1]


@contextmanager
def azurite() -> Iterator[Mapping[str, str]]:
    """Give the variables with which a lake on Azurite is opened."""
    with _up("storage", "azurite") as printed:
        yield _variables(printed)


@contextmanager
def seaweedfs() -> Iterator[Mapping[str, str]]:
    """Give the address of an S3 and the key that opens it."""
    with _up("storage", "seaweedfs") as printed:
        yield _variables(printed)


@contextmanager
def _up(script: str, *service: str) -> Iterator[str]:
    command = [sys.executable, str(_SCRIPTS / script)]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = ["--data", str(Path(folder) / "node")]
        up = subprocess.run([*command, "up", *service, *data], capture_output=True, text=True, check=False)  # noqa: S603
        try:
            if up.returncode:
                raise PartError(up.stderr.strip())
            yield up.stdout
        finally:
            subprocess.run([*command, "down", *service, *data], capture_output=True, check=False)  # noqa: S603


def _variables(printed: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in printed.splitlines())
