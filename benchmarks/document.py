"""The JSON document of a run, how runs are kept side by side, and what got worse between two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.result import Better, Measurement, machine, versions

RESULTS = Path(__file__).parent / "results.json"
"""The stored results: the baseline of later runs, and what docs/benchmarks.md is made of."""

TOLERANCE = 0.15
"""How much worse a ratio may be before it is told: shared machines are no quieter than that."""


def document(measured: Sequence[Measurement], *, quick: bool) -> dict[str, Any]:
    """Return what a run prints: each result with the time, the machine and the versions it comes from."""
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "quick": quick,
        "results": [
            {"taken_at": taken_at, "machine": machine(), "versions": versions(), **asdict(each)} for each in measured
        ],
    }


def merged(stored: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored results with those of this run in place of their elders; the rest stays as it was."""
    fresh = {each["name"]: each for each in now["results"]}
    old = {each["name"]: each for each in (stored or {"results": []})["results"]}
    # A benchmark's cases may have been renamed: what it no longer measures goes with its run.
    benchmarks = {name.partition(".")[0] for name in fresh}
    kept = {name: each for name, each in old.items() if name.partition(".")[0] not in benchmarks}
    return {"quick": False, "results": sorted((kept | fresh).values(), key=lambda each: str(each["name"]))}


def regressions(stored: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each ratio that is worse than the stored one by more than the tolerance."""
    before = {each["name"]: each for each in (stored or {"results": []})["results"]}
    for each in now["results"]:
        old = before.get(each["name"])
        if old is None or not old["ratio"]:
            continue
        change = each["ratio"] / old["ratio"]
        worse = change < 1 - TOLERANCE if each["better"] == Better.HIGHER else change > 1 + TOLERANCE
        if worse:
            yield f"{each['name']}: ratio {each['ratio']:g}, stored {old['ratio']:g}"
