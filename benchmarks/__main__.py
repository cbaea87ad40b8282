"""`make bench`: run the benchmarks and print one JSON document."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import download, parse_event, result, retry_precision
from kafka_pipeline.common.observability.logging import configure_logging

BENCHMARKS: dict[str, Callable[..., Sequence[Any]]] = {
    "parse_event": parse_event.measure,
    "download": download.measure,
    "retry_precision": retry_precision.measure,
}
"""Each takes `quick` and returns dataclasses."""


def main() -> int:
    """Run what was asked for; everything by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not what it costs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the document to a file as well")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    configure_logging("auto", "warning")  # to standard error: standard output is the document
    measured = [each for name in options.names or BENCHMARKS for each in BENCHMARKS[name](quick=options.quick)]
    document = {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": result.machine(),
        "versions": result.versions("orjson", "pydantic"),
        "results": [asdict(each) for each in measured],
    }
    text = json.dumps(document, indent=2)
    sys.stdout.write(text + "\n")
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
