"""What a demo run has to show for itself: a table, and the first differences if there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.cli.demo.latency import Latency
from kafka_pipeline.cli.demo.run import DemoResult, StormResult
from kafka_pipeline.simulator.faults import FaultKind

_SHOWN_DIFFERENCES = 20

Line = tuple[str, str, str]
"""What it is, the figure, and a note."""


def print_report(result: DemoResult, console: Console) -> None:
    """Print the tables, and what is wrong."""
    if result.storm is not None:
        _print_table("What went wrong on purpose", _injected(result.storm), console)
        _print_table("What the pipeline did about it", _deeds(result.storm), console)
        _print_table("What came of it", _letters(result.storm), console)
    _print_table("", _lines(result), console)
    problems = result.problems
    if not problems:
        console.print("\nVerified: every row and every file equals the ground truth.")
        return
    console.print(f"\nNOT equal to the ground truth, {len(problems)} differences:")
    for line in problems[:_SHOWN_DIFFERENCES]:
        console.print(f"  {line}", markup=False, highlight=False)
    if len(problems) > _SHOWN_DIFFERENCES:
        console.print(f"  and {len(problems) - _SHOWN_DIFFERENCES} more")


def _print_table(title: str, lines: Iterator[Line], console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="left", min_width=28)
    table.add_column(justify="right", min_width=12)
    table.add_column(justify="left")
    for label, figure, note in lines:
        table.add_row(label, figure, note)
    console.print(f"\n{title}" if title else "")
    console.print(table)


def _injected(storm: StormResult) -> Iterator[Line]:
    count = {kind: storm.injected.get(kind.value, 0) for kind in FaultKind}
    yield "errors", f"{count[FaultKind.FAIL]:,}", "answers with a status of 404 or 5xx"
    yield "too many requests", f"{count[FaultKind.THROTTLE]:,}", "answers with 429 and Retry-After, in two bursts"
    yield "outage", f"{storm.outage_s:.0f} s", "of the API: connections refused"
    yield "links that expire at once", f"{count[FaultKind.SHORT_LINKS]:,}", "and say so"
    yield "links called expired", f"{count[FaultKind.EXPIRED]:,}", "by the storage, though they looked good"
    yield "connections cut", f"{count[FaultKind.CUT]:,}", "in the middle of a list or a file"
    yield "slow files", f"{count[FaultKind.DRIP]:,}", ""
    poison = storm.storm.poison
    yield "poisoned", f"{len(poison.projects)} + {len(poison.files)}", "projects and files that are not found"


def _deeds(storm: StormResult) -> Iterator[Line]:
    deeds = storm.deeds
    yield "API calls that failed", f"{deeds.failed_calls:,}", "most were cured by another try at once"
    yield "retries", f"{sum(deeds.retries.values()):,}", _each(deeds.retries)
    yield "links refreshed", f"{deeds.refreshed_links:,}", ""
    for what, prefix in (("API breaker", "claimx_api"), ("download breakers", "download_host")):
        openings = sum(count for breaker, count in deeds.openings.items() if breaker.startswith(prefix))
        open_s = sum(seconds for breaker, seconds in deeds.not_closed_s.items() if breaker.startswith(prefix))
        yield f"{what} open", f"{open_s:.0f} s", f"opened {openings:,} times, failed probes included"
    yield "batches that waited", f"{sum(deeds.waits.values()):,}", _each(deeds.waits)


def _letters(storm: StormResult) -> Iterator[Line]:
    before = storm.before_repair
    if before is not None:
        told = "just what was poisoned" if not before.problems else f"{len(before.problems)} differences, see below"
        counts = {kind.value: before.set_aside.count(kind) for kind in DeadLetterKind}
        yield "dead letters", f"{sum(counts.values()):,}", f"{_each(counts)}: {told}"
    yield "sent again after the repair", f"{storm.sent_again:,}", ""


def _lines(result: DemoResult) -> Iterator[Line]:
    report = result.end.report
    stored = report.tables["claimx_events"].found
    malformed = result.end.set_aside.count(DeadLetterKind.EVENTS)
    yield "events in", f"{result.events:,}", ""
    yield "duplicates dropped", f"{result.events - malformed - stored:,}", ""
    yield "malformed set aside", f"{malformed:,}", "in the dead letters"
    for name, table in report.tables.items():
        yield f"rows in {name}", f"{table.found:,}", "" if table.ok else f"expected {table.expected:,}"
    yield "files", f"{report.files.found:,}", f"{report.file_bytes / 1e6:,.1f} MB"
    if result.api_calls:
        yield "API calls per event", f"{result.api_calls / result.events:.2f}", f"{result.api_calls:,} calls"
    yield "events per second", f"{result.events / result.seconds:,.0f}", f"{result.seconds:.1f} s, all files included"
    yield from _latency_line("event to row", result.latencies.rows)
    yield from _latency_line("event to file", result.latencies.files)


def _latency_line(label: str, latency: Latency | None) -> Iterator[Line]:
    if latency is not None:
        yield f"{label}, p50 / p99", f"{latency.p50_s:.2f} / {latency.p99_s:.2f} s", f"{latency.count:,} rows"


def _each(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"
