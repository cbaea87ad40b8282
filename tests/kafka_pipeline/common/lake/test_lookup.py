"""Promises of the grouped look-up."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from kafka_pipeline.common.lake.lookup import LONGEST_REST_S, GroupedLookup


class Store:
    """A table that can be held back, and that remembers what it was asked."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failing = False

    async def fetch(self, keys: Collection[int]) -> Mapping[int, str]:
        """Know the even keys."""
        self.reads.append(sorted(keys))
        await self.may_answer.wait()
        if self.failing:
            raise OSError
        return {key: str(key) for key in keys if key % 2 == 0}


async def test_many_askers_of_one_moment_cost_few_reads() -> None:
    """What is asked while a read runs goes into the next one; absent keys are None."""
    store = Store()
    store.may_answer.clear()
    lookup = GroupedLookup(store.fetch)
    askers = [asyncio.create_task(lookup.get(0))]
    while not store.reads:
        await asyncio.sleep(0)
    askers += [asyncio.create_task(lookup.get(key)) for key in (1, 2, 2, 3)]
    await asyncio.sleep(0)
    store.may_answer.set()
    assert await asyncio.gather(*askers) == ["0", None, "2", "2", None]
    assert store.reads == [[0], [1, 2, 3]]


async def test_a_question_during_a_read_of_the_same_key_is_asked_again() -> None:
    """The answer is never older than the question."""
    store = Store()
    store.may_answer.clear()
    lookup = GroupedLookup(store.fetch)
    first = asyncio.create_task(lookup.get(2))
    while not store.reads:
        await asyncio.sleep(0)
    second = asyncio.create_task(lookup.get(2))
    await asyncio.sleep(0)
    store.may_answer.set()
    assert await first == await second == "2"
    assert store.reads == [[2], [2]]


async def test_no_read_is_larger_than_allowed() -> None:
    """I9: many keys are many reads."""
    store = Store()
    lookup = GroupedLookup(store.fetch, max_keys=3)
    await asyncio.gather(*(lookup.get(key) for key in range(8)))
    assert max(map(len, store.reads)) <= 3


async def test_an_error_reaches_those_who_asked_and_nobody_later() -> None:
    """The next read is a new chance."""
    store = Store()
    store.failing = True
    lookup = GroupedLookup(store.fetch)
    answers = await asyncio.gather(lookup.get(1), lookup.get(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError, OSError]
    store.failing = False
    assert await lookup.get(2) == "2"


async def test_an_asker_that_goes_away_disturbs_nobody() -> None:
    """The others still get their answer."""
    store = Store()
    store.may_answer.clear()
    lookup = GroupedLookup(store.fetch)
    leaver, stayer = asyncio.create_task(lookup.get(2)), asyncio.create_task(lookup.get(2))
    while not store.reads:
        await asyncio.sleep(0)
    leaver.cancel()
    store.may_answer.set()
    assert await stayer == "2"
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_what_is_asked_in_the_rest_after_a_read_shares_the_next_one() -> None:
    """Reads never follow each other without a pause: one core would do nothing else."""
    store = Store()
    lookup = GroupedLookup(store.fetch)
    store.may_answer.clear()
    asyncio.get_running_loop().call_later(LONGEST_REST_S, store.may_answer.set)  # as long as that the rest will be
    assert await lookup.get(0) == "0"
    askers = []
    for key in (2, 4, 6):
        askers.append(asyncio.create_task(lookup.get(key)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*askers) == ["2", "4", "6"]
    assert store.reads == [[0], [2, 4, 6]]


async def test_many_keys_at_once_are_answered_with_those_that_are_there() -> None:
    """Absent keys are left out."""
    lookup = GroupedLookup(Store().fetch)
    assert await lookup.get_all([0, 1, 2]) == {0: "0", 2: "2"}
    assert await lookup.get_all([]) == {}
