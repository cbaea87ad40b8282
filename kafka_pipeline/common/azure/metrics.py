"""What signing in to Azure counts."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.metrics import counter, gauge

RENEWALS: Final = counter(
    "azure_credential_renewals_total",
    labels=("purpose", "result"),
    meaning="Times a credential for Azure was asked for; purpose is storage or kafka, result renewed or failed.",
    remedy="failed: the log line azure_credential_not_renewed says why. Work goes on until the held one expires.",
)
EXPIRES: Final = gauge(
    "azure_credential_expires_timestamp_seconds",
    labels=("purpose",),
    meaning="When the held credential for Azure expires, in seconds since 1970; 0 if it names no end.",
    remedy="Near now and not moving: renewals fail, see azure_credential_renewals_total. A SAS is renewed by hand.",
)
