"""Where the lake is and how to open it, as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping

from kafka_pipeline.claimx.identity import azure_account
from kafka_pipeline.common.azure.credential import CurrentCredential
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.config import PipelineConfig


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
