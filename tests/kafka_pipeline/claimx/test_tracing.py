"""Tracing as a setting: off by itself, sent by OTLP where OpenTelemetry's own variables say."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from kafka_pipeline.claimx.tracing import open_tracer
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.observability import otel
from kafka_pipeline.common.observability.tracing import NO_TRACER
from kafka_pipeline.config import ConfigError, PipelineConfig

RECORD = Record(topic="t", partition=0, offset=1, key=None, value=b'{"event_id": "e-1", "file_name": "a.jpg"}')


class Collector:
    """A collector on loopback that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest, str | None]] = []
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append((self.path, ExportTraceServiceRequest.FromString(body), self.headers.get("x-key")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Give a collector."""
    made = Collector()
    yield made
    made.close()


def config(value: str) -> PipelineConfig:
    """Return a configuration with this setting."""
    return PipelineConfig(tracing=value)


async def test_without_the_setting_nothing_is_traced() -> None:
    """Also where OpenTelemetry's variables are set for something else on the machine."""
    async with AsyncExitStack() as stack:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example.com:4318"}
        assert open_tracer(PipelineConfig(), environ, stack) is NO_TRACER


async def test_spans_go_where_the_environment_says(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, headers, name and attributes by the standard variables; all are sent before the process ends."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "claimx-test")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=trial")
    async with AsyncExitStack() as stack:
        tracer = open_tracer(config("otlp"), {}, stack)
        with tracer.batch("w", "g", [RECORD]) as trace:
            trace.ended(["success"])
    ((path, request, key),) = collector.requests
    assert (path, key) == ("/v1/traces", "abc")
    (resource,) = request.resource_spans
    told = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (told["service.name"], told["deployment.environment.name"]) == ("claimx-test", "trial")
    (span,) = resource.scope_spans[0].spans
    assert span.name == "process t"
    ids = {each.key: each.value.string_value for each in span.attributes}
    assert ids["kafka_pipeline.event_id"] == "e-1"
    assert b"a.jpg" not in request.SerializeToString()


async def test_a_process_has_a_name_without_being_given_one(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks for `unknown_service`."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    async with AsyncExitStack() as stack:
        with open_tracer(config("otlp"), {}, stack).batch("w", "g", [RECORD]):
            pass
    ((_, request, _),) = collector.requests
    told = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert told["service.name"] == "kafka-pipeline"


async def test_a_collector_that_is_away_does_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not sent within a few seconds is given up: it is only a trace."""
    gave_up, shutdown = threading.Event(), TracerProvider.shutdown
    monkeypatch.setattr(otel, "_LAST_WORDS_S", 0.01)
    monkeypatch.setattr(TracerProvider, "shutdown", lambda provider: gave_up.wait() and shutdown(provider))
    async with AsyncExitStack() as stack:
        open_tracer(config("otlp"), {}, stack)
    gave_up.set()


async def test_another_protocol_is_told_at_the_start() -> None:
    """In one line, with what to do."""
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match="asks for another protocol; unset it") as told:
            open_tracer(config("otlp"), {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, stack)
    assert "\n" not in str(told.value)


async def test_a_missing_library_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it along is named."""
    monkeypatch.setitem(sys.modules, "kafka_pipeline.common.observability.otel", None)
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigError, match=r"install kafka-pipeline\[tracing\]"):
            open_tracer(config("otlp"), {}, stack)
