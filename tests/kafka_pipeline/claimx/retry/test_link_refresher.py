"""A fresh link costs one call for all files of a project, and never comes from an answer that is in the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.claimx.api import Answer, NotFound
from kafka_pipeline.claimx.retry import link_refresher
from kafka_pipeline.claimx.retry.link_refresher import KEPT_S, LinkRefresher
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.shapes import read_media_list
from kafka_pipeline.common.failures import Category, PipelineError, UnavailableError

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


class ToldClock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Return what was told."""
        return self.time

    def monotonic(self) -> float:
        """Return seconds."""
        return self.time.timestamp()

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


class Api:
    """Lists the files that it is told, each with a link that no other answer has; good for an hour by its own words."""

    def __init__(self, clock: ToldClock) -> None:
        self.calls: Counter[str] = Counter()
        self.files: dict[str, list[str]] = {}
        self.fails: PipelineError | None = None
        self.lifetime_s = 3_600
        self.without_link: set[str] = set()
        self._clock = clock

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer in the API's own spelling (trap 6)."""
        self.calls[project_id] += 1
        if self.fails:
            raise self.fails
        if project_id not in self.files:
            return NotFound(requested_at=self._clock.now())
        items = [{"mediaID": int(media_id), **self._link(media_id)} for media_id in self.files[project_id]]
        return Answer(value=read_media_list({"data": items}), requested_at=self._clock.now())

    def _link(self, media_id: str) -> dict[str, str]:
        if media_id in self.without_link:
            return {}
        stamp = f"{self._clock.now():%Y%m%dT%H%M%SZ}"
        query = f"X-Amz-Date={stamp}&X-Amz-Expires={self.lifetime_s}&n={self.calls.total()}"
        return {"fullDownloadLink": f"https://media.s3.example.com/{media_id}?{query}"}


class Kit:
    """A refresher, its API and its clock."""

    def __init__(self) -> None:
        self.clock = ToldClock()
        self.api = Api(self.clock)
        self.api.files = {"1": ["71", "72", "73"], "2": ["81"]}
        self.links = LinkRefresher(cast("Any", self.api), clock=self.clock)


@pytest.fixture
def kit() -> Kit:
    """Return the kit."""
    return Kit()


def task(media_id: str = "71", project_id: str = "1", **changes: Any) -> ClaimXDownloadTask:
    """Return a task whose link is of yesterday."""
    fields = {
        "media_id": media_id,
        "project_id": project_id,
        "download_url": "https://media.s3.example.com/old?X-Amz-Signature=SECRET",
        "blob_path": f"claimx/{project_id}/{media_id}/a.jpg",
        "retry_count": 2,
        "expires_at": START - timedelta(days=1),
    }
    return ClaimXDownloadTask(**fields | changes)


async def test_a_task_gets_the_link_of_its_file_and_its_end(kit: Kit) -> None:
    """LNK-5: link and end are new, one refresh more, no attempt more; nothing else changes."""
    old = task("72")
    new = await kit.links.refreshed(old)
    assert "/72?" in new.download_url
    assert new.expires_at == START + timedelta(hours=1)
    assert (new.refresh_count, new.retry_count) == (1, 2)
    changed = {"download_url", "expires_at", "refresh_count"}
    assert new.model_dump(exclude=changed) == old.model_dump(exclude=changed)


async def test_files_of_a_project_share_an_answer_for_a_while(kit: Kit) -> None:
    """One call for a burst; then the next answer, since links do not live for ever."""
    for media_id in ("71", "72", "73"):
        await kit.links.refreshed(task(media_id))
    assert kit.api.calls == {"1": 1}
    await kit.links.refreshed(task("81", "2"))
    kit.clock.go_on(KEPT_S)
    await kit.links.refreshed(task("73"))
    assert kit.api.calls == {"1": 2, "2": 1}


async def test_a_link_that_is_in_the_way_is_never_given_again(kit: Kit) -> None:
    """The file's fresh link failed at once: what is kept is that very link, so the API is asked."""
    first = await kit.links.refreshed(task())
    second = await kit.links.refreshed(first)
    assert first.download_url != second.download_url
    assert second.refresh_count == 2
    assert kit.api.calls == {"1": 2}


async def test_a_kept_link_is_given_in_the_first_half_of_its_life(kit: Kit) -> None:
    """Of a service whose links live for twenty seconds: one that is nearly over would be no help."""
    kit.api.lifetime_s = 20
    await kit.links.refreshed(task("71"))
    kit.clock.go_on(9)
    old = await kit.links.refreshed(task("72"))
    assert old.expires_at == kit.clock.now() + timedelta(seconds=11)
    kit.clock.go_on(2)
    new = await kit.links.refreshed(task("73"))
    assert new.expires_at == kit.clock.now() + timedelta(seconds=20)


@pytest.mark.parametrize("media_id", ["79", "73"], ids=["not listed", "listed without a link"])
async def test_a_file_that_is_not_ready_may_be_later(kit: Kit, media_id: str) -> None:
    """LNK-5: transient. The file after it does not suffer."""
    kit.api.without_link = {"73"}
    with pytest.raises(PipelineError) as caught:
        await kit.links.refreshed(task(media_id))
    assert caught.value.category is Category.TRANSIENT
    assert (await kit.links.refreshed(task("71"))).refresh_count == 1


async def test_an_unknown_project_is_not_found(kit: Kit) -> None:
    """Permanent, under the reason that dead letters know."""
    with pytest.raises(PipelineError) as caught:
        await kit.links.refreshed(task("1", "404"))
    assert (caught.value.category, caught.value.reason) == (Category.PERMANENT, "not_found")


async def test_a_call_that_fails_decides_by_its_own_category(kit: Kit) -> None:
    """Also that the API is known to be down: then the file waits. Nothing of it is kept: the next call may succeed."""

    async def until() -> None:
        """Return at once."""

    for error in (
        PipelineError("GET /x: status 401", Category.AUTH),
        UnavailableError("the API is known to be down", until),
    ):
        kit.api.fails = error
        with pytest.raises(PipelineError) as caught:
            await kit.links.refreshed(task())
        assert caught.value is error
    kit.api.fails = None
    assert (await kit.links.refreshed(task())).refresh_count == 1


def test_nothing_shows_a_link(kit: Kit) -> None:
    """I10: what is kept are credentials."""
    asyncio.run(kit.links.refreshed(task()))
    assert "X-Amz" not in repr(vars(kit.links))


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_what_is_kept_is_bounded_and_counted_right(sizes: list[int]) -> None:
    """I9: lists of any length, of any number of projects, one after the other and again."""
    bound, link_refresher.MAX_KEPT_LINKS = link_refresher.MAX_KEPT_LINKS, 40  # type: ignore[misc]

    async def story() -> None:
        kit = Kit()
        kit.api.files = {str(number): [str(media_id) for media_id in range(size)] for number, size in enumerate(sizes)}
        for project_id in (*kit.api.files, *kit.api.files):
            for media_id in kit.api.files[project_id][:2]:
                await kit.links.refreshed(task(media_id, project_id))
            kept = sum(len(listed.links) for listed in kit.links._kept.values())
            assert kept == kit.links._kept_links <= 40
        kit.clock.go_on(KEPT_S)
        kit.links._forget_what_is_old()
        assert (len(kit.links._kept), kit.links._kept_links) == (0, 0)

    try:
        asyncio.run(story())
    finally:
        link_refresher.MAX_KEPT_LINKS = bound  # type: ignore[misc]
