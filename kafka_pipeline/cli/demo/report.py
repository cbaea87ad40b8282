"""What a demo run has to show for itself: a table, and the first differences if there are any."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.cli.demo.latency import Latency
from kafka_pipeline.cli.demo.run import DemoResult

_SHOWN_DIFFERENCES = 20


def print_report(result: DemoResult, console: Console) -> None:
    """Print the table, and what is wrong."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left")
    for label, figure, note in _lines(result):
        table.add_row(label, figure, note)
    console.print()
    console.print(table)
    problems = result.problems
    if not problems:
        console.print("\nVerified: every row and every file equals the ground truth.")
        return
    console.print(f"\nNOT equal to the ground truth, {len(problems)} differences:")
    for line in problems[:_SHOWN_DIFFERENCES]:
        console.print(f"  {line}", markup=False, highlight=False)
    if len(problems) > _SHOWN_DIFFERENCES:
        console.print(f"  and {len(problems) - _SHOWN_DIFFERENCES} more")


def _lines(result: DemoResult) -> Iterator[tuple[str, str, str]]:
    report = result.report
    stored = report.tables["claimx_events"].found
    malformed = result.dead_letters[DeadLetterKind.EVENTS]
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


def _latency_line(label: str, latency: Latency | None) -> Iterator[tuple[str, str, str]]:
    if latency is not None:
        yield f"{label}, p50 / p99", f"{latency.p50_s:.2f} / {latency.p99_s:.2f} s", f"{latency.count:,} rows"
