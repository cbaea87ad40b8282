"""Obtains a credential for Azure: reads a key or SAS, or has azure-identity ask Entra ID or the machine for a token.

Each request is made anew, without a cache of its own: `credential` alone decides how long one is good for. What is read
from a file (a rotated key, the federated token of a pod) is read at each request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import parse_qs

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.identity import ClientAssertionCredential, ClientSecretCredential, ManagedIdentityCredential

from kafka_pipeline.common.azure.credential import Credential, CredentialForm
from kafka_pipeline.common.failures import Category, PipelineError

STORAGE_SCOPE = "https://storage.azure.com/.default"
"""What a token has to be for, to open OneLake and Blob storage alike."""

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
RETRIES = 2
"""Repeats of one request to Entra ID. The held credential is renewed early enough for many more."""

_ENTRA_CODE = re.compile(r"AADSTS\d{4,8}")
_PASSING = frozenset({408, 410, 425, 429})
"""Answers that pass; 410 is what a virtual machine says while its identity service is being updated."""


class SignIn(str, Enum):
    """How to sign in to Azure."""

    KEY = "key"
    """With the key of the storage account. OneLake has none."""
    SAS = "sas"
    """With a shared access signature."""
    SERVICE_PRINCIPAL = "service_principal"
    """As an application, with its client secret."""
    MANAGED_IDENTITY = "managed_identity"
    """As this machine or container: no secret at all."""
    WORKLOAD_IDENTITY = "workload_identity"
    """As this pod of Kubernetes: with a token from a file, which Entra ID exchanges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who signs in, and with what. `read_secret` returns the key, SAS or client secret; it raises PipelineError."""

    how: SignIn
    read_secret: Callable[[], str] | None = field(default=None, repr=False)
    tenant_id: str = ""
    client_id: str = ""
    """Of a managed identity: which one, where the machine has several."""
    token_file: Path | None = None
    authority: str = PUBLIC_AUTHORITY

    def obtain(self, scope: str = STORAGE_SCOPE) -> Credential:
        """Return a new credential. Blocks. Raises PipelineError: auth where it is refused, transient in an outage."""
        match self.how:
            case SignIn.KEY:
                return Credential(form=CredentialForm.ACCOUNT_KEY, secret=self._secret())
            case SignIn.SAS:
                return _sas(self._secret())
            case SignIn.SERVICE_PRINCIPAL | SignIn.MANAGED_IDENTITY | SignIn.WORKLOAD_IDENTITY:
                return self._token(scope)
            case _:
                assert_never(self.how)

    def _token(self, scope: str) -> Credential:
        answers = _Answers()
        try:
            with self._azure(answers) as azure:
                token: AccessToken = azure.get_token(scope)
        except PipelineError:
            raise
        except (AzureError, OSError, ValueError) as error:
            raise self._failure(answers.status, error) from None
        return Credential(
            form=CredentialForm.TOKEN, secret=token.token, expires_at=datetime.fromtimestamp(token.expires_on, UTC)
        )

    def _azure(self, answers: _Answers) -> Any:  # noqa: ANN401 - azure-identity's credentials share no public base class
        options: dict[str, Any] = {
            "connection_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "retry_total": RETRIES,
            "retry_status": RETRIES,
            "raw_response_hook": answers.note,
        }
        match self.how:
            case SignIn.SERVICE_PRINCIPAL:
                # Which authority is trusted is our setting: nobody else has to be asked whether it is a known one.
                return ClientSecretCredential(
                    self.tenant_id,
                    self.client_id,
                    self._secret(),
                    authority=self.authority,
                    disable_instance_discovery=True,
                    **options,
                )
            case SignIn.WORKLOAD_IDENTITY:
                # Not WorkloadIdentityCredential: it keeps what it read for ten minutes, also when that is refused.
                return ClientAssertionCredential(
                    self.tenant_id, self.client_id, self._federated_token, authority=self.authority, **options
                )
            case _:
                return ManagedIdentityCredential(client_id=self.client_id or None, **options)

    def _secret(self) -> str:
        if self.read_secret is None:
            raise PipelineError(f"signing in to Azure by {self.how.value} needs a secret", Category.AUTH)
        return self.read_secret()

    def _federated_token(self) -> str:
        if self.token_file is None:
            raise PipelineError("signing in to Azure by workload_identity needs a token file", Category.AUTH)
        return read_file(self.token_file)

    def _failure(self, status: int | None, error: Exception) -> PipelineError:
        """Tell what went wrong from the status of the last answer: the texts of the library are not fit for logs."""
        who = "this machine's identity service" if self.how is SignIn.MANAGED_IDENTITY else "Entra ID"
        if status is None:
            remedy = "is this a machine with a managed identity?" if self.how is SignIn.MANAGED_IDENTITY else "network?"
            return PipelineError(f"{who} does not answer ({type(error).__name__}; {remedy})", Category.TRANSIENT)
        if status in _PASSING or status >= 500:
            return PipelineError(f"{who} answers HTTP {status}", Category.TRANSIENT)
        if status < 400:
            return PipelineError(f"{who} answers nonsense ({type(error).__name__})", Category.TRANSIENT)
        code = _ENTRA_CODE.search(str(error))
        what = f"{who} refuses to sign us in by {self.how.value} (HTTP {status}{f', {code.group()}' if code else ''})"
        return PipelineError(f"{what}: {_REMEDIES[self.how]}", Category.AUTH)


_REMEDIES: Mapping[SignIn, str] = {
    SignIn.SERVICE_PRINCIPAL: "check azure_tenant_id, azure_client_id and whether the client secret has expired",
    SignIn.WORKLOAD_IDENTITY: "check azure_tenant_id, azure_client_id and the federated credential of the application",
    SignIn.MANAGED_IDENTITY: "check that this machine has the identity, and azure_client_id if it has several",
}


class _Answers:
    """Remembers the status of the last answer: the library's exceptions do not always carry it."""

    def __init__(self) -> None:
        self.status: int | None = None

    def note(self, response: Any) -> None:  # noqa: ANN401 - the library's own type, different by version
        self.status = int(response.http_response.status_code)


def read_file(path: Path) -> str:
    """Return the one line that a file of secrets holds. Raises PipelineError (auth) that names the file alone."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PipelineError(f"{path} cannot be read ({error.strerror})", Category.AUTH) from None
    except UnicodeDecodeError:
        raise PipelineError(f"{path} holds no text", Category.AUTH) from None
    if not secret or not secret.isprintable():
        raise PipelineError(f"{path} does not hold one line with a secret", Category.AUTH)
    return secret


def _sas(text: str) -> Credential:
    """Take a SAS as portals show it, with or without `?`; `se` is when it ends."""
    sas = text.removeprefix("?")
    parts = parse_qs(sas)
    if "sig" not in parts:
        raise PipelineError("the SAS is none: it has no signature (sig=...)", Category.AUTH)
    expires_at = None
    if end := parts.get("se"):
        try:
            expires_at = datetime.fromisoformat(end[0])
        except ValueError:
            raise PipelineError("the SAS is none: its end (se=...) is no time", Category.AUTH) from None
        expires_at = expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)
    return Credential(form=CredentialForm.SAS, secret=sas, expires_at=expires_at)
