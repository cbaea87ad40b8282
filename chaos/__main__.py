"""`make chaos`: run seeded storms one after the other, count, and exit with 0 only if every promise was kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from chaos.node import KafkaNode, NodeError
from chaos.run import RESUME_LIMIT_S, Plan, RunResult, run
from chaos.schedule import Blow
from kafka_pipeline.common.observability.logging import configure_logging

_EXIT_BROKEN = 1
_EXIT_CANNOT_START = 2
_EXIT_INTERRUPTED = 130


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next ones count up (default 1)")
    parser.add_argument("--runs", type=int, default=1, help="runs, one after the other (default 1)")
    parser.add_argument("--events", type=int, default=2_000, help="events of a run (default 2000)")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long things break in a run (default 40)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add a line of figures for each run to a file")
    options = parser.parse_args()
    configure_logging("auto", "error")
    try:
        return asyncio.run(_main(options))
    except NodeError as error:
        sys.stderr.write(f"chaos: {error}\n")
        return _EXIT_CANNOT_START
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("chaos: interrupted\n")
        return _EXIT_INTERRUPTED


async def _main(options: argparse.Namespace) -> int:
    _end_politely()
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    node = KafkaNode(base / "kafka")
    results: list[RunResult] = []
    try:
        await node.up()
        for number in range(options.runs):
            plan = Plan(seed=options.seed + number, events=options.events, storm_s=options.seconds)
            _tell(f"seed {plan.seed}, {plan.events} events")
            folder = base / f"seed-{plan.seed}"
            folder.mkdir()
            result = await run(plan, node, folder, _tell)
            results.append(result)
            _tell_result(result)
            if options.json:
                with options.json.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(figures(result)) + "\n")
            if _kept(result):
                shutil.rmtree(folder)
            else:
                _tell(f"  everything of this run is kept in {folder}")
    finally:
        await node.down()
    good = sum(map(_kept, results))
    _tell(f"{good} of {len(results)} runs kept every promise")
    if good < len(results):
        return _EXIT_BROKEN
    shutil.rmtree(base)
    return 0


def figures(result: RunResult) -> dict[str, object]:
    """Return the figures of a run as JSON takes them."""
    verdict = result.verdict
    return {
        "seed": result.plan.seed,
        "events": result.plan.events,
        "ok": _kept(result),
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "stale": verdict.stale,
        "orphaned": verdict.orphaned,
        "rows": verdict.rows,
        "files": verdict.files,
        "dead_letters": verdict.letters,
        "repeated_dead_letters": verdict.repeated_letters,
        "duplicates": result.duplicates,
        "poison": result.poison,
        "resumed_s": round(result.resumed_s, 1),
        "resumed_kind": result.resumed_kind.value,
        "refused_starts": result.refused_starts,
        "seconds": round(result.seconds),
        "blows": {blow.value: result.blows[blow] for blow in Blow if result.blows[blow]},
    }


def _kept(result: RunResult) -> bool:
    return result.ok and result.prompt


def _tell_result(result: RunResult) -> None:
    verdict = result.verdict
    word = "kept" if _kept(result) else "BROKEN"
    wrong = f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.stale} stale, {verdict.orphaned} orphaned"
    found = f"{verdict.rows} rows, {verdict.files} files, {verdict.letters} dead letters"
    _tell(f"  {word} in {result.seconds:.0f} s: {wrong}; {found}; {_listed(result.blows)}")
    if not result.prompt:
        _tell(f"  ! work resumed only after {result.resumed_s:.1f} s, {RESUME_LIMIT_S:.0f} s are promised")
    for line in (*result.faults, *verdict.lines[:20]):
        _tell(f"  ! {line}")


def _listed(blows: Counter[Blow]) -> str:
    return ", ".join(f"{count} {blow.value}" for blow, count in sorted(blows.items()))


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_politely() -> None:
    """Let SIGTERM end a run as Ctrl-C does, so that no process of it stays behind."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    sys.exit(main())
