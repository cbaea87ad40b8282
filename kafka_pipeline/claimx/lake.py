"""Where the lake is and how to open it, as the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from kafka_pipeline.common.azure.credential import CurrentCredential
from kafka_pipeline.common.azure.sign_in import Account, SignIn, read_file
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.config import ConfigError, PipelineConfig, Problem

_AMBIENT_KEYS = ("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_MASTER_KEY")
"""Variables from which the library below Delta takes an account key by itself, even where it was given a SAS."""


def lake_location(config: PipelineConfig, environ: Mapping[str, str], *, clock: Clock = SYSTEM_CLOCK) -> LakeLocation:
    """Return the lake of `lake_url`, with a credential that stays current if it is on Azure. Asks nobody yet.

    Raises ConfigError if a secret is not where the settings say, PipelineError if the address is none of a lake.
    """
    location = LakeLocation.parse(config.lake_location)
    if location.is_local:
        return location
    options = {"account_name": config.azure_storage_account, "endpoint": config.azure_storage_endpoint}
    plain = (config.azure_storage_endpoint or "").startswith("http://")  # loopback alone, the settings see to it
    account = azure_account(config, environ)
    return LakeLocation.parse(
        config.lake_location,
        options={name: value for name, value in options.items() if value is not None},
        client={"allow_http": "true"} if plain else {},
        credential=CurrentCredential(account.obtain, clock=clock),
    )


def azure_account(config: PipelineConfig, environ: Mapping[str, str]) -> Account:
    """Return who signs in to Azure. A secret of the environment is read now, one of a file whenever it is needed.

    Raises ConfigError if it is not there.
    """
    how = _how(config, environ)
    if how is not SignIn.KEY and (ambient := [name for name in _AMBIENT_KEYS if environ.get(name)]):
        what = f"is {how.value}, but the variable {ambient[0]} is set, and the tables would be opened with that key"
        raise ConfigError([Problem(field="azure_auth", what=what, remedy=f"unset {ambient[0]}")])
    return Account(
        how=how,
        read_secret=_secret_of(how, config, environ),
        tenant_id=config.azure_tenant_id or "",
        client_id=config.azure_client_id or "",
        token_file=config.azure_federated_token_file,
        authority=config.azure_authority_host,
    )


def _how(config: PipelineConfig, environ: Mapping[str, str]) -> SignIn:
    """Return the way to sign in: the one that is set, else the first whose parts are all there."""
    if config.azure_auth != "auto":
        return SignIn(config.azure_auth)
    onelake = LakeLocation.parse(config.lake_location).is_onelake
    application = config.azure_tenant_id and config.azure_client_id
    there = {
        SignIn.KEY: environ.get(config.azure_storage_key_env) and not onelake,
        SignIn.SAS: environ.get(config.azure_storage_sas_env),
        SignIn.SERVICE_PRINCIPAL: application and environ.get(config.azure_client_secret_env),
        SignIn.WORKLOAD_IDENTITY: application and config.azure_federated_token_file,
    }
    return next((how for how, given in there.items() if given), SignIn.MANAGED_IDENTITY)


def _secret_of(how: SignIn, config: PipelineConfig, environ: Mapping[str, str]) -> Callable[[], str] | None:
    match how:
        case SignIn.KEY | SignIn.SAS | SignIn.SERVICE_PRINCIPAL if config.azure_secret_file is not None:
            return partial(read_file, config.azure_secret_file)
        case SignIn.KEY:
            secret = config.azure_secret("azure_storage_key", environ)
        case SignIn.SAS:
            secret = config.azure_secret("azure_storage_sas", environ)
        case SignIn.SERVICE_PRINCIPAL:
            secret = config.azure_secret("azure_client_secret", environ)
        case _:
            return None
    return lambda: secret
