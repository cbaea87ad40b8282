"""`make bench`: measure beside yardsticks and print one JSON document; warn where a ratio got worse."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    download,
    enrichment,
    event_dedup,
    ingest,
    latency,
    loop_overhead,
    memory,
    parse_event,
    retry_precision,
    scale_out,
    upload,
    upsert_growth,
)
from benchmarks.document import RESULTS, document, merged, regressions
from benchmarks.parts import PartError
from benchmarks.report import write_report
from benchmarks.result import Measurement
from kafka_pipeline.common.observability.logging import configure_logging

BENCHMARKS: dict[str, Callable[..., Sequence[Measurement]]] = {
    "download": download.measure,
    "enrichment": enrichment.measure,
    "event_dedup": event_dedup.measure,
    "ingest": ingest.measure,
    "latency": latency.measure,
    "loop_overhead": loop_overhead.measure,
    "memory": memory.measure,
    "parse_event": parse_event.measure,
    "retry_precision": retry_precision.measure,
    "scale_out": scale_out.measure,
    "upload": upload.measure,
    "upsert_growth": upsert_growth.measure,
}
"""Each takes `quick`. What it needs beside Python it starts itself."""

_EXIT_MISSED = 1
_EXIT_CANNOT_START = 2


def main() -> int:
    """Run what was asked for; everything by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not what it costs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the document to a file as well")
    parser.add_argument(
        "--store", action="store_true", help="make these the stored results: the baseline, and docs/benchmarks.md"
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if options.store and options.quick:
        parser.error("tiny sizes say nothing: store results of a full run")
    configure_logging("auto", "error")  # to standard error: standard output is the document
    measured: list[Measurement] = []
    for name in options.names or BENCHMARKS:
        _tell(f"{name} …")
        try:
            measured += BENCHMARKS[name](quick=options.quick)
        except PartError as error:
            _tell(f"benchmarks: {name} cannot run: {error}")
            return _EXIT_CANNOT_START
    now = document(measured, quick=options.quick)
    text = json.dumps(now, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    if options.quick:
        return 0
    return _judge(measured, now, store=options.store)


def _judge(measured: Sequence[Measurement], now: dict[str, object], *, store: bool) -> int:
    """Tell what was missed and what got worse; store. Only a missed bound is a failure."""
    missed = [(each.name, bound) for each in measured for bound in each.bounds if not bound.kept]
    for name, bound in missed:
        limit = f"at least {bound.at_least:g}" if bound.at_least is not None else f"at most {bound.at_most:g}"
        _tell(f"missed: {name}: {bound.what} is {bound.value:g}, wanted {limit}")
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None
    for line in regressions(stored, now):
        _tell(f"slower than the stored run: {line}")
    if store:
        RESULTS.write_text(json.dumps(merged(stored, now), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        write_report()
    return _EXIT_MISSED if missed else 0


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
