"""`make soak`: steady load for minutes; memory, handles, table files and lag must stay flat."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from deltalake import DeltaTable

from chaos.crew import Crew
from chaos.node import KafkaNode, NodeError
from chaos.schedule import Member
from chaos.site import Site, open_site
from kafka_pipeline.claimx.idle import progress, wait_until_idle
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.common.clock import SYSTEM_CLOCK
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.common.observability.logging import configure_logging
from kafka_pipeline.simulator.verifier import verify

_EXIT_BROKEN = 1
_EXIT_CANNOT_START = 2
_EXIT_INTERRUPTED = 130
_SAMPLE_S = 5.0
_UPKEEP_S = 60.0
"""How often the tables are put in order: in production a CronJob does it, less often."""
_IDLE_S = 2.0

_ALLOWED_GROWTH = 1.10
"""Of the last third of the samples against the middle third, for memory. Leaks of a kilobyte an event show."""
_MEMORY_NOISE_BYTES = 8 * 2**20
_HANDLE_NOISE = 8
_FILE_NOISE = 40
_LAG_NOISE_S = 5.0
"""Lag may differ by so many seconds of load: a flush and an upkeep's worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How things stood at one time."""

    at_s: float
    rss_bytes: int
    """Of all workers together."""
    handles: int
    """Open files and sockets of all workers together."""
    table_files: int
    """Data files of all tables' newest versions together."""
    lag: int
    """Records that are not finished, in all topics together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One figure in the middle third and the last third of a run, by its median."""

    name: str
    middle: float
    last: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Say whether it stayed what it was."""
        return self.last <= self.allowed


def trends(samples: Sequence[Sample], *, events_per_s: float) -> list[Trend]:
    """Compare the last third with the middle one; the first third is warming up."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]

    def trend(name: str, growth: float, noise: float) -> Trend:
        before, after = (median(float(getattr(each, name)) for each in part) for part in (middle, last))
        return Trend(name=name, middle=before, last=after, allowed=before * growth + noise)

    return [
        trend("rss_bytes", _ALLOWED_GROWTH, _MEMORY_NOISE_BYTES),
        trend("handles", 1.0, _HANDLE_NOISE),
        trend("table_files", 1.0, _FILE_NOISE),
        trend("lag", 1.0, _LAG_NOISE_S * events_per_s),
    ]


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the load lasts (default 5)")
    parser.add_argument("--rate", type=float, default=10.0, help="events per second (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated ClaimX (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write samples and trends to a file")
    options = parser.parse_args()
    configure_logging("auto", "error")
    base = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        return asyncio.run(_main(options, base))
    except NodeError as error:
        sys.stderr.write(f"soak: {error}\n")
        return _EXIT_CANNOT_START
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("soak: interrupted\n")
        return _EXIT_INTERRUPTED


async def _main(options: argparse.Namespace, base: Path) -> int:
    seconds = options.minutes * 60
    node = KafkaNode(base / "kafka")
    await node.up()
    try:
        events = max(30, round(options.rate * seconds))
        async with open_site(base / "site", node.bootstrap, seed=options.seed, events=events) as site:
            site.turn_foul()
            crew = Crew(site.config, site.environ(), base)
            try:
                samples, differences = await _work(site, crew, rate=options.rate)
            finally:
                await crew.close()
    finally:
        await node.down()
    found = trends(samples, events_per_s=options.rate)
    for each in found:
        word = "flat" if each.flat else "GROWS"
        _tell(f"{word}  {each.name}: {each.middle:,.0f} in the middle, {each.last:,.0f} at last")
    problems = [*crew.faults, *differences]
    for line in problems:
        _tell(f"! {line}")
    if options.json:
        document = {"samples": [asdict(each) for each in samples], "trends": [asdict(each) for each in found]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if problems or not all(each.flat for each in found):
        _tell(f"everything of this run is kept in {base}")
        return _EXIT_BROKEN
    shutil.rmtree(base)
    return 0


async def _work(site: Site, crew: Crew, *, rate: float) -> tuple[list[Sample], Sequence[str]]:
    """Feed and look until the feed is at its end, then drain; return what was seen, and how the lake differs."""
    for kind in WorkerKind:
        crew.start(Member(kind=kind, number=0))
    await crew.ready()
    samples: list[Sample] = []
    beside = [asyncio.create_task(each) for each in (_look(site, crew, samples), _keep_up(site))]
    try:
        await _feed(site, rate)
    finally:
        for task in beside:
            task.cancel()
        ended = await asyncio.gather(*beside, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result
    await wait_until_idle(site.admin, site.topics, idle_s=_IDLE_S)
    await crew.stop()
    truth = site.poison.held_back(site.simulator.truth())
    report = await asyncio.to_thread(verify, site.lake, truth)
    return samples, report.differences


async def _feed(site: Site, rate: float) -> None:
    producer = site.broker.producer()
    start_s = SYSTEM_CLOCK.monotonic()
    try:
        for number, item in enumerate(site.simulator.feed()):
            await asyncio.sleep(max(0.0, start_s + number / rate - SYSTEM_CLOCK.monotonic()))
            await producer.send([Message(topic=site.topics.events, key=item.key, value=item.value)])
    finally:
        await producer.close()


async def _look(site: Site, crew: Crew, samples: list[Sample]) -> None:
    start_s = SYSTEM_CLOCK.monotonic()
    while True:
        await asyncio.sleep(_SAMPLE_S)
        lag = sum(each.total - each.done for each in await progress(site.admin, site.topics))
        files = await asyncio.to_thread(_table_files, site.lake)
        rss, handles = _usage(crew.pids())
        sample = Sample(
            at_s=round(SYSTEM_CLOCK.monotonic() - start_s, 1),
            rss_bytes=rss,
            handles=handles,
            table_files=files,
            lag=lag,
        )
        samples.append(sample)
        _tell(
            f"{sample.at_s:6.0f} s  {rss / 2**20:6.0f} MiB  {handles} handles  {files} table files  lag {lag} records"
        )


async def _keep_up(site: Site) -> None:
    """Put the tables in order now and then, as `claimx-maintain` does in production."""
    environ = dict(os.environ) | site.environ()
    while True:
        await asyncio.sleep(_UPKEEP_S)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kafka_pipeline", "claimx-maintain"),
            env=environ,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if code := await process.wait():
            _tell(f"! claimx-maintain ended with code {code}")


def _table_files(lake: Path) -> int:
    tables = [str(path) for path in (lake / "Tables").glob("*")]
    return sum(len(DeltaTable(path).file_uris()) for path in tables if DeltaTable.is_deltatable(path))


def _usage(pids: Mapping[Member, int]) -> tuple[int, int]:
    rss = handles = 0
    for pid in pids.values():
        process = Path(f"/proc/{pid}")
        rss += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        handles += len(list((process / "fd").iterdir()))
    return rss, handles


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
