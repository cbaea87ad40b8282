"""Sharing partitions out among members."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kafka_pipeline.common.messaging import BrokerRefusedError, TopicPartition
from kafka_pipeline.common.messaging._embedded_groups import Group, lock_path, share_out

TOPICS = ["a", "b", "c"]
partition_sets = st.fixed_dictionaries({topic: st.integers(1, 6) for topic in TOPICS}).map(
    lambda counts: [TopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
)
subscriptions = st.dictionaries(
    st.integers(0, 5), st.sets(st.sampled_from(TOPICS), min_size=1).map(frozenset), max_size=5
)


@given(partition_sets, subscriptions, st.data())
def test_shares_are_complete_even_and_stay_put(
    partitions: list[TopicPartition], members: dict[int, frozenset[str]], data: st.DataObject
) -> None:
    """Every wanted partition has one reader who wants it, shares differ by one at most, and as little moves as can."""
    current = {
        partition: data.draw(st.sampled_from(range(6)))
        for partition in partitions
        if data.draw(st.booleans(), label=f"{partition} has an owner")
    }
    shares = share_out(partitions, members, current)
    wanted = [partition for partition in partitions if any(partition.topic in topics for topics in members.values())]
    assert set(wanted) == set(shares)
    assert all(partition.topic in members[member] for partition, member in shares.items())
    for topic in TOPICS:
        subscribers = [member for member, topics in members.items() if topic in topics]
        of_topic = [partition for partition in wanted if partition.topic == topic]
        if not subscribers:
            continue
        sizes = [sum(1 for partition in of_topic if shares[partition] == member) for member in subscribers]
        assert max(sizes) - min(sizes) <= 1
        for member in subscribers:
            held = [partition for partition in of_topic if current.get(partition) == member]
            kept = [partition for partition in held if shares[partition] == member]
            # Nobody gives away more than what is above an even share.
            assert len(kept) >= min(len(held), len(of_topic) // len(subscribers))
    assert share_out(partitions, members, shares) == shares


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "poll"]), st.integers(0, 3)), max_size=40), partition_sets)
def test_no_two_members_ever_own_a_partition(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], partitions: list[TopicPartition]
) -> None:
    """Whoever joins, leaves and polls in whatever order: owners are single, and polling settles on the even shares."""
    group = Group(tmp_path_factory.getbasetemp() / "group.lock", "g")
    owned: dict[int, set[TopicPartition]] = {}

    def poll(member: int) -> None:
        given_up = group.to_give(member)
        owned[member] -= given_up
        group.let_go(member, given_up)
        owned[member] |= group.take(member)

    for step, member in steps:
        if step == "join":
            owned.setdefault(member, set())
            group.join(member, frozenset(TOPICS), partitions, lambda: None)
        elif member in owned and step == "poll":
            poll(member)
        elif member in owned:
            del owned[member]
            group.leave(member)
        everything = [partition for parts in owned.values() for partition in parts]
        assert len(everything) == len(set(everything))
    for _ in range(2):
        for member in owned:
            poll(member)
    if owned:
        assert set(partitions) == set().union(*owned.values())
    for member in list(owned):
        group.leave(member)


def test_lock_files_of_different_groups_differ(tmp_path: Path) -> None:
    """A group's name may hold anything, a file's may not."""
    names = ["a/b", "a%2Fb", "a b", "a:b", "..", "ä"]
    paths = {lock_path(tmp_path / "x.db", name) for name in names}
    assert len(names) == len(paths)
    assert {tmp_path} == {path.parent for path in paths}


def test_a_group_that_ended_leaves_no_file(tmp_path: Path) -> None:
    """Whoever looks once in a while does not fill the folder; the lock holds for as long as a member is there."""
    path = lock_path(tmp_path / "x.db", "g")
    first, second = Group(path, "g"), Group(path, "g")
    first.join(1, frozenset(TOPICS), [], lambda: None)
    with pytest.raises(BrokerRefusedError, match="in use by another process"):
        second.join(1, frozenset(TOPICS), [], lambda: None)
    first.leave(1)
    assert list(tmp_path.iterdir()) == []
    second.join(1, frozenset(TOPICS), [], lambda: None)
    with pytest.raises(BrokerRefusedError, match="in use by another process"):
        first.join(1, frozenset(TOPICS), [], lambda: None)
    second.leave(1)


def test_a_lock_on_a_file_that_was_taken_away_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner leaves between opening and locking: the newcomer locks the file that is there then."""
    path = lock_path(tmp_path / "x.db", "g")
    group, locks = Group(path, "g"), list[int]()
    lock = fcntl.flock

    def flock(file: IO[bytes], operation: int) -> None:
        if not locks:
            path.unlink()
        locks.append(operation)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    group.join(1, frozenset(TOPICS), [], lambda: None)
    assert len(locks) == 2
    with pytest.raises(BrokerRefusedError):
        Group(path, "g").join(1, frozenset(TOPICS), [], lambda: None)
    group.leave(1)
