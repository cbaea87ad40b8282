"""Group commit: what callers may rely on, in any order of events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.committer import GATHER_SHARE, ClosedError, GroupCommitter, flush_due_at

HOURS = 3_600.0
"""A delay that no test waits for: whatever is flushed was flushed for another reason."""


class Sink:
    """Records flushes; holds each one until it is let go, if asked to; fails on chosen items."""

    def __init__(self) -> None:
        self.flushed: list[list[int]] = []
        self.attempts: list[list[int]] = []
        self.bad: dict[int, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.started = asyncio.Event()

    async def flush(self, items: Sequence[int]) -> None:
        """Take the items, or raise what one of them is marked with."""
        self.attempts.append(list(items))
        self.running += 1
        assert self.running == 1, "flushes must not overlap"
        self.started.set()
        try:
            await self.gate.wait()
            for item in items:
                if item in self.bad:
                    raise self.bad[item]
            self.flushed.append(list(items))
        finally:
            self.running -= 1


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def _start(*writes: Awaitable[None]) -> list[asyncio.Future[None]]:
    return [asyncio.ensure_future(write) for write in writes]


async def test_a_flush_begins_with_the_rows_that_are_due_and_takes_all_that_gathered_before_it() -> None:
    """Callers that can give no more do not wait for more; while a flush runs, what gathers goes together."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=6, max_delay_s=HOURS, due_rows=2)
    sink.gate.clear()
    first = _start(committer.write([1, 2]))
    await sink.started.wait()
    rest = _start(*(committer.write([number]) for number in range(3, 8)))
    await _until(lambda: committer.queued == 5)
    sink.gate.set()
    await asyncio.gather(*first, *rest)
    assert sink.flushed == [[1, 2], [3, 4, 5, 6, 7]]


async def test_calls_of_one_moment_share_a_flush_in_call_order() -> None:
    """A full group is flushed at once; items keep the order of the calls."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=4, max_delay_s=HOURS)
    await asyncio.gather(committer.write([1]), committer.write([2, 3]), committer.write([4]))
    assert sink.flushed == [[1, 2, 3, 4]]


async def test_a_small_group_is_flushed_when_the_oldest_has_waited_long_enough() -> None:
    """Time is the other bound: a single row does not wait for company for ever."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=100, max_delay_s=0.01)
    await committer.write([1])
    await committer.write([2])
    assert sink.flushed == [[1], [2]]


MOMENTS = st.floats(min_value=0, max_value=1e6)
DELAYS = st.floats(min_value=0, max_value=3_600)


@given(arrived=MOMENTS, since_s=DELAYS, max_delay_s=DELAYS)
def test_nobody_waits_longer_than_allowed_and_flushes_keep_their_distance(
    arrived: float, since_s: float, max_delay_s: float
) -> None:
    """A flush begins an interval after the last one, at once if that is over, and never after the longest wait."""
    began_at = arrived - since_s
    due_at = flush_due_at(arrived, began_at=began_at, max_delay_s=max_delay_s)
    assert arrived <= due_at <= arrived + max_delay_s
    assert due_at == pytest.approx(
        arrived + max_delay_s * min(1, max(GATHER_SHARE, 1 - since_s / max_delay_s if max_delay_s else 0)),
        abs=1e-6,
    )


async def test_the_first_item_after_a_pause_is_not_kept_for_the_whole_interval() -> None:
    """An interval that nobody used is over: the wait is for company alone, a small share of it."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=100, max_delay_s=0.1 / GATHER_SHARE)
    write, more = _start(committer.write([1]), committer.write([2]))
    await write
    assert more.done()
    (late,) = _start(committer.write([3]))
    await _until(lambda: committer.queued == 1)
    assert sink.flushed == [[1, 2]]
    await committer.drain()
    await late


async def test_no_flush_begins_while_the_table_is_left_to_others_unless_it_must() -> None:
    """Neither full groups nor what became due during the flush begin one; `drain` does."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=2, max_delay_s=0)
    first = _start(committer.write([1]))
    await sink.started.wait()
    more = _start(committer.write([2]), committer.write([3]), committer.write([4]))
    await _until(lambda: committer.queued == 3)
    committer.rest(HOURS)
    sink.gate.set()
    await asyncio.gather(*first)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (sink.flushed, committer.queued) == ([[1]], 3)
    await committer.drain()
    await asyncio.gather(*more)
    assert sink.flushed == [[1], [2, 3], [4]]


async def test_after_the_rest_a_flush_begins_by_itself() -> None:
    """With what gathered meanwhile."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=10, max_delay_s=0)
    committer.rest(0.02)
    await asyncio.gather(committer.write([1]), committer.write([2]))
    assert sink.flushed == [[1, 2]]


async def test_a_write_returns_only_when_its_items_are_durable() -> None:
    """While the flush runs, nobody is told that it is over."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=1, max_delay_s=HOURS)
    (write,) = _start(committer.write([1]))
    await sink.started.wait()
    assert not write.done()
    sink.gate.set()
    await write
    assert sink.flushed == [[1]]


async def test_what_arrives_during_a_flush_gathers_for_the_next() -> None:
    """One flush at a time; a slow lake makes larger flushes, not more of them."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=3, max_delay_s=0)
    first = _start(committer.write([1]))
    await sink.started.wait()
    rest = _start(*(committer.write([i]) for i in range(2, 6)))
    await _until(lambda: committer.queued == 4)
    sink.gate.set()
    await asyncio.gather(*first, *rest)
    assert sink.flushed == [[1], [2, 3, 4], [5]]


async def test_a_share_is_never_split() -> None:
    """A caller's items go together, even if they are more than a flush should hold."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=2, max_delay_s=0)
    await asyncio.gather(committer.write([1]), committer.write([2, 3, 4]), committer.write([5]))
    assert sink.flushed == [[1], [2, 3, 4], [5]]


async def test_drain_flushes_at_once() -> None:
    """Before a revoke or an exit nobody waits for the timer."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=100, max_delay_s=HOURS)
    writes = _start(committer.write([1]), committer.write([2]))
    await _until(lambda: committer.queued == 2)
    await committer.drain()
    await asyncio.gather(*writes)
    assert sink.flushed == [[1, 2]]
    await committer.drain()


async def test_drain_covers_the_flush_that_runs_and_what_waits_behind_it() -> None:
    """It returns when both are over."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=1, max_delay_s=HOURS)
    writes = _start(committer.write([1]), committer.write([2]))
    await sink.started.wait()
    (drain,) = _start(committer.drain())
    await asyncio.sleep(0)
    assert not drain.done()
    sink.gate.set()
    await drain
    assert sink.flushed == [[1], [2]]
    await asyncio.gather(*writes)


async def test_after_close_nothing_is_taken() -> None:
    """What was taken before is flushed, waiting callers included or refused, never forgotten."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=1, max_delay_s=HOURS, max_queued=1)
    writes = _start(*(committer.write([i]) for i in range(4)))
    await sink.started.wait()
    await _until(lambda: committer.queued == 1)
    (close,) = _start(committer.close())
    await asyncio.sleep(0)
    sink.gate.set()
    await close
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sink.flushed == [[0], [1]]
    assert [type(r) for r in results] == [type(None), type(None), ClosedError, ClosedError]
    with pytest.raises(ClosedError):
        await committer.write([9])


async def test_a_transient_error_reaches_exactly_the_callers_of_that_flush() -> None:
    """The next flush is not touched by it."""
    sink = Sink()
    outage = sink.bad[2] = PipelineError("away", Category.TRANSIENT)
    committer = GroupCommitter(sink.flush, max_rows=2, max_delay_s=0)
    results = await asyncio.gather(*(committer.write([i]) for i in (1, 2, 3)), return_exceptions=True)
    assert results == [outage, outage, None]
    assert sink.attempts == [[1, 2], [3]]


@pytest.mark.parametrize(
    "error", [PipelineError("x", Category.PERMANENT), PipelineError("x", Category.UNKNOWN), KeyError()]
)
async def test_a_bad_share_does_not_fail_its_neighbours(error: Exception) -> None:
    """If a flush of several fails for good, each share is tried alone."""
    sink = Sink()
    sink.bad[2] = error
    committer = GroupCommitter(sink.flush, max_rows=4, max_delay_s=0)
    writes = (committer.write([1]), committer.write([2, 3]), committer.write([4]))
    assert list(await asyncio.gather(*writes, return_exceptions=True)) == [None, error, None]
    assert sink.flushed == [[1], [4]]


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    """Its items stay in the flush, its neighbours learn that theirs are durable."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=2, max_delay_s=HOURS)
    impatient, patient = _start(committer.write([1]), committer.write([2]))
    await sink.started.wait()
    impatient.cancel()
    await _until(impatient.done)
    sink.gate.set()
    await patient
    assert impatient.cancelled()
    assert sink.flushed == [[1, 2]]


async def test_a_cancelled_caller_that_waited_for_room_leaves_the_queue_open() -> None:
    """Those behind it get their turn."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=1, max_delay_s=HOURS, max_queued=1)
    first, second, third, fourth = _start(*(committer.write([i]) for i in range(4)))
    await sink.started.wait()
    await _until(lambda: committer.queued == 1)
    third.cancel()
    await _until(third.done)
    sink.gate.set()
    await asyncio.gather(first, second, fourth)
    assert sink.flushed == [[0], [1], [3]]


async def test_waiting_items_are_bounded() -> None:
    """Beyond the bound callers wait, in order, and the items are not even taken (I9)."""
    sink = Sink()
    sink.gate.clear()
    committer = GroupCommitter(sink.flush, max_rows=2, max_delay_s=0, max_queued=4)
    writes = _start(*(committer.write([i]) for i in range(20)))
    await sink.started.wait()
    await _until(lambda: committer.queued == 4)
    for _ in range(50):
        await asyncio.sleep(0)
        assert committer.queued <= 4
    sink.gate.set()
    await asyncio.gather(*writes)
    assert [item for items in sink.flushed for item in items] == list(range(20))


async def test_nothing_to_write_is_no_flush() -> None:
    """An empty call returns at once."""
    sink = Sink()
    committer = GroupCommitter(sink.flush, max_rows=1, max_delay_s=HOURS)
    await committer.write([])
    await committer.close()
    assert sink.attempts == []


def test_bounds_must_make_sense() -> None:
    """A group of no rows would never be flushed."""
    with pytest.raises(ValueError, match="max_rows"):
        GroupCommitter(Sink().flush, max_rows=0, max_delay_s=1)


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "write", "cancel", "yield", "drain"]), st.integers(1, 5)), max_size=30
)


@given(steps=STEPS, max_rows=st.integers(1, 6), bad=st.sets(st.integers(0, 60), max_size=4))
@settings(max_examples=80, deadline=None)
def test_every_caller_learns_the_truth_about_its_items(
    steps: list[tuple[str, int]], max_rows: int, bad: set[int]
) -> None:
    """Told "durable": its items are in a flush that succeeded. Told an error: one of its own items was bad."""

    async def run() -> None:
        sink = Sink()
        sink.bad = {item: PipelineError("bad", Category.PERMANENT) for item in bad}
        committer = GroupCommitter(sink.flush, max_rows=max_rows, max_delay_s=0.001, max_queued=8)
        writes: list[tuple[list[int], asyncio.Future[None]]] = []
        following = 0
        for step, size in steps:
            if step == "write":
                items = list(range(following, following + size))
                following += size
                writes.append((items, _start(committer.write(items))[0]))
            elif step == "cancel" and writes:
                writes[size % len(writes)][1].cancel()
            elif step == "drain":
                await committer.drain()
            await asyncio.sleep(0)
        await asyncio.wait([w for _, w in writes] or _start(asyncio.sleep(0)))
        await committer.close()
        flushed = [item for items in sink.flushed for item in items]
        assert flushed == sorted(set(flushed)), "each item once, in call order"
        for items, write in writes:
            if write.cancelled():
                continue
            assert (write.exception() is not None) == bool(bad & set(items))
            assert write.exception() is not None or set(items) <= set(flushed)

    asyncio.run(run())
