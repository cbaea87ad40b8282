"""Every setting of the pipeline, with its unit, its default and its bounds.

Defaults < YAML file < environment < command line. The environment variable of a field is its name in capitals; lists
are given comma-separated or as JSON. What is wrong is told all at once, one readable line each (`ConfigError`).

Secrets are not settings: `claimx_api_token_env` names the variable that holds the token, and only
`PipelineConfig.claimx_api_token` reads it [SEC-12]. Loading succeeds with nothing set; what a worker cannot do without
it asks for at its start (`require_claimx_api_url` and its siblings).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from kafka_pipeline._settings import azure, checks
from kafka_pipeline._settings.problems import ConfigError, ConflictError, Privacy, Problem, Source, explain
from kafka_pipeline._settings.secrets import read_secret
from kafka_pipeline._settings.sources import LayerSource, read_environment, read_file, read_options

__all__ = ["ConfigError", "PipelineConfig", "Privacy", "Problem", "Source", "load_config"]

Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
Location: TypeAlias = Annotated[Path, BeforeValidator(checks.location)]
Topic: TypeAlias = Annotated[str, AfterValidator(checks.topic_name)]
TopicPrefix: TypeAlias = Annotated[str, AfterValidator(checks.topic_prefix)]
Variable: TypeAlias = Annotated[str, AfterValidator(checks.variable_name), Privacy.SHOWN_WHEN_VALID]
EntraId: TypeAlias = Annotated[str, AfterValidator(azure.entra_id)]
Hosts: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(checks.host_name)], ...], BeforeValidator(checks.listed)
]
HostPorts: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(checks.host_port)], ...], BeforeValidator(checks.listed)
]
Extensions: TypeAlias = Annotated[
    tuple[Annotated[str, AfterValidator(checks.file_extension)], ...], BeforeValidator(checks.listed)
]
Delays: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=1, le=604_800)], ...],
    BeforeValidator(checks.listed),
    Field(min_length=1, max_length=20),
]
Upper: Final = BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value)
Lower: Final = BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value)

_KNOWN_EXTENSIONS: Final = (
    "pdf xml txt csv json html htm xls xlsx doc docx esx jpg jpeg png gif bmp tif tiff webp heic heif mov mp4"
)


class PipelineConfig(BaseSettings):
    """All settings, checked. Built by hand it reads nothing around it: no file, no environment.

    Raises pydantic's ValidationError when built by hand; `load_config` raises ConfigError instead.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    # Kafka
    kafka_bootstrap_servers: Annotated[str, BeforeValidator(checks.server_list)] | None = Field(
        None, description="Brokers as host:port, comma-separated; unset means the embedded broker in data_dir."
    )
    kafka_security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Upper] = Field(
        "PLAINTEXT", description="How to speak to the brokers."
    )
    kafka_sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"], Upper] | None = (
        Field(None, description="How to sign in, where the protocol is a SASL one; OAUTHBEARER goes by azure_auth.")
    )
    kafka_oauth_scope: Annotated[Annotated[str, AfterValidator(azure.scope)] | None, Privacy.SHOWN_WHEN_VALID] = Field(
        None, description="What a token for Kafka is for; unset: https://HOST/.default of the first broker."
    )
    kafka_sasl_username: Annotated[Annotated[str, AfterValidator(checks.sasl_username)] | None, Privacy.NEVER_SHOWN] = (
        Field(None, description="User name for SASL; $ConnectionString for Event Hubs.")
    )
    kafka_sasl_password_env: Variable = Field(
        "KAFKA_SASL_PASSWORD", description="Name of the environment variable that holds the SASL password."
    )
    kafka_ssl_ca_location: Location | None = Field(
        None, description="File with the certificate authorities to trust; unset means the system's."
    )
    kafka_ssl_certificate_location: Location | None = Field(
        None, description="File with our own certificate, for mutual TLS."
    )
    kafka_ssl_key_location: Location | None = Field(None, description="File with the key of our own certificate.")
    kafka_group_prefix: Annotated[str, AfterValidator(checks.group_prefix)] = Field(
        "", description="Put before the name of every consumer group [TOP-2]."
    )
    kafka_topic_partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        6, description="Partitions of a topic that claimx-topics creates."
    )
    kafka_replication_factor: Annotated[int, Field(ge=-1, le=15), AfterValidator(checks.replicas)] = Field(
        -1, description="Copies of a topic that claimx-topics creates; -1 leaves it to the broker."
    )
    kafka_session_timeout_seconds: Annotated[float, Field(ge=6, le=1_800)] = Field(
        45, description="Silence after which the broker takes a worker for dead, in seconds."
    )
    kafka_compression: Annotated[Literal["none", "gzip", "snappy", "lz4", "zstd"], Lower] = Field(
        "lz4", description="How what we write is compressed; Event Hubs takes gzip alone."
    )
    kafka_max_poll_interval_seconds: Annotated[float, Field(ge=10, le=86_400)] = Field(
        300, description="Longest time between two polls before the group goes on without the worker, in seconds."
    )

    # Places
    data_dir: Location = Field(
        Path("data"), description="Folder for what this machine keeps: embedded broker, cache, local lake."
    )
    lake_url: Annotated[Annotated[str, AfterValidator(checks.lake_url)] | None, Privacy.SHOWN_WHEN_VALID] = Field(
        None,
        description="Lake root, abfss:// or az:// or a folder, with Tables/ and Files/ below; unset: data_dir/lake.",
    )
    cache_dir: Location | None = Field(
        None, description="Folder shared by downloader and uploader; unset means data_dir/cache."
    )
    cache_max_bytes: Annotated[int, Field(ge=1_048_576, le=2**50)] = Field(
        10 * 2**30, description="Size the cache of downloaded files may reach, in bytes (I9)."
    )

    # Azure, for a lake on OneLake or Blob storage
    azure_auth: Annotated[
        Literal["auto", "key", "sas", "service_principal", "managed_identity", "workload_identity"], Lower
    ] = Field("auto", description="How to sign in to Azure; auto takes the first of these that is set up, see docs.")
    azure_storage_account: Annotated[
        Annotated[str, AfterValidator(azure.storage_account)] | None, Privacy.SHOWN_WHEN_VALID
    ] = Field(None, description="Storage account of a lake_url that names none, as az:// does.")
    azure_storage_endpoint: Annotated[
        Annotated[str, AfterValidator(azure.endpoint)] | None, Privacy.SHOWN_WHEN_VALID
    ] = Field(None, description="URL of the blob endpoint, where it is not the usual one: Azurite, a private link.")
    azure_storage_key_env: Variable = Field(
        "AZURE_STORAGE_KEY", description="Name of the environment variable that holds the key of the account."
    )
    azure_storage_sas_env: Variable = Field(
        "AZURE_STORAGE_SAS_TOKEN", description="Name of the environment variable that holds a SAS."
    )
    azure_client_secret_env: Variable = Field(
        "AZURE_CLIENT_SECRET", description="Name of the environment variable that holds the client secret."
    )
    azure_secret_file: Location | None = Field(
        None, description="File with the key, SAS or client secret instead; read again now and then, so it may rotate."
    )
    azure_tenant_id: Annotated[EntraId | None, Privacy.SHOWN_WHEN_VALID] = Field(
        None, description="Tenant of the service principal or workload identity."
    )
    azure_client_id: Annotated[EntraId | None, Privacy.SHOWN_WHEN_VALID] = Field(
        None, description="Application that signs in; of a managed identity: which one, where there are several."
    )
    azure_federated_token_file: Location | None = Field(
        None, description="File with the token of a workload identity; Kubernetes replaces it now and then."
    )
    azure_authority_host: Annotated[Annotated[str, AfterValidator(azure.authority)], Privacy.SHOWN_WHEN_VALID] = Field(
        "https://login.microsoftonline.com", description="Where Entra ID is; national clouds have their own."
    )

    # Worker loop
    worker_batch_records: Count = Field(500, description="Records in a batch at most.")
    worker_batch_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        0.1, description="Time a batch waits to become full, in seconds."
    )
    worker_max_in_flight_records: Count = Field(
        5_000, description="Records a worker may have read and not yet committed (I9)."
    )
    shutdown_timeout_seconds: Seconds = Field(
        30,
        description="Time to finish what is in flight after SIGTERM, in seconds; what is not done is delivered again.",
    )
    max_event_bytes: Annotated[int, Field(ge=1_024, le=2**30)] = Field(
        2**20, description="Size of an event in bytes above which it is set aside."
    )
    dead_letter_max_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Share of a worker's records in the dead letters above which it stops; 1 is off."
    )
    dead_letter_window_seconds: Seconds = Field(300, description="Time over which that share is taken, in seconds.")
    dead_letter_min_records: Count = Field(100, description="Dead letters in that time below which no worker stops.")
    delta_flush_seconds: Annotated[float, Field(gt=0, le=3_600)] = Field(
        1, description="Longest time rows wait before they are committed to the lake, in seconds."
    )
    delta_flush_rows: Count = Field(10_000, description="Rows gathered for one table that cause a commit at once.")

    # Topics, as TOP-1 names them
    claimx_events_topic: Topic = Field("claimx.events.raw", description="Events from ClaimX, read by the ingester.")
    claimx_enrichment_pending_topic: Topic = Field(
        "claimx.enrichment.pending", description="Events to be enriched, read by the enricher."
    )
    claimx_downloads_pending_topic: Topic = Field(
        "claimx.downloads.pending", description="Files to fetch, read by the downloader."
    )
    claimx_downloads_cached_topic: Topic = Field(
        "claimx.downloads.cached", description="Files in the cache, read by the uploader."
    )
    claimx_downloads_results_topic: Topic = Field(
        "claimx.downloads.results", description="What became of each file, read by the result processor."
    )
    claimx_enrichment_retry_topic_prefix: TopicPrefix = Field(
        "claimx.enrichment.retry", description="Begins the names of the retry topics of enrichment: PREFIX.5m."
    )
    claimx_downloads_retry_topic_prefix: TopicPrefix = Field(
        "claimx.downloads.retry", description="Begins the names of the retry topics of downloads: PREFIX.5m."
    )
    claimx_dlq_topic: TopicPrefix = Field(
        "claimx.dlq", description="Begins the names of the dead-letter topics: events, enrichment, downloads."
    )
    claimx_dlq_retention_days: Annotated[int, Field(ge=1, le=3_650)] = Field(
        30, description="Time that dead letters are kept, in days, in topics that claimx-topics creates."
    )
    claimx_dlq_max_replays: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="Replays after which a dead letter that came back is quarantined: sent again only by force."
    )
    claimx_retry_delays_seconds: Delays = Field(
        (300, 600, 1_200, 2_400), description="Wait before each further attempt, in seconds; one topic each [RTY-1]."
    )

    # ClaimX API
    claimx_api_url: Annotated[Annotated[str, AfterValidator(checks.base_url)] | None, Privacy.SHOWN_WHEN_VALID] = Field(
        None, description="Base URL of the ClaimX API; no default, needed by enricher and downloader [API-1]."
    )
    claimx_api_token_env: Variable = Field(
        "CLAIMX_API_TOKEN", description="Name of the environment variable that holds the API token [SEC-12]."
    )
    claimx_api_sender_username: Annotated[str | None, Privacy.NEVER_SHOWN] = Field(
        None, description="Account e-mail sent with video reports [API-9]."
    )
    claimx_api_max_concurrent: Annotated[int, Field(ge=1, le=1_000)] = Field(
        20, description="API calls at the same time, at most; fewer while the service refuses or slows down."
    )
    claimx_api_min_concurrent: Annotated[int, Field(ge=1, le=1_000)] = Field(
        1, description="API calls at the same time, however much it refuses; the maximum here fixes the number."
    )
    claimx_api_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        30, description="Longest wait for one API answer, in seconds."
    )
    claimx_api_quick_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        2, description="Repeats of an API call at once, before a retry topic is used [API-7]."
    )
    claimx_api_rate_limit_per_second: Annotated[float, Field(ge=0, le=100_000)] = Field(
        0, description="API calls per second at most; 0 is no limit, 10 is a cautious one [API-6]."
    )
    claimx_project_cache_size: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        5_000, description="Project answers kept in memory, some 10 kB each, to spare calls; 0 keeps none (I9)."
    )
    claimx_project_cache_seconds: Seconds = Field(
        1_800, description="Longest time an answer about a project is kept, in seconds [HND-2]."
    )
    claimx_breaker_failure_threshold: Annotated[int, Field(ge=1, le=1_000)] = Field(
        5, description="Failures in a row after which calls of the API, or of one file host, stop for a while [CBR-1]."
    )
    claimx_breaker_reset_seconds: Seconds = Field(
        60, description="How long such calls stop before one is tried again, in seconds [CBR-2]."
    )

    # Files
    transfer_mode: Annotated[Literal["cached", "direct"], Lower] = Field(
        "cached",
        description="Way of a file: cached goes by the cache and the uploader, direct streams straight into the lake.",
    )
    claimx_url_expiry_margin_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60, description="A link is taken as expired so many seconds before it is [LNK-4]."
    )
    claimx_download_timeout_seconds: Seconds = Field(300, description="Longest time for one file, in seconds.")
    claimx_max_file_bytes: Annotated[int, Field(ge=0, le=2**50)] = Field(
        0, description="Size of a file in bytes above which it is refused; 0 is no limit."
    )
    claimx_store_signed_links: bool = Field(
        False, description="Keep the signed query of links in tables; signed links are credentials [SEC-8]."
    )
    download_concurrency: Annotated[int, Field(ge=1, le=1_000)] = Field(
        32, description="Files fetched at once; each takes some 12 MiB of memory at most (I9)."
    )
    download_concurrency_per_host: Annotated[int, Field(ge=1, le=1_000)] = Field(
        32, description="Files fetched at once from one host, of download_concurrency in all."
    )
    upload_concurrency: Annotated[int, Field(ge=1, le=1_000)] = Field(
        16, description="Files written to the lake at once."
    )
    allowed_download_hosts: Hosts = Field(
        (
            "www.claimxperience.com",
            "claimxperience.com",
            "claimxperience.s3.amazonaws.com",
            "claimxperience.s3.us-east-1.amazonaws.com",
            "xactware-claimx-us-prod.s3.us-west-1.amazonaws.com",
        ),
        description="Hosts files may come from, exact names [SEC-1].",
    )
    allow_private_download_hosts: HostPorts = Field(
        (), description="host:port pairs for which plain HTTP and private addresses are allowed (tests, demo) [SEC-2]."
    )
    allowed_file_extensions: Extensions = Field(
        tuple(_KNOWN_EXTENSIONS.split()),
        description="Extensions of files that are fetched; a file without one is [SEC-6].",
    )

    # Operation
    log_format: Annotated[Literal["auto", "console", "json"], Lower] = Field(
        "auto", description="How log lines look; auto is console on a terminal, else JSON."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lower] = Field(
        "info", description="Least weight of what is logged."
    )
    tracing: Annotated[Literal["off", "otlp"], Lower] = Field(
        "off",
        description="Whether each event's way is traced; otlp sends spans where OpenTelemetry's OTEL_* variables say.",
    )
    health_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        0, description="Port for liveness, readiness and metrics; 0 is off."
    )

    _sources: Mapping[str, Source] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> Mapping[str, Source]:
        """Where the value of each field comes from; what was set by hand counts as an option."""
        by_hand = {name: Source.OPTION if name in self.model_fields_set else Source.DEFAULT for name in _names()}
        return MappingProxyType({**by_hand, **self._sources})

    @property
    def lake_location(self) -> str:
        """The lake's root: `lake_url`, else the folder `data_dir`/lake."""
        return self.lake_url or str(self.data_dir / "lake")

    @property
    def cache_location(self) -> Path:
        """The folder of downloaded files: `cache_dir`, else `data_dir`/cache."""
        return self.cache_dir or self.data_dir / "cache"

    def kafka_client_options(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what librdkafka needs to reach the brokers safely, under its own names.

        The SASL password, if one is needed, is read from its variable and is in the answer: neither log nor print it.
        Raises ConfigError if it is not there.
        """
        options: dict[str, object] = {
            "security.protocol": self.kafka_security_protocol,
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "ssl.ca.location": self.kafka_ssl_ca_location,
            "ssl.certificate.location": self.kafka_ssl_certificate_location,
            "ssl.key.location": self.kafka_ssl_key_location,
        }
        if self.kafka_sasl_mechanism not in {None, "OAUTHBEARER"}:
            options["sasl.password"] = self.kafka_sasl_password(environ)
        return {name: str(value) for name, value in options.items() if value is not None}

    def claimx_api_token(self, environ: Mapping[str, str]) -> str:
        """Read the API token from the variable that holds it. Raises ConfigError if there is none."""
        return read_secret(environ, self.claimx_api_token_env, "claimx_api_token_env")

    def kafka_sasl_password(self, environ: Mapping[str, str]) -> str:
        """Read the SASL password from the variable that holds it. Raises ConfigError if there is none."""
        return read_secret(environ, self.kafka_sasl_password_env, "kafka_sasl_password_env")

    def azure_secret(
        self, name: Literal["azure_storage_key", "azure_storage_sas", "azure_client_secret"], environ: Mapping[str, str]
    ) -> str:
        """Read a secret for Azure from the variable that holds it. Raises ConfigError if there is none."""
        field = f"{name}_env"
        return read_secret(environ, getattr(self, field), field)

    def require_claimx_api_url(self) -> str:
        """Return the base URL of the API. Raises ConfigError if there is none."""
        if self.claimx_api_url is None:
            remedy = "set CLAIMX_API_URL to the base URL, such as https://api.example.com/service/cxedirest"
            raise ConfigError([Problem(field="claimx_api_url", what="is needed here and not set", remedy=remedy)])
        return self.claimx_api_url

    def require_claimx_api_sender_username(self) -> str:
        """Return the account that reports are asked for by [API-9]. Raises ConfigError if there is none."""
        if self.claimx_api_sender_username is None:
            remedy = "set CLAIMX_API_SENDER_USERNAME to the e-mail of the account that reads the API"
            what = "is needed here and not set"
            raise ConfigError([Problem(field="claimx_api_sender_username", what=what, remedy=remedy)])
        return self.claimx_api_sender_username

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the surroundings out: what counts is handed in, by hand or by `load_config`."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _given_as_text(cls, value: object, info: ValidationInfo) -> object:
        """Read empty text as `unset` where that is possible, and keep `true` from counting as the number 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("is not what belongs here")
        return None if value == "" and field.default is None else value

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if problems := tuple(_conflicts(self)):
            raise ConflictError(problems)
        return self


def load_config(path: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str]) -> PipelineConfig:
    """Put defaults, the YAML file, the environment and the command line together, the later ones winning.

    `overrides` maps field names to text. Raises ConfigError with one line for each problem found.
    """
    names = _names()
    layers = [
        read_options(overrides, names),
        read_environment(environ, names),
        *([read_file(path, names)] if path is not None else []),
    ]
    problems = [problem for layer in layers for problem in layer.problems]
    origins = {name: origin for layer in reversed(layers) for name, origin in layer.origins.items()}
    try:
        sources = tuple(LayerSource(PipelineConfig, layer) for layer in layers)
        config = PipelineConfig(_build_sources=(sources, {}))
    except ValidationError as error:
        fields = PipelineConfig.model_fields
        problems += [problem for detail in error.errors() for problem in explain(detail, fields, origins)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    config._sources = {name: layer.source for layer in reversed(layers) for name in layer.values}  # noqa: SLF001 - ours
    return config


def _names() -> tuple[str, ...]:
    return tuple(PipelineConfig.model_fields)


_DEAD_LETTER_KINDS: Final = ("events", "enrichment", "downloads")
_RETRY_SUFFIX: Final = r"\.[0-9]+[ms](-[0-9]+)?"


def _conflicts(config: PipelineConfig) -> Iterator[Problem]:
    """Find settings that are right one by one and wrong together."""
    yield from _topic_conflicts(config)
    yield from _security_conflicts(config)
    yield from azure.conflicts(config)
    if config.worker_max_in_flight_records < config.worker_batch_records:
        yield Problem(
            field="worker_max_in_flight_records",
            what="is less than one batch",
            remedy=f"give at least worker_batch_records ({config.worker_batch_records})",
        )
    if config.claimx_api_min_concurrent > config.claimx_api_max_concurrent:
        yield Problem(
            field="claimx_api_min_concurrent",
            what="is more than claimx_api_max_concurrent",
            remedy=f"give at most {config.claimx_api_max_concurrent}, or raise the other",
        )
    for field in ("kafka_session_timeout_seconds", "shutdown_timeout_seconds"):
        if getattr(config, field) > config.kafka_max_poll_interval_seconds:
            yield Problem(
                field=field,
                what="is longer than kafka_max_poll_interval_seconds",
                remedy=f"give at most {config.kafka_max_poll_interval_seconds:g}, or raise the other",
            )
    plain = config.claimx_api_url and checks.plain_http_authority(config.claimx_api_url)
    if plain and plain not in config.allow_private_download_hosts:
        yield Problem(
            field="claimx_api_url",
            what="is plain HTTP, which would show the token to everyone on the way",
            remedy="use https, or put its host:port into allow_private_download_hosts",
        )


def _topic_conflicts(config: PipelineConfig) -> Iterator[Problem]:
    """Find topics that would be one. Kafka takes `.` and `_` in names for the same, so they count as the same here."""
    fields = [name for name in _names() if name.startswith("claimx_") and "_topic" in name]
    names = {field: str(getattr(config, field)).replace("_", ".") for field in fields}
    for first, second in combinations(fields, 2):
        if names[first] == names[second]:
            yield Problem(field=second, what=f"is the same topic as {first}", remedy="give each its own name")
    dead_letters = {f"{names['claimx_dlq_topic']}.{kind}" for kind in _DEAD_LETTER_KINDS}
    retries = re.compile(
        f"({'|'.join(re.escape(name) for field, name in names.items() if 'retry' in field)}){_RETRY_SUFFIX}"
    )
    for field, name in names.items():
        if (
            field.endswith("_topic")
            and field != "claimx_dlq_topic"
            and (name in dead_letters or retries.fullmatch(name))
        ):
            yield Problem(field=field, what="is a retry or dead-letter topic", remedy="give each its own name")


def _security_conflicts(config: PipelineConfig) -> Iterator[Problem]:
    """Find Kafka credentials that are incomplete, or that would silently stay unused."""
    protocol = config.kafka_security_protocol
    named = () if config.kafka_sasl_mechanism == "OAUTHBEARER" else (("kafka_sasl_username", "SASL"),)
    for field, needs in (("kafka_sasl_mechanism", "SASL"), *named):
        is_set = getattr(config, field) is not None
        if is_set and not protocol.startswith(needs):
            yield Problem(
                field=field,
                what=f"would not be used with kafka_security_protocol {protocol}",
                remedy="set kafka_security_protocol to SASL_SSL, or remove this",
            )
        elif protocol.startswith(needs) and not is_set:
            yield Problem(
                field=field, what=f"is needed with kafka_security_protocol {protocol} and not set", remedy="set it"
            )
    for field in ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location"):
        if getattr(config, field) is not None and not protocol.endswith("SSL"):
            yield Problem(
                field=field,
                what=f"would not be used with kafka_security_protocol {protocol}",
                remedy="set kafka_security_protocol to SSL or SASL_SSL, or remove this",
            )
    pair = ("kafka_ssl_certificate_location", "kafka_ssl_key_location")
    for field, other in (pair, pair[::-1]):
        if getattr(config, field) is not None and getattr(config, other) is None:
            yield Problem(field=field, what=f"is nothing without {other}", remedy="set both or neither")
