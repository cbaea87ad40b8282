"""Which requests are struck: by seed, endpoint, id and number, never by the order of arrival."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.simulator.fault_board import FaultBoard, Strike
from kafka_pipeline.simulator.faults import (
    API,
    FILES,
    Cut,
    Drip,
    Endpoint,
    Expired,
    Fail,
    Fault,
    FaultKind,
    FaultScript,
    Latency,
    Outage,
    ShortLinks,
    Throttle,
)

PROJECT = frozenset({Endpoint.PROJECT})
MIXED = FaultScript(
    faults=(
        Fault(effect=Latency(delay_s=0.1, jitter_s=0.1), endpoints=API | FILES, share=0.5),
        Fault(effect=Fail(), endpoints=API | FILES, share=0.3),
        Fault(effect=Throttle(), endpoints=API, share=0.2),
        Fault(effect=Cut(), endpoints=API | FILES, share=0.3),
        Fault(effect=Drip(), endpoints=FILES, share=0.3),
    )
)
REQUESTS = st.lists(st.tuples(st.sampled_from(Endpoint), st.sampled_from(["1", "2", "3"])), max_size=60)


def board(clock: Any, *faults: Fault) -> FaultBoard:
    """Return a board with these faults in force."""
    return FaultBoard(clock, FaultScript(faults=faults))


def statuses(struck: FaultBoard, endpoint: Endpoint, id_: str, count: int) -> list[int | None]:
    """Return the status of so many requests in turn; None is the true answer."""
    strikes = [struck.strike(endpoint, id_) for _ in range(count)]
    return [None if strike.refusal is None else strike.refusal.status for strike in strikes]


@given(REQUESTS, st.randoms(use_true_random=False), st.integers())
def test_the_fate_of_a_request_does_not_depend_on_others(requests: list[Any], rng: Any, seed: int) -> None:
    """The n-th request for an endpoint and id meets the same, in whatever order the requests come."""
    clock = _Still()
    script = replace(MIXED, seed=seed)
    shuffled = list(requests)
    rng.shuffle(shuffled)
    assert _fates(FaultBoard(clock, script), requests) == _fates(FaultBoard(clock, script), shuffled)


class _Still:
    """A clock that stands."""

    def monotonic(self) -> float:
        return 0.0

    def now(self) -> Any:
        raise AssertionError("nobody asks for the time of day")


def _fates(struck: FaultBoard, requests: list[Any]) -> dict[Any, list[Strike]]:
    fates: dict[Any, list[Strike]] = {}
    for endpoint, id_ in requests:
        fates.setdefault((endpoint, id_), []).append(struck.strike(endpoint, id_))
    return fates


def test_another_seed_strikes_others(clock: Any) -> None:
    """Two seeds agree on hardly anything."""
    fates = [
        [FaultBoard(clock, replace(MIXED, seed=seed)).strike(Endpoint.TASK, str(number)) for number in range(200)]
        for seed in (1, 2)
    ]
    assert sum(first == second for first, second in zip(*fates, strict=True)) < 100


def test_a_share_is_kept(clock: Any) -> None:
    """Of many requests so many are struck, over ids and over tries of one id."""
    half = board(clock, Fault(effect=Fail(statuses=(500, 502)), endpoints=PROJECT, share=0.3))
    over_ids = [status for number in range(2_000) for status in statuses(half, Endpoint.PROJECT, str(number), 1)]
    over_tries = statuses(half, Endpoint.PROJECT, "x", 2_000)
    for drawn in (over_ids, over_tries):
        assert 500 < sum(status is not None for status in drawn) < 700
        assert {None, 500, 502} == set(drawn)
    assert half.injected[FaultKind.FAIL] == sum(status is not None for status in over_ids + over_tries)


def test_a_share_of_one_strikes_all_and_of_none_nobody(clock: Any) -> None:
    """The ends of the scale are exact."""
    everyone = board(clock, Fault(effect=Expired(), endpoints=FILES))
    nobody = board(clock, Fault(effect=Expired(), endpoints=FILES, share=0.0))
    assert statuses(everyone, Endpoint.FILE, "1", 50) == [403] * 50
    assert statuses(nobody, Endpoint.FILE, "1", 50) == [None] * 50


def test_times_bounds_how_often_an_id_is_struck(clock: Any) -> None:
    """After so many strikes an endpoint and id has its peace; others have theirs to come."""
    twice = board(clock, Fault(effect=Fail(statuses=(500,)), endpoints=API, times=2))
    assert statuses(twice, Endpoint.PROJECT, "1", 4) == [500, 500, None, None]
    assert statuses(twice, Endpoint.PROJECT, "2", 3) == [500, 500, None]
    assert statuses(twice, Endpoint.MEDIA, "1", 3) == [500, 500, None]


def test_only_the_ids_that_are_named_are_struck(clock: Any) -> None:
    """The others are not even drawn for."""
    one = board(clock, Fault(effect=Fail(statuses=(404,)), endpoints=PROJECT, ids=frozenset({"7"})))
    assert statuses(one, Endpoint.PROJECT, "7", 2) == [404, 404]
    assert statuses(one, Endpoint.PROJECT, "8", 2) == [None, None]
    assert statuses(one, Endpoint.TASK, "7", 2) == [None, None]


def test_a_fault_is_in_force_within_its_time_which_starts_with_the_script(clock: Any) -> None:
    """Not before `at`, not at its end; and a script that is put in force again begins anew."""
    clock.advance(1_000)
    struck = board(clock, Fault(effect=Fail(statuses=(500,)), endpoints=PROJECT, start_s=5, duration_s=10))
    for _ in range(2):
        seen = []
        for step in (0, 4, 1, 9, 1):
            clock.advance(step)
            seen += statuses(struck, Endpoint.PROJECT, "1", 1)
        assert seen == [None, None, 500, 500, None]
        struck.load(struck.script)


def test_the_first_error_is_the_answer_and_delays_add_up(clock: Any) -> None:
    """An answered error leaves no body to spoil; a true answer may be cut and slow at once."""
    struck = board(
        clock,
        Fault(effect=Cut(), endpoints=API),
        Fault(effect=Throttle(), endpoints=API, times=1),
        Fault(effect=Fail(statuses=(500,)), endpoints=API, times=1),
        Fault(effect=Drip(bytes_per_s=10), endpoints=API),
        Fault(effect=Drip(bytes_per_s=5), endpoints=API),
        Fault(effect=Latency(delay_s=1), endpoints=API),
        Fault(effect=Latency(delay_s=2), endpoints=API),
    )
    strikes = [struck.strike(Endpoint.TASK, "1") for _ in range(3)]
    assert [strike.refusal.status if strike.refusal else None for strike in strikes] == [429, 500, None]
    assert [strike.spoils_body for strike in strikes] == [False, False, True]
    assert [strike.delay_s for strike in strikes] == [3, 3, 3]
    assert (strikes[2].cut, strikes[2].bytes_per_s) == (True, 5)
    assert struck.injected == {FaultKind.THROTTLE: 1, FaultKind.FAIL: 1, FaultKind.CUT: 1} | {
        FaultKind.DRIP: 2,
        FaultKind.LATENCY: 6,
    }


def test_jitter_stays_within_its_bound(clock: Any) -> None:
    """Every delay is the least or more, and below both together."""
    struck = board(clock, Fault(effect=Latency(delay_s=1, jitter_s=2), endpoints=API))
    delays = [struck.strike(Endpoint.TASK, str(number)).delay_s for number in range(200)]
    assert all(1 <= delay < 3 for delay in delays)
    assert len(set(delays)) > 100


def test_links_live_shorter_only_by_a_fault(clock: Any) -> None:
    """A short life is never longer than the usual one."""
    struck = board(clock, Fault(effect=ShortLinks(lifetime_s=5), endpoints=frozenset({Endpoint.MEDIA}), times=1))
    assert [struck.lifetime_s(7, 60), struck.lifetime_s(7, 60)] == [5, 60]
    assert struck.lifetime_s(8, 2) == 2
    assert struck.strike(Endpoint.MEDIA, "7") == Strike()


def test_a_port_is_closed_within_the_outage_alone(clock: Any) -> None:
    """It is known now and in advance; requests that were never made are struck by nothing."""
    struck = board(
        clock,
        Fault(effect=Outage(), endpoints=API, start_s=5, duration_s=20),
        Fault(effect=Outage(status=503), endpoints=FILES),
    )
    assert statuses(struck, Endpoint.FILE, "1", 1) == [503]
    refused = {at_s: struck.refuses_connections(Endpoint.PROJECT, at_s) for at_s in (0, 5, 24.9, 25)}
    assert refused == {0: False, 5: True, 24.9: True, 25: False}
    assert not struck.refuses_connections(Endpoint.FILE, 5)
    clock.advance(5)
    assert struck.strike(Endpoint.PROJECT, "1") == Strike()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=4), st.floats(0, 40))
def test_no_port_opens_or_closes_between_two_changes(outages: list[tuple[int, int]], now_s: float) -> None:
    """Who looks now and at each next change misses none, also who comes a moment before one."""
    struck = board(
        _Still(),
        *(Fault(effect=Outage(), endpoints=API, start_s=start_s, duration_s=for_s) for start_s, for_s in outages),
    )
    change_s = struck.next_change_s(now_s)
    assert change_s > now_s
    until_s = 100.0 if change_s == math.inf else change_s
    between = [now_s + share * (until_s - now_s) for share in (0.0, 0.25, 0.5, 0.75)] + [math.nextafter(until_s, 0)]
    assert len({struck.refuses_connections(Endpoint.PROJECT, at_s) for at_s in between}) == 1
