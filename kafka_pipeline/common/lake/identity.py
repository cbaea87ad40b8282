"""How obstore asks for the credential of this moment: before each request, so that it uses what Delta uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kafka_pipeline.common.azure.credential import CredentialForm, CurrentCredential
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.lake.faults import credential_failure

if TYPE_CHECKING:
    from obstore.store import AzureCredential

_FAR = timedelta(days=30)
"""obstore keeps what it was given until this long before its end; longer than any token lives, so it always asks. To
ask costs a look at memory, and then a rotated key, a renewed token and a refusal count at once for all."""


class StoreCredential:
    """The `credential_provider` of an AzureStore. Called in obstore's own threads; waits only if none is at hand."""

    refresh_threshold = _FAR

    def __init__(self, credential: CurrentCredential) -> None:
        self._credential = credential

    def __call__(self) -> AzureCredential:
        """Return the credential in obstore's words. What is raised carries its category through the native library."""
        try:
            held = self._credential.current()
        except PipelineError as error:
            raise credential_failure(error) from None
        expires_at = held.expires_at or datetime.now(UTC) + timedelta(hours=1)  # else it never asks again
        match held.form:
            case CredentialForm.ACCOUNT_KEY:
                return {"access_key": held.secret, "expires_at": expires_at}
            case CredentialForm.SAS:
                return {"sas_token": held.secret, "expires_at": expires_at}
            case CredentialForm.TOKEN:
                return {"token": held.secret, "expires_at": expires_at}
