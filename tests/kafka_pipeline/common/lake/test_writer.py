"""The lake as workers see it: gathered, patient, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from deltalake import DeltaTable
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore, Written
from kafka_pipeline.common.lake.faults import CONFLICT
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.lake.writer import STALL_SECONDS, UNFORESEEN_TRIES, LakeWriter

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)


def _rows(*ids: str, **values: Any) -> list[dict[str, Any]]:
    return [{"thing_id": i, "created_at": NOW, **values} for i in ids]


def _parquet(location: LakeLocation, spec: TableSpec) -> list[str]:
    return DeltaTable(location.table_uri(spec.name), storage_options=location.delta_options()).file_uris()


class Pauses:
    """A sleep that takes no time; it can end an outage after some pauses."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        """Note the pause and let others run."""
        self.taken.append(seconds)
        await asyncio.sleep(0)


class Watch:
    """A clock that shows what it was set to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """Return a fixed time."""
        return NOW

    def monotonic(self) -> float:
        """Return the seconds it was set to."""
        return self.seconds


@pytest.fixture
def pauses() -> Pauses:
    """Return a sleep that takes no time."""
    return Pauses()


@pytest.fixture
async def lake(store: DeltaStore, pauses: Pauses) -> AsyncIterator[LakeWriter]:
    """Return a writer that flushes at once and pauses for no time."""
    lake = LakeWriter(store, flush_rows=100, flush_seconds=0, sleep=pauses, jitter=lambda: 1.0)
    yield lake
    await lake.close()


def _metric(name: str, table: str) -> float:
    return REGISTRY.get_sample_value(name, {"table": table}) or 0.0


async def test_rows_of_many_callers_become_one_commit(
    store: DeltaStore, location: LakeLocation, things: TableSpec
) -> None:
    """Fifty writes of one row: one MERGE, one file."""
    lake = LakeWriter(store, flush_rows=50, flush_seconds=60)
    before = _metric("lake_rows_written_total", "things")
    await asyncio.gather(*(lake.table(things).write(_rows(str(i))) for i in range(50)))
    await lake.close()
    assert len(_parquet(location, things)) == 1
    assert _metric("lake_rows_written_total", "things") - before == 50


async def test_rows_written_are_logged_per_table(lake: LakeWriter, things: TableSpec) -> None:
    """One line per flush with the numbers [MRG-8], and no cell."""
    with capture_logs() as logs:
        await lake.table(things).write(_rows("1", newest="Pat Sample"))
    line = next(entry for entry in logs if entry["event"] == "rows_written")
    assert (line["table"], line["rows"], line["inserted"]) == ("things", 1, 1)
    assert "Pat" not in str(logs)


async def test_appends_and_look_ups_go_through_the_same_lake(lake: LakeWriter, events: TableSpec, event: Any) -> None:
    """Redelivered in one flush or in two, an event is stored once."""
    batch = [event("a", 0), event("b", 1)]
    await asyncio.gather(lake.appender(events).write(batch), lake.appender(events).write(batch))
    await lake.appender(events).write(batch)
    assert len(await lake.existing(events, ["a", "b", "c"], [])) == 2


async def test_an_outage_is_waited_out(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No caller sees it; pauses double up to the cap; it is logged once, and readiness follows (I7)."""
    outage = PipelineError("writing things failed: OSError", Category.TRANSIENT)
    refused = PipelineError("writing things failed: HTTP 403", Category.AUTH)
    merge, seen = store.merge, []

    def away(spec: TableSpec, rows: Iterable[Row]) -> Written:
        seen.append((lake.healthy, lake.failure, _metric("lake_unavailable", "things")))
        if len(seen) <= 10:
            raise refused if len(seen) == 10 else outage
        return merge(spec, rows)

    monkeypatch.setattr(store, "merge", away)
    with capture_logs() as logs:
        await lake.table(things).write(_rows("1"))
    assert seen[0] == (True, None, 0.0)
    assert seen[1:] == [(False, outage.text, 1.0)] * 9 + [(False, refused.text, 1.0)]
    assert pauses.taken == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert [entry["event"] for entry in logs if "available" in entry["event"]] == [
        "lake_unavailable",
        "lake_available_again",
    ]
    assert lake.healthy
    assert _metric("lake_unavailable", "things") == 0


async def test_a_look_up_waits_out_an_outage_too(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question asked while the lake is away is answered when it is back, and no record fails for it (I7)."""
    await lake.table(things).write(_rows("1"))
    existing, failures = store.existing, [Category.TRANSIENT, Category.AUTH, Category.TRANSIENT]

    def away(*asked: Any) -> list[dict[str, Any]]:
        if failures:
            raise PipelineError("reading things failed: OSError", failures.pop())
        return existing(*asked)

    monkeypatch.setattr(store, "existing", away)
    assert await lake.existing(things, ["1"], []) == [{"thing_id": "1"}]
    assert pauses.taken == [0.5, 1, 2]
    failures += [Category.PERMANENT, *[Category.TRANSIENT] * UNFORESEEN_TRIES]
    assert await lake.existing(things, ["1"], []) == [{"thing_id": "1"}], "a vacuumed snapshot is looked past"
    failures += [Category.PERMANENT] * UNFORESEEN_TRIES
    with pytest.raises(PipelineError):
        await lake.existing(things, ["1"], [])


async def test_rows_that_cannot_go_in_fail_their_caller_alone(lake: LakeWriter, things: TableSpec) -> None:
    """The neighbours of the same flush are written; the lake stays healthy."""
    writer = lake.table(things)
    good, bad, other = await asyncio.gather(
        writer.write(_rows("1")),
        writer.write(_rows("2", number="NaN")),
        writer.write(_rows("3")),
        return_exceptions=True,
    )
    assert (good, other) == (None, None)
    assert isinstance(bad, PipelineError)
    assert bad.category is Category.PERMANENT
    assert sorted(row["thing_id"] for row in await lake.existing(things, ["1", "2", "3"], [])) == ["1", "3"]
    assert lake.healthy


async def test_a_refusal_of_rows_ends_an_outage(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake answered, if only to say that these rows cannot go in: it is there."""
    answers = [PipelineError("away", Category.TRANSIENT), PipelineError("no", Category.PERMANENT)]

    def answer(spec: TableSpec, rows: Iterable[Row]) -> Written:
        raise answers.pop(0)

    monkeypatch.setattr(store, "merge", answer)
    with pytest.raises(PipelineError, match="no"):
        await lake.table(things).write(_rows("1"))
    assert lake.healthy


async def test_the_unforeseen_is_tried_again_and_then_told(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be these rows: others must not wait behind them for ever."""

    def broken(spec: TableSpec, rows: Iterable[Row]) -> Written:
        raise PipelineError("writing things failed: DeltaError", Category.UNKNOWN)

    monkeypatch.setattr(store, "merge", broken)
    with pytest.raises(PipelineError):
        await lake.table(things).write(_rows("1"))
    assert len(pauses.taken) == 2


async def test_crowding_is_no_outage(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost races are repeated without turning readiness off, and soon: the lake is there."""
    merge, seen = store.merge, []

    def crowded(spec: TableSpec, rows: Iterable[Row]) -> Written:
        seen.append(lake.healthy)
        if len(seen) < 5:
            raise PipelineError("lost 5 times", Category.TRANSIENT, reason=CONFLICT)
        return merge(spec, rows)

    monkeypatch.setattr(store, "merge", crowded)
    await lake.table(things).write(_rows("1"))
    assert seen == [True] * 5
    assert pauses.taken == [0.5] * 4


async def test_a_shared_table_is_left_to_others_after_a_commit(
    store: DeltaStore, things: TableSpec, location: LakeLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees commits of another lets it come in between; rows gather meanwhile, and closing waits for nobody."""
    lake = LakeWriter(store, flush_rows=1, flush_seconds=60, jitter=lambda: 0.5)
    merge, flushed = store.merge, []

    def slow(spec: TableSpec, rows: Iterable[Row]) -> Written:
        flushed.append(sorted(str(row["thing_id"]) for row in rows))
        return replace(merge(spec, rows), commit_s=100.0)

    monkeypatch.setattr(store, "merge", slow)
    writer = lake.table(things)
    for number in "12":
        await writer.write(_rows(number))  # alone: no commit waits for another
    DeltaStore(location).merge(things, _rows("x"))
    await writer.write(_rows("3"))
    more = [asyncio.create_task(writer.write(_rows(number))) for number in "45"]
    done, _ = await asyncio.wait(more, timeout=0.05)
    assert not done
    assert flushed == [["1"], ["2"], ["3"]]
    await lake.close()
    await asyncio.gather(*more)
    assert flushed[3:] == [["4"], ["5"]]


async def test_a_panic_of_the_native_library_ends_no_worker(
    lake: LakeWriter, store: DeltaStore, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives as an unknown failure, not as something that no handler catches."""

    class PanicException(BaseException):
        pass

    def panic(spec: TableSpec, rows: Iterable[Row]) -> Written:
        raise PanicException

    monkeypatch.setattr(store, "merge", panic)
    with pytest.raises(PipelineError, match="PanicException") as caught:
        await lake.table(things).write(_rows("1"))
    assert caught.value.category is Category.UNKNOWN


async def test_a_write_that_hangs_shows_in_readiness(
    store: DeltaStore, things: TableSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be ended, but nobody need believe that all is well."""
    watch, inside, go_on = Watch(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(spec: TableSpec, rows: Iterable[Row]) -> Written:
        loop.call_soon_threadsafe(inside.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return Written()

    monkeypatch.setattr(store, "merge", hang)
    lake = LakeWriter(store, flush_rows=1, flush_seconds=0, clock=watch)
    write = asyncio.ensure_future(lake.table(things).write(_rows("1")))
    await inside.wait()
    assert lake.healthy
    watch.seconds = STALL_SECONDS + 1
    assert not lake.healthy
    assert "takes longer than 300 s" in (lake.failure or "")
    go_on.set()
    await write
    assert lake.healthy
    await lake.close()


async def test_the_event_loop_keeps_ticking_while_a_merge_runs(lake: LakeWriter, things: TableSpec) -> None:
    """Delta runs in threads and frees the interpreter."""
    ticks = 0
    write = asyncio.ensure_future(lake.table(things).write(_rows(*(str(i) for i in range(5_000)), newest="x" * 50)))
    while not write.done():
        await asyncio.sleep(0)
        ticks += 1
    await write
    assert ticks > 10


async def test_tables_are_flushed_beside_each_other(
    store: DeltaStore, things: TableSpec, events: TableSpec, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that waits on one table does not hold back another."""
    lake = LakeWriter(store, flush_rows=100, flush_seconds=0)
    merge, stuck = store.merge, asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(spec: TableSpec, rows: Iterable[Row]) -> Written:
        asyncio.run_coroutine_threadsafe(stuck.wait(), loop).result()
        return merge(spec, rows)

    monkeypatch.setattr(store, "merge", slow)
    waiting = asyncio.ensure_future(lake.table(things).write(_rows("1")))
    await lake.appender(events).write([event("a", 0)])
    assert not waiting.done()
    stuck.set()
    await waiting
    await lake.close()


async def test_drain_flushes_every_table_now(
    store: DeltaStore, things: TableSpec, events: TableSpec, event: Any
) -> None:
    """An hour's delay is cut short, for upserts and appends alike."""
    lake = LakeWriter(store, flush_rows=1_000, flush_seconds=3_600)
    writes = [
        asyncio.ensure_future(lake.table(things).write(_rows("1"))),
        asyncio.ensure_future(lake.appender(events).write([event("a", 0)])),
    ]
    await asyncio.sleep(0)
    await lake.drain()
    await asyncio.gather(*writes)
    await lake.close()
