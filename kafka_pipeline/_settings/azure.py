"""Settings of Azure that are right one by one and wrong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from kafka_pipeline._settings import checks
from kafka_pipeline._settings.problems import Problem

ONELAKE = ".fabric.microsoft.com"

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "service_principal": ("azure_tenant_id", "azure_client_id"),
    "workload_identity": ("azure_tenant_id", "azure_client_id", "azure_federated_token_file"),
}


class AzureSettings(Protocol):
    """The settings that are looked at here; `PipelineConfig` says what they are."""

    @property
    def lake_url(self) -> str | None: ...
    @property
    def kafka_sasl_mechanism(self) -> str | None: ...
    @property
    def kafka_sasl_username(self) -> str | None: ...
    @property
    def kafka_oauth_scope(self) -> str | None: ...
    @property
    def azure_auth(self) -> str: ...
    @property
    def azure_storage_account(self) -> str | None: ...
    @property
    def azure_storage_endpoint(self) -> str | None: ...
    @property
    def azure_secret_file(self) -> Path | None: ...


def storage_account(value: str) -> str:
    """Accept the name of a storage account. A key put here by mistake does not pass."""
    if not _ACCOUNT.fullmatch(value):
        raise ValueError("is no storage account; give its name, 3 to 24 lower-case letters and digits")
    return value


def entra_id(value: str) -> str:
    """Accept the id of a tenant or an application. A client secret put here by mistake hardly passes."""
    if not _ID.fullmatch(value):
        raise ValueError("is no id; give the id as the portal shows it, such as 00000000-0000-0000-0000-000000000000")
    return value


def endpoint(value: str) -> str:
    """Accept the URL of a storage endpoint; plain HTTP only to this machine, for requests carry the credential."""
    url = checks.base_url(value)
    if checks.plain_http_authority(url):
        raise ValueError("is plain HTTP, which would show the credential to everyone on the way; use https")
    return url


def scope(value: str) -> str:
    """Accept what Entra ID takes as a scope: a resource and what of it, usually `/.default`."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9.-]+/[A-Za-z0-9./_-]*", value):
        raise ValueError("is no scope; give one such as https://namespace.servicebus.windows.net/.default")
    return value


def authority(value: str) -> str:
    """Accept the URL of Entra ID, which is never plain HTTP: it is sent the secret itself."""
    url = checks.base_url(value)
    if not url.startswith("https://"):
        raise ValueError("is not https; give the authority of your cloud, such as https://login.microsoftonline.com")
    return url


def conflicts(settings: AzureSettings) -> Iterator[Problem]:
    """Find Azure settings that are incomplete, or that would silently stay unused."""
    url = urlsplit(settings.lake_url or "")
    host = url.hostname or ""
    if url.scheme == "az" and settings.azure_storage_account is None:
        yield Problem(
            field="lake_url",
            what="begins with az:// and names no storage account",
            remedy="set azure_storage_account, or give abfss://container@account.dfs.core.windows.net/path",
        )
    if settings.azure_auth == "key" and host.endswith(ONELAKE):
        remedy = "use managed_identity, workload_identity or service_principal"
        yield Problem(field="azure_auth", what="is key, and OneLake has no account keys", remedy=remedy)
    if missing := [field for field in _NEEDS.get(settings.azure_auth, ()) if getattr(settings, field) is None]:
        what = f"is {settings.azure_auth}, which needs {' and '.join(missing)}"
        yield Problem(field="azure_auth", what=what, remedy="set them, or choose another way to sign in")
    by_token = settings.kafka_sasl_mechanism == "OAUTHBEARER"
    if by_token and settings.kafka_sasl_username is not None:
        what = "would not be used with kafka_sasl_mechanism OAUTHBEARER"
        yield Problem(field="kafka_sasl_username", what=what, remedy="remove this: the token says who we are")
    if not by_token and settings.kafka_oauth_scope is not None:
        what = "would not be used without kafka_sasl_mechanism OAUTHBEARER"
        yield Problem(field="kafka_oauth_scope", what=what, remedy="set that, or remove this")
    if settings.azure_secret_file is not None and settings.azure_auth not in {"key", "sas", "service_principal"}:
        yield Problem(
            field="azure_secret_file",
            what=f"would not be used with azure_auth {settings.azure_auth}",
            remedy="set azure_auth to key, sas or service_principal, whichever is in the file, or remove this",
        )
