"""The demo with faults: it ends verified on every broker, and what it tells of a storm is worth something."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console

from kafka_pipeline.claimx.dlq.desk import Desk
from kafka_pipeline.claimx.idle import Progress
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.cli.demo.deeds import Deeds, Watch
from kafka_pipeline.cli.demo.latency import Latencies
from kafka_pipeline.cli.demo.progress import stages
from kafka_pipeline.cli.demo.report import print_report
from kafka_pipeline.cli.demo.run import DemoResult, Finding, StormResult
from kafka_pipeline.cli.demo.setaside import SetAside, expected_set_aside, read_set_aside
from kafka_pipeline.cli.demo.storm import RETRY_DELAYS_S, STORM, outage_s, storm_over
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.observability import metrics
from kafka_pipeline.common.resilience.breaker import BREAKER_OPENINGS, BREAKER_STATE
from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.faults import Cut, Drip, Endpoint, Expired, Fail, FaultKind, Latency, ShortLinks, Throttle
from kafka_pipeline.simulator.feed import FeedKind
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.verifier import Comparison, VerificationReport

ROOT = Path(__file__).parents[3]
STORMY = ("demo", "--data-dir", "here", "--events", "100", "--projects", "12", "--latency-ms", "5", "--faults")
VERIFIED = "Verified: every row and every file equals the ground truth."


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Give a small ClaimX that runs."""
    async with Simulator(SimulatorSettings(projects=12, media_per_project=3, events=100)) as running:
        yield running


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_a_demo_in_a_storm_ends_verified(broker: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Errors, an outage of 20 s, links that expire at once, cut connections, poison: the lake is what it must be.

    The dead letters hold just what is poisoned, and after the repair and a replay that is in, too.
    """
    environ = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "kafka_pipeline", *STORMY]
    if broker == "kafka":
        command.append("--kafka")
        environ["KAFKA_BOOTSTRAP_SERVERS"] = request.getfixturevalue("kafka_bootstrap")
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=170)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert VERIFIED in ended.stdout
    assert "just what was poisoned" in ended.stdout
    figures = dict(re.findall(r"^(\S+(?: \S+)*) {2,}([\d,]+)(?: |$)", ended.stdout, re.MULTILINE))
    for label in (
        "errors",
        "too many requests",
        "links that expire at once",
        "links called expired",
        "connections cut",
    ):
        assert int(figures[label].replace(",", "")) > 0, label
    for label in ("retries", "links refreshed", "batches that waited", "sent again after the repair"):
        assert int(figures[label].replace(",", "")) > 0, label
    assert figures["outage"] == "20"


@pytest.mark.crash
@pytest.mark.timeout(180)
async def test_a_demo_killed_in_a_storm_is_resumed_to_the_same_end(program: Any) -> None:
    """Kill -9 while work waits for the API: the poison stays, the storm does not come twice, nothing is missing."""
    running = await program.start(*STORMY, COLUMNS="200")
    await running.made(program.folder / "here", "lake/Files/claimx/*/*/*")
    killed = await running.stop(signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    resumed = await program.run("demo", "--data-dir", "here", "--resume", COLUMNS="200")
    assert resumed.code == 0, resumed.out
    assert VERIFIED in resumed.out
    assert "just what was poisoned" in resumed.out


async def test_the_storm_is_the_same_for_the_same_seed_and_leaves_each_record_attempts_enough(
    simulator: Simulator,
) -> None:
    """Poison comes first, so that no weather hides it; what costs a file attempts costs fewer than it has."""
    storm = storm_over(simulator)
    assert storm_over(simulator) == storm
    poison = storm.poison.faults()
    assert storm.raging.faults[: len(poison)] == storm.past.faults == poison
    assert set(poison) & set(storm.repaired.faults) == set()
    assert (outage_s(storm.raging), outage_s(storm.past), outage_s(storm.repaired)) == (20, 0, 0)
    weather = parse_fault_script(STORM).faults
    assert {fault.kind for fault in weather} == set(FaultKind)
    for endpoint in Endpoint:
        struck = [fault for fault in weather if endpoint in fault.endpoints]
        costly = [fault for fault in struck if isinstance(fault.effect, Fail | Throttle | ShortLinks | Expired | Cut)]
        assert all(fault.times is not None for fault in costly)
    costs_a_file = [fault for fault in weather if Endpoint.FILE in fault.endpoints]
    attempts = sum(fault.times or 0 for fault in costs_a_file if not isinstance(fault.effect, Drip | Latency))
    assert attempts < len(RETRY_DELAYS_S) + 1


async def test_what_must_be_set_aside_is_what_is_malformed_and_what_is_poisoned(simulator: Simulator) -> None:
    """Without poison, malformed records alone."""
    feed = simulator.feed()
    poison = storm_over(simulator).poison
    plain, poisoned = expected_set_aside(feed), expected_set_aside(feed, poison)
    malformed = {item.value for item in feed if item.kind is FeedKind.MALFORMED}
    assert len(plain[DeadLetterKind.EVENTS]) == len(malformed)
    assert plain[DeadLetterKind.ENRICHMENT] == plain[DeadLetterKind.DOWNLOADS] == frozenset()
    assert poisoned[DeadLetterKind.EVENTS] == plain[DeadLetterKind.EVENTS]
    assert len(poisoned[DeadLetterKind.ENRICHMENT]) == len(poison.events(feed)) > 0
    assert len(poisoned[DeadLetterKind.DOWNLOADS]) == len(poison.files) > 0


async def test_dead_letters_are_named_and_none_that_differs_is_overlooked(embedded_site: Any) -> None:
    """An event too many, one too few, a record that cannot be read: each in a line of its own, without its content."""
    topic = embedded_site.topics.dead_letters(DeadLetterKind.ENRICHMENT)
    task = ClaimXEnrichmentTask(
        event_id="extra-1", event_type="PROJECT_CREATED", project_id="900001", created_at=datetime.now(UTC)
    )
    reason = (("dlq-reason", b"transient"),)
    await embedded_site.put(
        topic,
        Message(topic=topic, value=task.to_bytes(), headers=reason),
        Message(topic=topic, value=task.to_bytes(), headers=reason),
        Message(topic=topic, value=b"somebody@example.com", headers=reason),
    )
    found = await read_set_aside(Desk(embedded_site.broker, embedded_site.config))
    assert found.count(DeadLetterKind.ENRICHMENT) == 3
    nothing = dict.fromkeys(DeadLetterKind, frozenset[str]())
    lines = found.problems(nothing | {DeadLetterKind.ENRICHMENT: frozenset({"event missing-1"})})
    assert lines[0].startswith("dead letters of enrichment: enrichment-")
    assert lines[0].endswith("which cannot be read extra (transient)")
    assert lines[1:] == [
        "dead letters of enrichment: event extra-1 extra (transient)",
        "dead letters of enrichment: event missing-1 missing",
    ]
    assert (
        found.problems(nothing | {DeadLetterKind.ENRICHMENT: frozenset(found.things[DeadLetterKind.ENRICHMENT])}) == []
    )


class _Ticking:
    """A clock that goes on a second whenever it is asked."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds

    def now(self) -> Any:
        raise AssertionError("nobody asks for the time of day")


def test_what_the_pipeline_did_is_counted_from_when_the_watch_began() -> None:
    """Counters of before are left out; a breaker's time counts while it is not closed."""
    BREAKER_OPENINGS.labels("claimx_api").inc()
    metrics.WAITS.labels(worker="w", reason="circuit_open").inc()
    BREAKER_STATE.labels("claimx_api").set(0)
    watch = Watch(_Ticking())
    watch.look()
    BREAKER_STATE.labels("claimx_api").set(1)
    watch.look()
    watch.look()
    BREAKER_STATE.labels("claimx_api").set(0)
    watch.look()
    BREAKER_OPENINGS.labels("claimx_api").inc(2)
    metrics.RETRIES_SCHEDULED.labels(kind="downloads", delay="1s", reason="transient").inc()
    metrics.RETRIES_SCHEDULED.labels(kind="downloads", delay="2s", reason="auth").inc()
    deeds = watch.deeds()
    assert deeds.openings == {"claimx_api": 2}
    assert deeds.not_closed_s == {"claimx_api": 2}
    assert deeds.retries == {"downloads": 2}
    assert deeds.waits == {}


async def test_the_retry_topics_of_a_stage_are_shown_as_one(embedded_site: Any) -> None:
    """In the order of the flow, everything added up."""
    topics = embedded_site.topics
    shown = stages(topics, [Progress(topic=topic, done=1, total=2) for topic in topics.work])
    assert [stage.topic for stage in shown] == [
        topics.events,
        topics.enrichment_pending,
        topics.enrichment_retry[0].rpartition(".")[0],
        topics.downloads_pending,
        topics.downloads_retry[0].rpartition(".")[0],
        topics.downloads_cached,
        topics.downloads_results,
    ]
    assert sum(stage.total for stage in shown) == 2 * len(topics.work)


async def test_a_difference_before_the_repair_is_one_also_if_the_end_is_right(simulator: Simulator) -> None:
    """It is named, counted, and keeps the proof from being printed."""
    nothing = Comparison(expected=0, found=0, differences={})
    tables = {"claimx_events": Comparison(expected=100, found=90, differences={})}
    report = VerificationReport(tables=tables, files=nothing, file_bytes=0, differences=())
    set_aside = SetAside(things={kind: Counter[str]() for kind in DeadLetterKind}, reasons={})
    end = Finding(report=report, set_aside=set_aside, problems=())
    before = Finding(report=report, set_aside=set_aside, problems=("claimx_media 7100001: missing",))
    storm = StormResult(
        storm=storm_over(simulator),
        outage_s=20,
        injected={"fail": 3},
        deeds=Deeds(retries={}, refreshed_links=0, waits={}, openings={}, not_closed_s={}, failed_calls=0),
        before_repair=before,
        sent_again=0,
    )
    result = DemoResult(
        end=end, events=100, latencies=Latencies(rows=None, files=None), seconds=1, api_calls=0, storm=storm
    )
    printed = io.StringIO()
    print_report(result, Console(width=200, file=printed))
    out = printed.getvalue()
    assert "before the repair: claimx_media 7100001: missing" in out
    assert "1 differences, see below" in out
    assert VERIFIED not in out
