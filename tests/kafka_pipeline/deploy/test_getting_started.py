"""Who follows docs/getting-started.md word for word reaches a running pipeline."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from kafka_pipeline.claimx.schemas.events import EventType, parse_event
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.cli.topics import COMPACT_DELAY_S
from kafka_pipeline.config import PipelineConfig, load_config
from tests.kafka_pipeline.deploy.test_chart import ENVIRONMENT, NEWEST, refusals, values

PAGE: Final = Path(__file__).parents[3] / "docs" / "getting-started.md"

TOPIC_SETTINGS: Final = [name for name in PipelineConfig.model_fields if re.search(r"_topic(_prefix)?$", name)]

_STUB: Final = '#!/bin/sh\nif [ "$1" = up ]; then cat "{printed}"; fi\n'
"""Stands for a script of ours whose part runs already, in the tests of this session."""


def section(title: str) -> str:
    """Return what stands below a heading."""
    return PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    """Return the code blocks of a section in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), flags=re.MULTILINE | re.DOTALL)


def on_azure() -> dict[str, Any]:
    """Return the values of the chart that the page gives."""
    text, _ = blocks("On Azure", "yaml")
    return dict(yaml.safe_load(text))


@pytest.fixture
def folder(tmp_path: Path, kafka_bootstrap: str, azurite: Mapping[str, str], unique: Callable[..., str]) -> Path:
    """Make a folder that looks like a fresh clone to who follows the page; Kafka and Azurite run already."""
    lake = {**azurite, "LAKE_URL": f"{azurite['LAKE_URL']}/{unique('lake')}"}
    printed = {"kafka": kafka_bootstrap, "storage": "\n".join(f"{name}={value}" for name, value in lake.items())}
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name, text in printed.items():
        (tmp_path / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
        script = tmp_path / "scripts" / name
        script.write_text(_STUB.format(printed=tmp_path / f"{name}.txt"), encoding="utf-8")
        script.chmod(0o755)
    return tmp_path


@pytest.mark.kafka
@pytest.mark.azurite
def test_the_local_part_ends_with_the_rows_it_promises(folder: Path, unique: Callable[..., str]) -> None:
    """Every block is run as it stands, in one shell; only what it sets up and starts is there already."""
    script = "\n".join(["make() { :; }", *blocks("On your machine", "bash")])
    names = {name.upper(): unique(name.replace("_", "-")) for name in TOPIC_SETTINGS}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KAFKA_GROUP_PREFIX": f"{unique('started')}-",
        "KAFKA_TOPIC_PARTITIONS": "1",
        **names,
    }
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            out, errors = shell.communicate(timeout=100)
        finally:
            with suppress(ProcessLookupError):  # a page that fails half-way leaves its simulator behind
                os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, errors
    (promised,) = blocks("On your machine", "text")
    assert promised in out
    assert not (folder / "simulator.env").exists()


def test_the_settings_for_azure_are_settings_of_ours_that_hold_together(tmp_path: Path) -> None:
    """With the variables that AKS puts into each pod; and the chart takes them."""
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(on_azure()["config"]), encoding="utf-8")
    config = load_config(file, {}, ENVIRONMENT)
    assert config.azure_auth == "workload_identity"
    assert refusals(values(on_azure())) == ""
    assert set(on_azure()["secretEnv"]) == {"CLAIMX_API_TOKEN", "CLAIMX_API_SENDER_USERNAME"}


def test_the_event_hubs_on_the_page_are_the_topics_of_its_settings(tmp_path: Path) -> None:
    """Ten, as many as a Standard namespace holds: the layout of `claimx-topics --compact`."""
    assert on_azure()["config"]["claimx_retry_delays_seconds"] == [COMPACT_DELAY_S]
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(on_azure()["config"]), encoding="utf-8")
    wanted = Topics.from_config(load_config(file, {}, ENVIRONMENT)).all
    named = re.search(r"for hub in (.*?); do", section("On Azure"), flags=re.DOTALL)
    assert named is not None
    assert sorted(named.group(1).replace("\\\n", "").split()) == sorted(wanted)
    assert len(wanted) == 10


def test_the_storage_class_on_the_page_is_the_one_its_values_ask_for() -> None:
    """And Kubernetes takes it."""
    _, text = blocks("On Azure", "yaml")
    made = yaml.safe_load(text)
    kubernetes_validate.validate(made, NEWEST, strict=True)
    assert made["metadata"]["name"] == on_azure()["cache"]["storageClassName"]


def test_the_first_event_on_the_page_is_an_event() -> None:
    """Of a type that has a handler."""
    shown = re.search(r"echo '(\{.*?\})'", section("On Azure"))
    assert shown is not None
    event = parse_event(shown.group(1).encode(), record_timestamp_ms=-1, now=datetime.now(UTC))
    assert event.routed_type is EventType.PROJECT_CREATED
