"""The same events in any order, in any batches, with any duplicates, give the same tables.

The model is the simulator's truth: it knows ClaimX from its description alone and nothing of handlers or merge rules.
The answers of the API do not change while the events are worked off, and sources agree where both carry a value: else
there would be more than one right outcome, and which one comes about would rightly depend on who was asked last. The
times at which the API is asked grow with every call, as they do.

Where sources speak at different times, or contradict each other as the reference foresees: `test_settled_points.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.runtime.outcomes import Done
from kafka_pipeline.simulator import vocabulary
from kafka_pipeline.simulator.feed import FeedKind


def test_the_feed_tells_of_everything(tale: Any) -> None:
    """All nine types are among the events that are shuffled."""
    assert {item.event_type for item in tale.feed} == vocabulary.ROUTED_TYPES
    assert all(item.kind is FeedKind.EVENT for item in tale.feed)


@given(data=st.data(), cuts=st.lists(st.integers(1, 6), min_size=25, max_size=25))
@settings(max_examples=250, deadline=None)
def test_any_order_any_batches_any_duplicates_give_the_same_tables(
    tale: Any, memory: Any, data: st.DataObject, cuts: list[int]
) -> None:
    """Through the worker, the handlers and the merge rules: every column of every entity table is as events mean."""
    picked = data.draw(st.lists(st.sampled_from(tale.feed), min_size=1, max_size=25))
    tables, rest = memory(), tale.records(picked)

    async def work(records: list[Any]) -> None:
        worker = tale.worker(tables)
        for size in cuts:
            batch, records = records[:size], records[size:]
            assert {type(outcome) for outcome in await worker.process(batch)} <= {Done}

    asyncio.run(work(rest))
    assert tale.differences(picked, tables.tables()) == []


@pytest.mark.parametrize("seed", range(6))
async def test_the_worker_and_the_lake_do_not_mind_the_order_either(
    tale: Any, new_lake: Callable[[], Any], seed: int
) -> None:
    """The whole feed, shuffled, with duplicates, in batches of random size, through the worker into real Delta."""
    rng = Random(seed)
    items = [*tale.feed, *rng.choices(tale.feed, k=15)]
    rng.shuffle(items)
    lake = new_lake()
    worker, records = tale.worker(lake.writer), tale.records(items)
    while records:
        size = rng.randint(1, 40)
        batch, records = records[:size], records[size:]
        assert {type(outcome) for outcome in await worker.process(batch)} == {Done}
    await lake.close()
    assert tale.differences(items, lake.tables()) == []
