"""Who signs in to Azure, as the configuration says: for the lake, and for Kafka where it takes tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from kafka_pipeline.common.azure.credential import CurrentCredential
from kafka_pipeline.common.azure.sign_in import Account, SignIn, read_file
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.config import ConfigError, PipelineConfig, Problem

_log = structlog.get_logger(__name__)

_SECRETS_OF_STORAGE = frozenset({SignIn.KEY, SignIn.SAS})

_AMBIENT_KEYS = ("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_MASTER_KEY")
"""Variables from which the library below Delta takes an account key by itself, even where it was given a SAS."""


def azure_account(config: PipelineConfig, environ: Mapping[str, str]) -> Account:
    """Return who signs in to Azure. A secret of the environment is read now, one of a file whenever it is needed.

    Raises ConfigError if it is not there.
    """
    how = _how(config, environ)
    if how is not SignIn.KEY and (ambient := [name for name in _AMBIENT_KEYS if environ.get(name)]):
        what = f"is {how.value}, but the variable {ambient[0]} is set, and the tables would be opened with that key"
        raise ConfigError([Problem(field="azure_auth", what=what, remedy=f"unset {ambient[0]}")])
    return _account(how, config, environ)


def kafka_token(config: PipelineConfig, environ: Mapping[str, str]) -> Callable[[], tuple[str, float]] | None:
    """Return what gives a token for Kafka and its end (epoch seconds), where the settings ask for OAUTHBEARER.

    It is the identity of `azure_auth`, with a token of its own. Raises ConfigError if that signs in by key or SAS.
    """
    if config.kafka_sasl_mechanism != "OAUTHBEARER":
        return None
    how = _how(config, environ, tokens_only=True)
    if how in _SECRETS_OF_STORAGE:
        what, remedy = f"is {how.value}, which opens storage and not Kafka", "choose an identity, or another mechanism"
        raise ConfigError([Problem(field="azure_auth", what=what, remedy=remedy)])
    first_host = (config.kafka_bootstrap_servers or "").partition(",")[0].rpartition(":")[0]
    scope = config.kafka_oauth_scope or f"https://{first_host}/.default"
    current = CurrentCredential(partial(_account(how, config, environ).obtain, scope), purpose="kafka")

    def token() -> tuple[str, float]:
        try:
            held = current.current()
        except PipelineError as error:  # librdkafka tells no reason, only that there is no token
            _log.error("kafka_token_unavailable", error=error.text, category=error.category.value)
            raise
        return held.secret, held.expires_at.timestamp() if held.expires_at is not None else 0.0

    return token


def _account(how: SignIn, config: PipelineConfig, environ: Mapping[str, str]) -> Account:
    return Account(
        how=how,
        read_secret=_secret_of(how, config, environ),
        tenant_id=config.azure_tenant_id or "",
        client_id=config.azure_client_id or "",
        token_file=config.azure_federated_token_file,
        authority=config.azure_authority_host,
    )


def _how(config: PipelineConfig, environ: Mapping[str, str], *, tokens_only: bool = False) -> SignIn:
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
    usable = (how for how, given in there.items() if given and not (tokens_only and how in _SECRETS_OF_STORAGE))
    return next(usable, SignIn.MANAGED_IDENTITY)


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
