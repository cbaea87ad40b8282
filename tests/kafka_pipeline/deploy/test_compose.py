"""The compose file starts what there is, with settings that hold, and opens nothing to the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from kafka_pipeline.cli.app import ENTRIES
from kafka_pipeline.config import PipelineConfig, Source, load_config
from kafka_pipeline.simulator.api_server import API_PATH
from kafka_pipeline.simulator.settings import SimulatorSettings

COMPOSE: Final = Path(__file__).parents[3] / "deploy" / "compose" / "compose.yaml"
MADE: Final = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = MADE["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if service["image"].startswith("kafka-pipeline:")}

NO_SETTINGS: Final = {"CLAIMX_API_TOKEN", "AZURE_STORAGE_KEY"}


def option(service: str, name: str) -> str:
    """Return the value of an option in the command of a service."""
    command: list[str] = SERVICES[service]["command"]
    return command[command.index(name) + 1]


def settings() -> PipelineConfig:
    """Load the configuration as the pipeline does in its container."""
    return load_config(None, {}, SERVICES["pipeline"]["environment"])


def test_the_pipeline_is_given_settings_of_ours_and_they_hold_together() -> None:
    """Each variable is a setting or a secret that a setting names."""
    given = set(SERVICES["pipeline"]["environment"]) - NO_SETTINGS
    sources = settings().sources
    assert given == {name.upper() for name, source in sources.items() if source is Source.ENVIRONMENT}


def test_the_pipeline_finds_the_simulator_and_has_its_token() -> None:
    """Both stand in two places of the file; they must not part."""
    config = settings()
    port, storage_port = option("simulator", "--port"), option("simulator", "--storage-port")
    assert config.claimx_api_url == f"http://127.0.0.1:{port}{API_PATH}"
    assert set(config.allow_private_download_hosts) == {f"127.0.0.1:{port}", f"127.0.0.1:{storage_port}"}
    assert config.claimx_api_token(SERVICES["pipeline"]["environment"]) == SimulatorSettings().token


def test_the_pipeline_finds_its_lake_and_has_the_key() -> None:
    """The account that Azurite is told, and the container that is made."""
    account, key = SERVICES["azurite"]["environment"]["AZURITE_ACCOUNTS"].split(":")
    assert settings().azure_storage_account == account
    assert settings().azure_storage_endpoint == f"http://127.0.0.1:10000/{account}"
    assert {SERVICES[name]["environment"]["AZURE_STORAGE_KEY"] for name in ("pipeline", "container")} == {key}


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if "command" in service])
def test_a_service_of_ours_runs_a_command_that_there_is(name: str) -> None:
    """A renamed command is renamed here too."""
    assert SERVICES[name]["command"][0] in {entry.name for entry in ENTRIES}


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_has_no_rights_and_a_read_only_root(name: str) -> None:
    """As in the cluster."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_is_open_to_the_network() -> None:
    """No port is published beyond loopback, and none where another container's network is used."""
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert all(not ports[name] for name, service in SERVICES.items() if "network_mode" in service)


def test_every_image_has_a_version() -> None:
    """`latest` of next year is another program."""
    assert [name for name, service in SERVICES.items() if not re.search(r":v?\d+\.\d+\.\d+$", service["image"])] == []


def test_whatever_a_service_needs_is_there() -> None:
    """Services it waits for or whose network it uses, volumes, and files of ours that are mounted."""
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        assert service.get("network_mode", "service:kafka").removeprefix("service:") in SERVICES
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in MADE["volumes"] or (COMPOSE.parent / source).exists(), mount


def test_the_broker_is_the_one_that_tests_run_against() -> None:
    """Of the same version as `scripts/kafka` starts."""
    script = (COMPOSE.parents[2] / "scripts" / "kafka").read_text(encoding="utf-8")
    assert f'KAFKA_VERSION = "{SERVICES["kafka"]["image"].partition(":")[2]}"' in script
