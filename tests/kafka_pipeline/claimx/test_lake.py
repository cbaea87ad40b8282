"""The configuration says where the lake is and how to sign in, and what does not fit is told at the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from kafka_pipeline.claimx.identity import azure_account, kafka_token
from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.common.azure.credential import Credential, CredentialForm
from kafka_pipeline.common.azure.sign_in import Account, SignIn
from kafka_pipeline.common.messaging.kafka import KafkaSettings
from kafka_pipeline.config import ConfigError, PipelineConfig, load_config

ONELAKE = "abfss://ws@onelake.dfs.fabric.microsoft.com/lh.Lakehouse"
SECRET = "hunter2-invented-secret"
APPLICATION = {"AZURE_TENANT_ID": "tenant.example.com", "AZURE_CLIENT_ID": "application-1"}


def _load(**environ: str) -> tuple[PipelineConfig, Mapping[str, str]]:
    return load_config(None, {}, environ), environ


def test_a_local_lake_needs_no_sign_in(tmp_path: Path) -> None:
    """Whatever else is in the environment."""
    lake = lake_location(*_load(LAKE_URL=str(tmp_path), AZURE_STORAGE_ACCESS_KEY=SECRET))
    assert (lake.root, lake.credential, lake.delta_options()) == (str(tmp_path), None, {})


def test_a_lake_on_azure_gets_its_account_its_endpoint_and_its_credential() -> None:
    """Plain HTTP is allowed for an emulator on this machine, and only there."""
    settings = {"LAKE_URL": "az://lake/x", "AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": "Zm9v"}
    lake = lake_location(*_load(**settings, AZURE_STORAGE_ENDPOINT="http://127.0.0.1:10000/account"))
    assert dict(lake.options) == {"account_name": "account", "endpoint": "http://127.0.0.1:10000/account"}
    assert dict(lake.client) == {"allow_http": "true"}
    assert lake.credential is not None
    assert lake.credential.current().form is CredentialForm.ACCOUNT_KEY
    assert dict(lake_location(*_load(**settings)).client) == {}


def test_onelake_needs_nothing_but_its_address_and_an_identity() -> None:
    """The host says the rest."""
    lake = lake_location(*_load(LAKE_URL=ONELAKE))
    assert (lake.root, dict(lake.options), dict(lake.client)) == (ONELAKE, {}, {})
    assert lake.credential is not None


@pytest.mark.parametrize(
    ("environ", "how"),
    [
        ({}, SignIn.MANAGED_IDENTITY),
        ({"AZURE_STORAGE_SAS_TOKEN": SECRET}, SignIn.SAS),
        ({"AZURE_STORAGE_KEY": SECRET}, SignIn.MANAGED_IDENTITY),
        ({**APPLICATION, "AZURE_CLIENT_SECRET": SECRET}, SignIn.SERVICE_PRINCIPAL),
        ({**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": "/token"}, SignIn.WORKLOAD_IDENTITY),
        ({"AZURE_CLIENT_ID": "identity-1"}, SignIn.MANAGED_IDENTITY),
    ],
)
def test_auto_takes_what_is_set_up(environ: dict[str, str], how: SignIn) -> None:
    """The variables are those that Kubernetes and App Service set; a key, which OneLake has none of, is passed over."""
    account = azure_account(*_load(LAKE_URL=ONELAKE, **environ))
    assert account.how is how
    assert account.client_id == environ.get("AZURE_CLIENT_ID", "")


def test_a_secret_is_read_from_the_variable_that_was_named() -> None:
    """And missed with its name, at the start."""
    config, environ = _load(AZURE_AUTH="sas", AZURE_STORAGE_SAS_ENV="OUR_SAS", OUR_SAS=f" {SECRET}\n")
    account = azure_account(config, environ)
    assert account.read_secret is not None
    assert account.read_secret() == SECRET
    with pytest.raises(ConfigError, match="azure_storage_sas_env: names the environment variable OUR_SAS"):
        azure_account(config, {})


def test_a_secret_in_a_file_is_read_whenever_it_is_needed(tmp_path: Path) -> None:
    """So that it may be rotated while the worker runs."""
    file = tmp_path / "key"
    account = azure_account(*_load(AZURE_AUTH="key", AZURE_SECRET_FILE=str(file)))
    assert account.read_secret is not None
    for secret in ("first", "second"):
        file.write_text(f"{secret}\n")
        assert account.obtain().secret == secret


def test_every_example_of_the_page_can_be_copied(tmp_path: Path) -> None:
    """docs/storage.md is where people begin."""
    page = (Path(__file__).parents[3] / "docs" / "storage.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        (tmp_path / "settings.yaml").write_text(example, encoding="utf-8")
        environ = {**APPLICATION, "AZURE_FEDERATED_TOKEN_FILE": "/token"}
        lake = lake_location(load_config(tmp_path / "settings.yaml", {}, environ), environ)
        assert lake.is_onelake or "kafka_" in example


@pytest.mark.parametrize("name", ["AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_MASTER_KEY"])
def test_a_key_that_the_library_would_take_by_itself_is_refused(name: str) -> None:
    """Tables would be opened with it and files with the SAS: two identities for one lake."""
    settings = {"LAKE_URL": ONELAKE, "AZURE_STORAGE_SAS_TOKEN": "sig=x", name: SECRET}
    with pytest.raises(ConfigError, match=f"unset {name}") as caught:
        lake_location(*_load(**settings))
    assert SECRET not in str(caught.value)


def test_a_token_for_kafka_is_of_the_same_identity_and_for_the_first_broker() -> None:
    """Event Hubs wants tokens for its own host; a scope that is set wins."""
    asked: list[str] = []

    def obtain(self: Account, scope: str = "") -> Credential:
        asked.append(f"{self.how.value} {scope}")
        end = datetime.now(UTC) + timedelta(hours=1)
        return Credential(form=CredentialForm.TOKEN, secret=SECRET, expires_at=end)

    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": "ns.servicebus.windows.net:9093",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
        "AZURE_STORAGE_KEY": "Zm9v",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "obtain", obtain)
        for more in ({}, {"KAFKA_OAUTH_SCOPE": "api://kafka/.default"}):
            token = kafka_token(*_load(**settings, **more))
            assert token is not None
            secret, end = token()
            assert (secret, end > datetime.now(UTC).timestamp()) == (SECRET, True)
    assert asked == [
        "managed_identity https://ns.servicebus.windows.net/.default",
        "managed_identity api://kafka/.default",
    ]
    assert kafka_token(*_load()) is None
    with pytest.raises(ConfigError, match="azure_auth: is key, which opens storage and not Kafka"):
        kafka_token(*_load(**settings, AZURE_AUTH="key"))


def test_a_kafka_client_asks_for_its_token() -> None:
    """Each kind of client, as it is made; a failure to get one is told by the broker's connection, not by a crash."""
    asked: list[str] = []

    def token() -> tuple[str, float]:
        asked.append("token")
        return "token-of-this-test", datetime.now(UTC).timestamp() + 3_600

    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER"}
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", client_options=options, token=token)
    assert "token" not in repr(settings).replace("token-", "")
    clients: list[Any] = [
        Producer(settings.producer()),
        Consumer(settings.consumer("group")),
        AdminClient(settings.common()),
    ]
    assert asked == ["token"] * len(clients)
    clients[1].close()
