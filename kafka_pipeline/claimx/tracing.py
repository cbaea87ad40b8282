"""Traces, if the configuration asks for them. OpenTelemetry is imported here and only then."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from kafka_pipeline.claimx.record_ids import ids_of
from kafka_pipeline.common.observability.tracing import NO_TRACER, Tracer
from kafka_pipeline.config import ConfigError, PipelineConfig, Problem

_PROTOCOL: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
"""OpenTelemetry's variables for how spans travel; the first that is set counts."""

_SPOKEN: Final = "http/protobuf"


def open_tracer(config: PipelineConfig, environ: Mapping[str, str], stack: AsyncExitStack) -> Tracer:
    """Return the tracer that the setting `tracing` asks for; what is left to send is sent when the stack closes.

    Raises ConfigError if OpenTelemetry is not installed, or is told to speak a protocol that we do not bring along.
    """
    if config.tracing == "off":
        return NO_TRACER
    wanted = next((environ[name] for name in _PROTOCOL if environ.get(name)), _SPOKEN)
    if wanted != _SPOKEN:
        what = f"is otlp, which is sent by {_SPOKEN} alone, but OTEL_EXPORTER_OTLP_PROTOCOL asks for another protocol"
        raise ConfigError(
            [Problem(field="tracing", what=what, remedy="unset it, and use the HTTP port of the collector")]
        )
    try:
        from kafka_pipeline.common.observability.otel import (  # noqa: PLC0415 - only if asked
            OtelTracer,
            otlp_provider,
            send_rest,
        )
    except ImportError:
        what, remedy = "is otlp, but OpenTelemetry is not installed", "install kafka-pipeline[tracing]"
        raise ConfigError([Problem(field="tracing", what=what, remedy=remedy)]) from None
    provider = otlp_provider()
    stack.push_async_callback(send_rest, provider)
    return OtelTracer(provider, describe=ids_of)
