"""Failure is normal: outages, errors, bursts, bad links and cut connections, with real workers and brokers.

The simulated ClaimX fails as its script says; nothing here is timed. Where a test says that no retry topic was used,
its delays are an hour: had the record gone there, the test would not end.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from kafka_pipeline.claimx.dlq.desk import Desk, Progress
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.selection import Selection
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.observability.health import reasons_in
from kafka_pipeline.common.resilience.breaker import BREAKER_OPENINGS
from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.verifier import verify
from kafka_pipeline.simulator.world import LinkForm, MediaItem, Project

NEVER = "3600,3600,3600,3600"
SOON = "1,1,1,1"
ENRICHING = (WorkerKind.INGESTER, WorkerKind.ENRICHER)
FILES = (WorkerKind.DOWNLOADER, WorkerKind.UPLOADER, WorkerKind.RESULT_PROCESSOR)

NewSite = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def site_with(request: pytest.FixtureRequest, new_site: Callable[..., Awaitable[Any]]) -> NewSite:
    """Return a function that makes a site on a broker of each kind, with these retry delays and settings."""
    kafka = request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else None

    async def make(delays: str, **config: str) -> Any:
        patient = {"claimx_retry_delays_seconds": delays, "claimx_breaker_reset_seconds": "1"}
        return await new_site(kafka, config=patient | config)

    return make


def put(site: Any, script: str) -> None:
    """Let the simulated ClaimX fail in this way, from now on."""
    site.simulator.put_faults(parse_fault_script(script.encode()))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.02)


async def refused(site: Any) -> None:
    """Return once the API takes no connections."""

    async def no_connection() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(site.simulator.api_url):
                return False
        except aiohttp.ClientConnectorError:
            return True
        except aiohttp.ClientError:
            return False

    await until(no_connection)


async def waits(pipeline: Pipeline, reason: str) -> None:
    """Return once the pipeline says that it waits for this."""

    async def says_so() -> bool:
        return reason in reasons_in(pipeline.readiness())

    await until(says_so)


def openings() -> float:
    """Return how often circuit breakers of this process have opened."""
    return sum(
        sample.value
        for metric in BREAKER_OPENINGS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def probed_in_vain(times: int) -> None:
    """Return once a breaker has opened so often again: its probes found the service still down."""
    before = openings()

    async def often_enough() -> bool:
        return openings() >= before + times

    await until(often_enough)


async def untouched(site: Any) -> bool:
    """Say whether nothing was ever sent to a retry topic or to the dead letters."""
    topics = (*site.topics.enrichment_retry, *site.topics.downloads_retry)
    letters = (site.topics.dead_letters(kind) for kind in DeadLetterKind)
    return all([await site.count(topic) == 0 for topic in (*topics, *letters)])


def projects_of(site: Any, count: int) -> list[Project]:
    """Return the first projects."""
    return list(site.simulator.world.projects.values())[:count]


def files_of(site: Any, form: LinkForm, count: int) -> list[MediaItem]:
    """Return the first files that are reached in this way."""
    return [item for item in site.simulator.world.media.values() if item.link is form][:count]


async def queue(site: Any, *tasks: Any) -> None:
    """Put download tasks where the downloader takes them from."""
    topic = site.topics.downloads_pending
    await site.put(topic, *(Message(topic=topic, key=task.media_id.encode(), value=task.to_bytes()) for task in tasks))


def stored(site: Any, *items: MediaItem) -> bool:
    """Say whether all these files are in the lake, byte for byte."""
    paths = {
        item: site.lake / f"Files/claimx/{item.project_id}/{item.media_id}/{item.safe_file_name}" for item in items
    }
    return all(
        path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == item.file().sha256()
        for item, path in paths.items()
    )


async def test_an_outage_of_the_api_costs_no_attempt_and_work_goes_on_after_it(
    site_with: NewSite, new_event: Callable[..., bytes]
) -> None:
    """I7: while nothing answers, records wait where they are, one or many; afterwards they are all done.

    The pipeline is not ready meanwhile, says why, and hangs nowhere. A probe a second finds out when it is over.
    """
    site = await site_with(NEVER)
    projects = projects_of(site, 8)
    async with site.working(*ENRICHING) as pipeline:
        put(site, "[{outage: refuse}]")
        await refused(site)
        await site.publish(new_event("PROJECT_CREATED", projects[0].project_id))
        await waits(pipeline, "circuit_open")
        await site.publish(*(new_event("PROJECT_CREATED", project.project_id) for project in projects[1:]))
        await site.drained(site.topics.events)
        await probed_in_vain(3)
        assert await untouched(site)
        assert await site.committed(site.topics.enrichment_pending) == 0
        assert reasons_in(pipeline.liveness()) == []
        put(site, "[]")
        await site.drained(site.topics.enrichment_pending)
        assert await untouched(site)
        assert "circuit_open" not in reasons_in(pipeline.readiness())
    assert {row["project_id"] for row in site.rows("claimx_projects")} == {str(each.project_id) for each in projects}


async def test_an_outage_that_answers_503_costs_no_attempt_either(
    site_with: NewSite, new_event: Callable[..., bytes]
) -> None:
    """A gateway that says so is as down as a port that is closed."""
    site = await site_with(NEVER)
    projects = projects_of(site, 4)
    async with site.working(*ENRICHING) as pipeline:
        put(site, "[{outage: 503}]")
        await site.publish(*(new_event("PROJECT_CREATED", project.project_id) for project in projects))
        await waits(pipeline, "circuit_open")
        await probed_in_vain(2)
        put(site, "[]")
        await site.drained(site.topics.events, site.topics.enrichment_pending)
        assert await untouched(site)
    assert len(site.rows("claimx_projects")) == len(projects)


async def test_an_outage_of_the_storage_is_waited_for(site_with: NewSite, new_task: Callable[..., Any]) -> None:
    """Settled point 7: a host that fails for all links is left alone, and its files wait.

    The few that found it out are tried again later: until then it could have been theirs alone.
    """
    site = await site_with(SOON)
    items = files_of(site, LinkForm.FILE_SERVICE, 12)
    async with site.working(*FILES) as pipeline:
        put(site, "[{outage: 503, endpoint: files}]")
        await queue(site, *(new_task(site, item) for item in items))
        await waits(pipeline, "host_unavailable")
        await probed_in_vain(6)
        put(site, "[]")
        await site.drained(*site.topics.work)
        assert await site.dead_letters(DeadLetterKind.DOWNLOADS) == []
        found_out = site.config.claimx_breaker_failure_threshold - 1
        assert sum([await site.count(topic) for topic in site.topics.downloads_retry]) <= found_out
    assert stored(site, *items)


async def test_a_record_that_is_tried_again_later_delays_no_other(
    site_with: NewSite, new_event: Callable[..., bytes]
) -> None:
    """I8: one project fails for an hour; the events behind it, of its own partition too, are done at once."""
    site = await site_with(NEVER, claimx_api_quick_retries="0")
    failing, *others = projects_of(site, 8)
    put(site, f"[{{fail: 1, status: 500, ids: [{failing.project_id}]}}]")
    async with site.working(*ENRICHING):
        await site.publish(*(new_event("PROJECT_CREATED", each.project_id) for each in (failing, *others)))
        await site.drained(site.topics.events, site.topics.enrichment_pending)
        assert await site.count(site.topics.enrichment_retry[0]) == 1
    assert {row["project_id"] for row in site.rows("claimx_projects")} == {str(each.project_id) for each in others}
    assert await site.dead_letters(DeadLetterKind.ENRICHMENT) == []


async def test_a_file_that_is_tried_again_later_delays_no_other(
    site_with: NewSite, new_task: Callable[..., Any]
) -> None:
    """I8 for downloads, and the inventory knows that a retry follows."""
    site = await site_with(NEVER)
    failing, *others = files_of(site, LinkForm.FILE_SERVICE, 6)
    put(site, f"[{{fail: 1, status: 500, endpoint: file, ids: [{failing.media_id}]}}]")
    async with site.working(*FILES):
        await queue(site, *(new_task(site, item) for item in (failing, *others)))
        await site.drained(site.topics.downloads_pending, site.topics.downloads_cached, site.topics.downloads_results)
        assert await site.count(site.topics.downloads_retry[0]) == 1
    assert stored(site, *others)
    status = {row["media_id"]: row["status"] for row in site.rows("claimx_attachments")}
    assert status == {str(item.media_id): "completed" for item in others} | {str(failing.media_id): "failed"}


async def test_what_fails_for_a_while_is_done_in_the_end(
    site_with: NewSite, new_event: Callable[..., bytes], new_task: Callable[..., Any]
) -> None:
    """Errors, bursts of 429 in both forms, cut and slow connections: everything arrives, nothing is set aside."""
    site = await site_with(SOON, claimx_api_quick_retries="0")
    project = next(each for each in projects_of(site, 8) if each.media)
    items = files_of(site, LinkForm.FILE_SERVICE, 4)
    put(
        site,
        f"""
        - {{fail: 1, endpoint: project, times: 2}}
        - {{throttle: 1, endpoint: media, retry_after: 1s, times: 1}}
        - {{throttle: 1, endpoint: media, retry_after: 1s, form: date, times: 1}}
        - {{cut: 1, endpoint: media, times: 1}}
        - {{fail: 1, status: 500, ids: [{items[0].media_id}], endpoint: link, times: 2}}
        - {{fail: 1, status: [500, 503], ids: [{items[1].media_id}], endpoint: file, times: 2}}
        - {{cut: 1, endpoint: file, times: 1}}
        - {{drip: 1, endpoint: file, ids: [{items[2].media_id}], bytes_per_second: 1000000}}
        """,
    )
    async with site.working(*WorkerKind):
        await site.publish(new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=project.media[0].media_id))
        await queue(site, *(new_task(site, item) for item in items))
        await site.drained(*site.topics.work)
    assert stored(site, *items)
    assert {str(item.media_id) for item in project.media} <= {row["media_id"] for row in site.rows("claimx_media")}
    assert [await site.dead_letters(kind) for kind in DeadLetterKind] == [[], [], []]
    assert {row["status"] for row in site.rows("claimx_attachments")} == {"completed"}


@pytest.mark.parametrize(
    "script",
    ["[{short_links: 1, lifetime: 1s, times: 1}]", "[{expired: 1, times: 1}]"],
    ids=["by its date", "by the answer"],
)
async def test_a_link_that_ends_too_soon_is_made_anew_and_costs_no_attempt(
    site_with: NewSite, new_event: Callable[..., bytes], script: str
) -> None:
    """Links that say that they expire at once, and links that the storage calls expired: one fresh one each."""
    site = await site_with(NEVER)
    project = max(site.simulator.world.projects.values(), key=lambda each: len(each.media))
    put(site, script)
    async with site.working(*WorkerKind):
        await site.publish(new_event("PROJECT_FILE_ADDED", project.project_id, mediaId=project.media[0].media_id))
        await site.drained(*site.topics.work)
        assert await untouched(site)
    assert stored(site, *(item for item in project.media if item.link is not LinkForm.NONE))


async def test_what_failed_for_good_is_set_aside_and_done_once_the_cause_is_repaired(
    site_with: NewSite, new_event: Callable[..., bytes]
) -> None:
    """Exhausted attempts and answers that will not change: dead letters, sent again after the repair, and done."""
    site = await site_with(SOON, claimx_api_quick_retries="0")
    gone, failing, good = projects_of(site, 3)
    put(
        site,
        f"[{{fail: 1, status: 404, ids: [{gone.project_id}]}}, {{fail: 1, status: 500, ids: [{failing.project_id}]}}]",
    )
    desk = Desk(site.broker, site.config)
    async with site.working(*ENRICHING):
        await site.publish(*(new_event("PROJECT_CREATED", each.project_id) for each in (gone, failing, good)))
        await site.drained(site.topics.events, site.topics.enrichment_pending, *site.topics.enrichment_retry)
        letters = {letter.record.key: letter for letter in await site.dead_letters(DeadLetterKind.ENRICHMENT)}
        assert {key: (letter.reason, letter.attempts) for key, letter in letters.items()} == {
            str(gone.project_id).encode(): ("not_found", 1),
            str(failing.project_id).encode(): ("transient", 5),
        }
        put(site, "[]")
        await desk.replay((DeadLetterKind.ENRICHMENT,), desk.rules(Selection()), Progress(), limit=None)
        await site.drained(site.topics.enrichment_pending)
    assert len(site.rows("claimx_projects")) == 3
    assert await desk.inspect(tuple(DeadLetterKind), Selection(), 10) == []


async def test_a_whole_feed_in_bad_weather_ends_equal_to_the_truth(site_with: NewSite) -> None:
    """Three in ten calls fail, links end too soon, connections are cut: the lake is what it is in good weather."""
    site = await site_with(SOON)
    simulator = site.simulator
    put(
        site,
        """
        - {fail: 0.3, times: 3}
        - {fail: 0.3, endpoint: files, times: 1}
        - {short_links: 0.3, lifetime: 1s, times: 1}
        - {expired: 0.2, times: 1}
        - {cut: 0.2, times: 1}
        """,
    )
    async with site.working(*WorkerKind):
        await site.publish(*(item.value for item in simulator.feed()))
        await site.drained(*site.topics.work)
    report = await asyncio.to_thread(verify, site.lake, simulator.truth())
    assert report.differences == ()
    assert await site.dead_letters(DeadLetterKind.ENRICHMENT) == []
    assert await site.dead_letters(DeadLetterKind.DOWNLOADS) == []
    assert len(await site.dead_letters(DeadLetterKind.EVENTS)) == simulator.truth().dead_events
