"""Promises of the memory of project answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kafka_pipeline.claimx.api import Answer, NotFound
from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.claimx.project_cache import ProjectCache
from kafka_pipeline.claimx.shapes import read_project_export
from kafka_pipeline.common.failures import Category

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MAX_AGE_S = 60


class ToldClock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Return what was told."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time.timestamp()


class Service:
    """Answers with what it is told, asked at the clock's time; each answer has a number of its own."""

    def __init__(self, clock: ToldClock) -> None:
        self.calls: list[tuple[str, datetime | None]] = []
        self.says: dict[str, Any] = {}
        self._clock = clock

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer, after the time that the answer takes."""
        self.calls.append((project_id, as_of))
        requested_at = self._clock.now()
        says = self.says.get(project_id, {})
        await asyncio.sleep(0)
        if isinstance(says, Exception):
            raise says
        if says is None:
            return NotFound(requested_at=requested_at)
        number = {"projectId": project_id, "projectNumber": f"CLM-{len(self.calls)}"}
        return Answer(value=read_project_export({"project": {**number, **says}}), requested_at=requested_at)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Say what was asked."""
        return "media", project_id, as_of

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Say what was asked."""
        return "task", task_assignment_id, as_of

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Say what was asked."""
        return "call", video_collaboration_id, project_id, as_of


@pytest.fixture
def clock() -> ToldClock:
    """Return the clock of cache and service."""
    return ToldClock()


@pytest.fixture
def service(clock: ToldClock) -> Service:
    """Return what stands behind the cache."""
    return Service(clock)


@pytest.fixture
def cache(service: Service, clock: ToldClock) -> ProjectCache:
    """Return a cache with room for three."""
    return ProjectCache(service, max_projects=3, max_age_s=MAX_AGE_S, clock=clock)


def saved() -> float:
    """Return how many calls were spared so far."""
    return REGISTRY.get_sample_value("claimx_enrichment_calls_saved_total", {"how": "cached"}) or 0.0


async def test_an_event_that_is_older_than_the_last_answer_costs_no_call(
    cache: ProjectCache, service: Service, clock: ToldClock
) -> None:
    """And is counted as a call saved; a younger one asks, with its own time, and its answer is kept in turn."""
    before = saved()
    first = await cache.get_project("1", as_of=START - timedelta(hours=1))
    clock.time += timedelta(seconds=10)
    assert await cache.get_project("1", as_of=START) is first
    assert saved() == before + 1
    fresh = START + timedelta(seconds=1)
    second = await cache.get_project("1", as_of=fresh)
    assert second is not first
    assert await cache.get_project("1") is second
    assert service.calls == [("1", START - timedelta(hours=1)), ("1", fresh)]


async def test_what_may_heal_is_asked_for_again(cache: ProjectCache, service: Service) -> None:
    """Errors, unknown projects, answers without a project or with another one; and what was kept before goes."""
    failure = ClaimXApiError("status 500", Category.TRANSIENT, method="GET", endpoint="/x", status=500)
    for says in (None, {"projectId": "2"}, failure):
        service.says["1"] = {}
        kept = await cache.get_project("1")
        assert await cache.get_project("1") is kept
        service.says["1"] = says
        calls = len(service.calls)
        for _ in range(2):
            try:
                await cache.get_project("1", as_of=START + timedelta(days=1))
            except ClaimXApiError as error:
                assert error is failure  # noqa: PT017 - two of the three answers raise nothing
        assert len(service.calls) == calls + 2
        assert cache.size == (1 if says is failure else 0), "an error says nothing about the project"


async def test_an_answer_that_was_overtaken_is_not_kept(
    cache: ProjectCache, service: Service, clock: ToldClock
) -> None:
    """Of two answers under way the one that was asked for later counts, whichever comes last."""
    gate = asyncio.Event()
    ask = service.get_project

    async def slowly(project_id: str, *, as_of: datetime | None = None) -> Any:
        reply = await ask(project_id, as_of=as_of)
        await gate.wait()
        return reply

    service.get_project = slowly  # type: ignore[method-assign]  # the first answer is held up
    first = asyncio.create_task(cache.get_project("1"))
    await asyncio.sleep(0)
    service.get_project = ask  # type: ignore[method-assign]
    clock.time += timedelta(seconds=1)
    second = await cache.get_project("1", as_of=clock.time)
    gate.set()
    assert await first is not second
    assert await cache.get_project("1") is second


async def test_old_answers_leave_the_memory(cache: ProjectCache, clock: ToldClock) -> None:
    """Personal data is kept no longer than it is of use: it goes with the next question, whatever is asked."""
    for project_id in "123":
        await cache.get_project(project_id)
    clock.time += timedelta(seconds=MAX_AGE_S)
    await cache.get_project("4")
    assert cache.size == 1


async def test_a_monster_is_not_kept(cache: ProjectCache, service: Service) -> None:
    """(I9) Whether its text is long, its list, or its depth; a usual answer is."""
    pit: Any = "x"
    for _ in range(20_000):
        pit = [pit]
    for monster in ("x" * 20_000, list(range(20_000)), pit):
        service.says["1"] = {"unknown": {"field": monster}}
        await cache.get_project("1")
        assert cache.size == 0
    service.says["1"] = {"lossDescription": "x" * 5_000}
    await cache.get_project("1")
    assert cache.size == 1


async def test_nothing_else_is_kept_or_changed(cache: Any) -> None:
    """Links of a media list are credentials of a day, and tasks and calls change."""
    for _ in range(2):
        assert await cache.get_project_media("1", as_of=START) == ("media", "1", START)
        assert await cache.get_custom_task("5", as_of=START) == ("task", "5", START)
        assert await cache.get_video_collaboration("6", "1", as_of=START) == ("call", "6", "1", START)
    assert cache.size == 0


async def test_what_is_kept_cannot_be_printed(cache: ProjectCache, service: Service) -> None:
    """[SEC-10] Neither the cache nor what it holds has a repr of values."""
    service.says["1"] = {"customerInformation": {"firstName": "Pat Secret"}}
    await cache.get_project("1")
    assert "Secret" not in f"{cache!r}{vars(cache)!r}"


async def test_no_room_keeps_nothing(service: Service, clock: ToldClock) -> None:
    """A size of 0 is off."""
    cache = ProjectCache(service, max_projects=0, max_age_s=MAX_AGE_S, clock=clock)
    for _ in range(2):
        await cache.get_project("1")
    assert (len(service.calls), cache.size) == (2, 0)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, some time after the one before."""

    project: str
    after_s: int
    as_of_s: int | None
    """Seconds before the question; negative where its event comes from a clock that goes ahead."""


QUESTIONS = st.builds(
    Question,
    project=st.sampled_from("1234"),
    after_s=st.sampled_from([0, 1, 20, 59, 60, 61]),
    as_of_s=st.none() | st.integers(-5, 90),
)


@given(questions=st.lists(QUESTIONS, max_size=40), room=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_no_answer_is_older_than_it_may_be_and_no_call_is_wasted(questions: Sequence[Question], room: int) -> None:
    """Each answer is as young as its event, and younger than the limit; it is the service's own, unchanged.

    A model of the last answers by project tells for each question whether it must cost a call.
    """

    async def run() -> None:
        clock = ToldClock()
        service = Service(clock)
        cache = ProjectCache(service, max_projects=room, max_age_s=MAX_AGE_S, clock=clock)
        kept: dict[str, Any] = {}
        for question in questions:
            clock.time += timedelta(seconds=question.after_s)
            as_of = None if question.as_of_s is None else clock.time - timedelta(seconds=question.as_of_s)
            limit = clock.time - timedelta(seconds=MAX_AGE_S)
            kept = {project: reply for project, reply in kept.items() if reply.requested_at > limit}
            known = kept.get(question.project)
            good = known is not None and (as_of is None or known.requested_at >= as_of)
            calls = len(service.calls)
            reply = await cache.get_project(question.project, as_of=as_of)
            assert len(service.calls) == calls + (not good)
            if good:
                assert reply is known
                continue
            assert reply.requested_at == clock.time
            kept.pop(question.project, None)
            kept[question.project] = reply
            while len(kept) > room:
                del kept[next(iter(kept))]
            assert cache.size <= room

    asyncio.run(run())
