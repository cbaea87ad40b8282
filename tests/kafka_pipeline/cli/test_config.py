"""`config show` and `config check`, run as the real program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from kafka_pipeline.cli import errors
from kafka_pipeline.cli.app import PROGRAM, app
from kafka_pipeline.config import PipelineConfig, Privacy

ROOT = Path(__file__).parents[3]
HUNTER = "hunter2-invented-secret"


class Run(Protocol):
    """Runs the program with these arguments, and variables as keywords."""

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Return how it ended and what it printed."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process and an empty folder, with none of our variables set but those given."""
    monkeypatch.chdir(tmp_path)
    for name in PipelineConfig.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def runner(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        with monkeypatch.context() as context:
            for name, value in environ.items():
                context.setenv(name, value)
            code = errors.run(app, program=PROGRAM, arguments=arguments)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return runner


@pytest.fixture
def process(run: Run) -> Run:
    """Run the program as a process of its own, in the same surroundings."""

    def runner(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kafka_pipeline", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return runner


def test_show_prints_every_setting_once_with_value_and_source(run: Run) -> None:
    """One line a setting, in the order of the source, the source as a comment."""
    ended = run("--set", "health_port=8080", "config", "show", LOG_LEVEL="debug")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(PipelineConfig.model_fields)
    assert {line.rpartition("  # ")[2] for line in lines} == {"default", "environment", "option"}
    assert "health_port: 8080  # option" in lines
    assert "log_level: debug  # environment" in lines
    assert "claimx_api_timeout_seconds: 30  # default" in lines
    assert "claimx_retry_delays_seconds: [300, 600, 1200, 2400]  # default" in lines
    assert "kafka_bootstrap_servers: null  # default" in lines


def test_what_show_prints_can_be_given_back(run: Run, tmp_path: Path) -> None:
    """The output is a settings file that means the same."""
    first = run(
        "--set", "kafka_bootstrap_servers=[::1]:9092", "--set", "claimx_api_timeout_seconds=0.5", "config", "show"
    )
    (tmp_path / "settings.yaml").write_text(first.stdout, encoding="utf-8")
    second = run("--config", "settings.yaml", "config", "show")
    assert (second.returncode, second.stderr) == (0, "")
    assert yaml.safe_load(second.stdout) == yaml.safe_load(first.stdout)


def test_show_json_is_a_list_of_settings(run: Run) -> None:
    """The same for machines: these keys, native types, nothing else on stdout."""
    ended = run("config", "show", "--json")
    rows = json.loads(ended.stdout)
    assert [row["field"] for row in rows] == list(PipelineConfig.model_fields)
    assert {tuple(row) for row in rows} == {("field", "value", "source", "variable", "description")}
    by_field = {row["field"]: row for row in rows}
    assert by_field["claimx_retry_delays_seconds"] == {
        "field": "claimx_retry_delays_seconds",
        "value": [300, 600, 1200, 2400],
        "source": "default",
        "variable": "CLAIMX_RETRY_DELAYS_SECONDS",
        "description": PipelineConfig.model_fields["claimx_retry_delays_seconds"].description,
    }
    assert by_field["data_dir"]["value"] == "data"
    assert by_field["claimx_store_signed_links"]["value"] is False


@pytest.mark.parametrize("arguments", [("config", "show"), ("config", "show", "--json")])
def test_show_masks_who_we_are_and_never_holds_a_secret(run: Run, arguments: tuple[str, ...]) -> None:
    """The account is masked, the secret is not even read."""
    ended = run(
        *arguments,
        CLAIMX_API_SENDER_USERNAME="who-we-are@example.com",
        CLAIMX_API_TOKEN=HUNTER,
        KAFKA_SASL_PASSWORD=HUNTER,
        AZURE_STORAGE_KEY=HUNTER,
        AZURE_CLIENT_SECRET=HUNTER,
        KAFKA_SASL_USERNAME="who-we-are",
        KAFKA_SASL_MECHANISM="PLAIN",
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
    )
    assert ended.returncode == 0
    assert "who-we-are" not in ended.stdout
    assert HUNTER not in ended.stdout
    assert ended.stdout.count("***") == 2


def test_masked_are_the_fields_that_say_so() -> None:
    """Whoever adds a field of the kind finds the list here."""
    marked = [name for name, field in PipelineConfig.model_fields.items() if Privacy.NEVER_SHOWN in field.metadata]
    assert marked == ["kafka_sasl_username", "claimx_api_sender_username"]


def test_check_ends_with_0_where_all_is_well(run: Run) -> None:
    """It counts what was given."""
    ended = run("--set", "health_port=1", "config", "check")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (
        ended.stdout == f"configuration is valid: 1 settings given, {len(PipelineConfig.model_fields) - 1} by default\n"
    )


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show")])
def test_a_broken_setting_is_one_line_and_code_2(process: Run, command: tuple[str, ...]) -> None:
    """No traceback, nothing on stdout, a line for each problem: seen from outside the process."""
    ended = process("--set", "health_port=x", *command, CLAIMX_API_URI="https://api.example.com")
    assert (ended.returncode, ended.stdout) == (2, "")
    first, second = ended.stderr.splitlines()
    assert first.startswith("kafka-pipeline: CLAIMX_API_URI in the environment: ")
    assert second.startswith("kafka-pipeline: health_port in option --set health_port: 'x' is not a whole number; ")


def test_a_missing_file_is_one_line_and_code_2(process: Run) -> None:
    """The path is told as it was given."""
    ended = process("--config", "nowhere.yaml", "config", "check")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert ended.stderr.startswith("kafka-pipeline: nowhere.yaml: cannot be read (")


@pytest.mark.parametrize(
    "arguments", [(), ("confg",), ("--set", "health_port", "config", "show"), ("--set", f"={HUNTER}", "config", "show")]
)
def test_wrong_usage_is_told_with_code_2_and_without_a_traceback(run: Run, arguments: tuple[str, ...]) -> None:
    """Usage, then what was wrong with it."""
    ended = run(*arguments)
    assert ended.returncode == 2
    told = ended.stdout + ended.stderr
    assert "Usage: kafka-pipeline" in told
    assert "Traceback" not in told
    assert HUNTER not in told


def test_help_names_settings_and_exit_codes(run: Run) -> None:
    """One page says how to configure and what the codes mean."""
    ended = run("--help")
    assert ended.returncode == 0
    told = " ".join(ended.stdout.split())
    assert "--config FILE" in told
    assert "0 done, 1 a problem was found, 2 could not start, 130 interrupted" in told


def test_version_needs_no_command(run: Run) -> None:
    """`--version` prints one word."""
    ended = run("--version")
    assert (ended.returncode, len(ended.stdout.splitlines())) == (0, 1)
