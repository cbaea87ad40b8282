"""The program inside this process, for what needs no process of its own."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from kafka_pipeline.claimx import pipeline
from kafka_pipeline.cli import errors, topics
from kafka_pipeline.cli.app import PROGRAM, app
from kafka_pipeline.config import PipelineConfig

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Inside]:
    """Return a function that runs the program in an empty folder and gives its exit code, stdout and stderr.

    Variables come as keywords. It waits for a broker only shortly, and leaves the logging of this process as it was.
    """
    monkeypatch.chdir(tmp_path)
    for module, name in ((pipeline, "_BROKER_CHECK_S"), (topics, "_CHECK_S")):
        monkeypatch.setattr(module, name, 0.3)
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)

    def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
        for name in PipelineConfig.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = errors.run(app, program=PROGRAM, arguments=arguments)
        return code, *capfd.readouterr()

    yield run
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
