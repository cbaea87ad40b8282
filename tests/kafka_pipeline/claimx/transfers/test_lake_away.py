"""A lake that takes nothing is waited for, whatever the way of the file; one file that it cannot take is not (I7)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.claimx.transfers import patience
from kafka_pipeline.claimx.transfers.patience import LakePatience
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.errors import DownloadError
from kafka_pipeline.common.lake.upload import Upload
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Retry

PASSING = (Category.TRANSIENT, Category.AUTH)


def failing(monkeypatch: pytest.MonkeyPatch, method: str, errors: list[PipelineError]) -> None:
    """Let a step of streamed uploads fail, once with each error."""
    real = getattr(Upload, method)

    async def step(self: Upload, *arguments: Any) -> None:
        if errors:
            raise errors.pop(0)
        await real(self, *arguments)

    monkeypatch.setattr(Upload, method, step)


@pytest.mark.parametrize("bench", ["direct"], indirect=True)
class TestDirect:
    """A file that streams straight into a lake with moods; the downloader of the cached mode never meets the lake."""

    @pytest.mark.parametrize("method", ["write", "finish"])
    @pytest.mark.parametrize("category", PASSING)
    async def test_an_outage_is_waited_out_and_the_file_fetched_again(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch, method: str, category: Category
    ) -> None:
        """No attempt counts, and nothing is left of what did not become whole."""
        failing(monkeypatch, method, [PipelineError("writing a file of the lake failed: HTTP 503", category)] * 7)
        bench.server.scripts["/f"] = bench.answer(200, b"a photo")
        outcome = await bench.download(bench.task())
        assert isinstance(outcome, Done)
        assert (bench.server.asked["/f"], bench.kept()) == (8, [b"a photo"])

    async def test_a_link_that_ends_meanwhile_is_made_anew(self, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The outage outlasted the link: what is asked next is a fresh one."""
        errors = [PipelineError("the lake is away", Category.TRANSIENT)]
        failing(monkeypatch, "finish", errors)
        bench.server.scripts = {"/f": bench.answer(200, b"old"), "/fresh": bench.answer(200, b"fresh")}
        bench.api.links = {"71": bench.link("/fresh")}
        ends_at = datetime.now(UTC) + timedelta(seconds=60.3)

        async def long_pause(_seconds: float) -> None:
            while datetime.now(UTC) < ends_at - timedelta(seconds=60):
                await asyncio.sleep(0.01)

        bench.patience = LakePatience(sleep=long_pause)
        outcome = await bench.download(bench.task(expires_at=ends_at))
        assert isinstance(outcome, Done)
        assert (bench.server.asked, bench.kept()) == ({"/f": 1, "/fresh": 1}, [b"fresh"])

    async def test_a_file_that_the_lake_refuses_is_dead(self, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """[7.4] 400 of the storage is permanent; no half file is visible."""
        failing(monkeypatch, "finish", [PipelineError("HTTP 400", Category.PERMANENT)])
        bench.server.scripts["/f"] = bench.answer(200, b"a photo")
        assert isinstance(await bench.download(bench.task()), Dead)
        assert (bench.left_behind(), bench.rows()) == ([], [])

    async def test_a_file_that_fails_while_others_are_stored_is_tried_later(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the fault, not the lake; waiting for ever would hold its partition up."""
        failing(monkeypatch, "finish", [PipelineError("HTTP 503", Category.TRANSIENT)] * 100)
        bench.server.scripts["/f"] = bench.answer(200, b"a photo")

        async def meanwhile(_seconds: float) -> None:
            bench.patience.stored()

        bench.patience = LakePatience(sleep=meanwhile)
        assert isinstance(await bench.download(bench.task()), Retry)
        assert bench.server.asked["/f"] == patience.TRIES_BESIDE_SUCCESSES


async def test_a_link_that_ended_while_its_file_waited_for_a_turn_is_not_asked(bench: Any) -> None:
    """LNK-4: the last look is right before the request."""
    worker = await bench.worker()
    with pytest.raises(DownloadError) as caught:
        await worker._transfer.bring(bench.task(expires_at=datetime.now(UTC)))
    assert caught.value.expired
    assert bench.server.asked.total() == 0


@given(events=st.lists(st.booleans(), max_size=60), category=st.sampled_from(PASSING))
def test_patience_ends_exactly_when_the_file_failed_often_while_others_went_in(
    events: list[bool], category: Category
) -> None:
    """Any course of this file's failures (False) and other files' successes (True), against plain counting."""

    async def story() -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        lake = LakePatience(sleep=sleep)
        lake.stored()  # before this file: says nothing of it
        file = lake.with_file("71")
        failures = stored = 0
        for success in events:
            if success:
                lake.stored()
                stored += 1
                continue
            failures += 1
            error = PipelineError("HTTP 503", category)
            if failures >= patience.TRIES_BESIDE_SUCCESSES and stored:
                with pytest.raises(PipelineError) as caught:
                    await file.after(error)
                assert caught.value is error
                return
            await file.after(error)
        for number, seconds in enumerate(slept):
            longest = min(patience.FIRST_PAUSE_S * 2**number, patience.LAST_PAUSE_S)
            assert longest / 2 <= seconds <= longest

    asyncio.run(story())


@pytest.mark.parametrize("category", [category for category in Category if category not in PASSING])
async def test_patience_is_for_what_may_pass(category: Category) -> None:
    """Anything else is told at once."""
    with pytest.raises(PipelineError):
        await LakePatience().with_file("71").after(PipelineError("no", category))
