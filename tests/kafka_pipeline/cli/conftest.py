"""The program inside this process, for what needs no process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kafka_pipeline.cli import errors
from kafka_pipeline.cli.app import PROGRAM, app
from kafka_pipeline.config import PipelineConfig

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Inside:
    """Return a function that runs the program in an empty folder and gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in PipelineConfig.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = errors.run(app, program=PROGRAM, arguments=arguments)
        return code, *capfd.readouterr()

    return run
