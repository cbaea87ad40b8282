"""Stored results keep what was not measured again, and tell what got worse."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.document import TOLERANCE, document, merged, regressions
from benchmarks.result import Better, Bound, Curve, Measurement

NAMES = [f"{benchmark}.{case}" for benchmark in ("ingest", "ingest_more", "upload") for case in ("small", "large")]


def result(name: str, ratio: float = 1.0, better: Better = Better.HIGHER) -> dict[str, Any]:
    """Return as much of a result as is looked at here."""
    return {"name": name, "ratio": ratio, "better": better.value}


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """Return a document with some of the names, each once."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return {"quick": False, "results": [result(name, draw(st.floats(0.01, 100))) for name in names]}


@given(stored=st.none() | runs(), now=runs())
def test_what_was_measured_now_replaces_its_benchmark_and_nothing_else(
    stored: dict[str, Any] | None, now: dict[str, Any]
) -> None:
    """Also a case that the benchmark has no more goes; also a benchmark whose name begins alike stays."""
    together = merged(stored, now)["results"]
    measured = {each["name"].split(".")[0] for each in now["results"]}
    elders = [each for each in (stored or now)["results"] if each["name"].split(".")[0] not in measured]
    assert sorted(together, key=str) == sorted([*now["results"], *elders], key=str)
    assert [each["name"] for each in together] == sorted(each["name"] for each in together)
    assert merged({"results": together}, now)["results"] == together


@given(ratio=st.floats(0.01, 100), better=st.sampled_from(Better), by=st.floats(-0.9, 0.9))
def test_only_what_is_worse_by_more_than_the_tolerance_is_told(ratio: float, better: Better, by: float) -> None:
    """Worse is smaller or greater, as the benchmark says; what is better is no news."""
    stored = {"results": [result("a.b", ratio, better)]}
    now = {"results": [result("a.b", ratio * (1 + by), better)]}
    worse = -by if better is Better.HIGHER else by
    if abs(worse - TOLERANCE) > 1e-6:  # at the very edge rounding decides
        assert bool(list(regressions(stored, now))) == (worse > TOLERANCE)


def test_what_has_no_elder_to_compare_with_is_not_told() -> None:
    """A first run, a new case, an elder without a ratio."""
    now = {"results": [result("a.b", 0.001)]}
    assert list(regressions(None, now)) == []
    assert list(regressions({"results": [result("a.c")]}, now)) == []
    assert list(regressions({"results": [result("a.b", 0)]}, now)) == []


def test_a_document_is_json_and_says_where_it_was_taken() -> None:
    """With bounds and curves, and nothing in it that names a folder or a host."""
    measurement = Measurement(
        name="a.b",
        what="this",
        yardstick="that",
        unit="s",
        ours=2,
        beside=1,
        ratio=2,
        better=Better.LOWER,
        sizes={"rows": 10},
        bounds=[Bound(what="times", value=2, at_most=3)],
        curve=Curve(title="growth", x="rows", y="s", series={"ours": [(1, 2), (3, 4)]}),
    )
    [read] = json.loads(json.dumps(document([measurement], quick=True)))["results"]
    assert read["bounds"] == [{"what": "times", "value": 2, "at_least": None, "at_most": 3}]
    assert read["curve"]["series"] == {"ours": [[1, 2], [3, 4]]}
    assert read["better"] == "lower"
    assert set(read["machine"]) == {"system", "architecture", "processor", "cores", "python"}
    assert "deltalake" in read["versions"]


def test_a_bound_is_kept_on_its_limit() -> None:
    """The limit itself is inside, on either side; a bound may have both."""
    assert Bound(what="x", value=0.9, at_least=0.9).kept
    assert Bound(what="x", value=2, at_most=2).kept
    assert not Bound(what="x", value=0.89, at_least=0.9).kept
    assert not Bound(what="x", value=5, at_least=1, at_most=4).kept
