"""One event's way from the feed to its file, as its trace tells it: real workers and brokers, a simulated ClaimX."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.record_ids import ids_of
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.record import replayed
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.messaging.carried import ORIGIN_AT, TRACEPARENT
from kafka_pipeline.common.observability.otel import OtelTracer
from kafka_pipeline.config import ConfigError
from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.world import LinkForm

TRACE, SENDER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DOWNLOADS = {"claimx-downloader", "claimx-downloader-retries"}
FROM_OUTSIDE = ((TRACEPARENT, f"00-{TRACE}-{SENDER}-01".encode()),)


class Traced:
    """A site whose workers are traced, and the spans of it."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self._kept = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run all workers while the context is entered."""
        stop = asyncio.Event()
        tracer = OtelTracer(self._provider, describe=ids_of)
        async with Pipeline(self.site.config, tuple(WorkerKind), environ=self.site.environ, tracer=tracer) as pipeline:
            running = asyncio.create_task(pipeline.run(stop))
            try:
                yield
            finally:
                stop.set()
                await running

    async def send(self, event: bytes) -> None:
        """Publish an event that belongs to a trace, and see it through."""
        topics = self.site.topics
        await self.site.put(topics.events, Message(topic=topics.events, value=event, headers=FROM_OUTSIDE))
        for topic in (
            topics.events, topics.enrichment_pending, topics.downloads_pending,
            topics.downloads_cached, topics.downloads_results,
        ):  # fmt: skip
            await self.site.drained(topic)

    def stage(self, worker: WorkerKind) -> list[ReadableSpan]:
        """Return the spans of the records that a worker worked on."""
        consumed = [each for each in self.spans() if each.kind is SpanKind.CONSUMER]
        return [each for each in consumed if told(each)["kafka_pipeline.worker"] == worker.value]

    def steps(self, stage: Sequence[ReadableSpan]) -> set[str]:
        """Return the names of the spans directly below these."""
        above = {ids(each)[1] for each in stage}
        return {each.name for each in self.spans() if parent(each) in above}

    def spans(self) -> Sequence[ReadableSpan]:
        """Return all spans, in the order in which they ended."""
        return self._kept.get_finished_spans()


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return trace and span id."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def told(span: ReadableSpan) -> dict[str, object]:
    """Return the attributes."""
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> str | None:
    """Return the id of the parent span."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


async def test_one_event_is_one_trace_from_ingest_to_file(
    site: Any, new_event: Callable[..., bytes], fetched: Callable[..., list[Any]]
) -> None:
    """Every stage's span is the child of the one before it; calls, downloads and writes are the stage's children."""
    traced = Traced(site)
    project = next(each for each in site.simulator.world.projects.values() if fetched(each))
    item = fetched(project)[0]
    async with traced.working():
        await traced.send(new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=item.media_id))

    stages = {worker.value: traced.stage(worker) for worker in WorkerKind}
    everything = [each for some in stages.values() for each in some]
    assert {ids(each)[0] for each in everything} == {TRACE}
    assert {told(each)["kafka_pipeline.outcome"] for each in everything} == {"success"}
    assert {told(each)["kafka_pipeline.project_id"] for each in everything} == {str(project.project_id)}
    ingested, enriched, downloaded, uploaded, known = stages.values()
    assert [parent(each) for each in ingested] == [SENDER]
    assert [parent(each) for each in enriched] == [ids(each)[1] for each in ingested]
    files = len(fetched(project))  # the event names one of them; the list that was read names all
    assert [parent(each) for each in downloaded] == [ids(enriched[0])[1]] * files
    assert {parent(each) for each in uploaded} == {ids(each)[1] for each in downloaded}
    assert {parent(each) for each in known} == {ids(each)[1] for each in uploaded}
    (row,) = site.rows("claimx_events")
    assert {told(each)["kafka_pipeline.event_id"] for each in everything[1:]} == {row["event_id"]}
    assert [len(each) for each in stages.values()] == [1, 1, files, files, files]

    assert "lake write" in traced.steps(ingested)
    assert {"GET /export/project/{id}", "GET /export/project/{id}/media", "lake write"} <= traced.steps(enriched)
    assert "download" in traced.steps(downloaded)
    assert "lake write" in traced.steps(uploaded)


async def test_a_dead_letter_names_the_attempt_that_failed_and_a_replay_goes_on_from_there(site: Any) -> None:
    """Its trace is the event's, its parent the span of the failure; and it still knows when all began."""
    traced = Traced(site)
    async with traced.working():
        await traced.send(b"no event")
        (letter,) = await site.dead_letters(DeadLetterKind.EVENTS)
        await site.put(site.topics.events, replayed(letter, topic=site.topics.events, value=letter.record.value))
        await site.drained(site.topics.events)
    first, second = traced.stage(WorkerKind.INGESTER)
    assert [parent(first), parent(second)] == [SENDER, ids(first)[1]]
    assert letter.traceparent == f"00-{TRACE}-{ids(first)[1]}-01".encode()
    assert [told(each)["error.type"] for each in (first, second)] == ["dead_letter"] * 2
    _, again = await site.dead_letters(DeadLetterKind.EVENTS)
    assert {ids(each)[0] for each in (first, second)} == {TRACE}
    began = {each.record.header(ORIGIN_AT) for each in (letter, again)}
    assert len(began) == 1
    assert None not in began


async def test_a_retry_goes_on_from_the_attempt_that_failed(
    new_site: Callable[..., Awaitable[Any]], new_task: Callable[..., Any]
) -> None:
    """However often and however late it is tried again, it is one trace."""
    site = await new_site(config={"claimx_retry_delays_seconds": "1,1,1,1"})
    site.simulator.put_faults(parse_fault_script(b"faults: [{fail: 1.0, endpoint: file, status: 500, times: 1}]"))
    traced = Traced(site)
    item = next(each for each in site.simulator.world.media.values() if each.link is not LinkForm.NONE)
    task = new_task(site, item)
    topic = site.topics.downloads_pending
    async with traced.working():
        await site.put(topic, Message(topic=topic, key=b"k", value=task.to_bytes(), headers=FROM_OUTSIDE))
        await site.filled(site.topics.downloads_results, 2)  # that a retry follows, and that it is there
        await site.drained(site.topics.downloads_results)
    first, second = (span for span in traced.spans() if told(span).get("kafka_pipeline.worker") in DOWNLOADS)
    assert [told(each)["kafka_pipeline.outcome"] for each in (first, second)] == ["retry", "success"]
    assert [parent(first), parent(second)] == [SENDER, ids(first)[1]]
    assert {ids(each)[0] for each in (first, second)} == {TRACE}


async def test_no_secret_and_no_name_is_in_any_span(
    embedded_site: Any, new_event: Callable[..., bytes], fetched: Callable[..., list[Any]]
) -> None:
    """I10, over all spans of all events of a project: no link, no token, no person, no file name."""
    site = embedded_site
    traced = Traced(site)
    project = next(each for each in site.simulator.world.projects.values() if fetched(each))
    async with traced.working():
        for event_type in ("PROJECT_CREATED", "POLICYHOLDER_INVITED"):
            await traced.send(new_event(event_type, project.project_id))
        for item in fetched(project):
            await traced.send(new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=item.media_id))
    everything = "".join(each.to_json() for each in traced.spans())
    assert "download" in everything
    names = [name for item in fetched(project) if (name := item.safe_file_name)]
    assert names
    unwanted = ["Signature", "?", "@", site.simulator.token, *names]
    assert [word for word in unwanted if word in everything] == []


async def test_latency_from_the_arrival_of_an_event_is_known_at_every_stage(
    embedded_site: Any, new_event: Callable[..., bytes], fetched: Callable[..., list[Any]]
) -> None:
    """Event to row and event to file, in seconds since the event came into Kafka."""
    site = embedded_site
    project = next(each for each in site.simulator.world.projects.values() if fetched(each))

    def counts() -> dict[WorkerKind, float]:
        name = "event_latency_seconds_count"
        return {kind: REGISTRY.get_sample_value(name, {"worker": kind.value}) or 0.0 for kind in WorkerKind}

    before = counts()
    async with Traced(site).working():
        await Traced(site).send(
            new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=fetched(project)[0].media_id)
        )
    files = len(fetched(project))
    assert [count - before[kind] for kind, count in counts().items()] == [1, 1, files, files, files]


async def test_tracing_that_cannot_be_sent_is_told_at_the_start(embedded_site: Any) -> None:
    """A protocol that we do not bring along, in one line with its remedy."""
    site = embedded_site
    config = site.config.model_copy(update={"tracing": "otlp"})
    environ = {**site.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ConfigError, match="use the HTTP port"):
        async with Pipeline(config, (WorkerKind.INGESTER,), environ=environ):
            pass
