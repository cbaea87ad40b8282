"""What a run did to the pipeline, and what the pipeline made of it: lost, doubled, stale, orphaned."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka_pipeline.claimx.dlq.desk import Desk
from kafka_pipeline.cli.demo.setaside import expected_set_aside, read_set_aside
from kafka_pipeline.simulator.expectation import Truth
from kafka_pipeline.simulator.feed import FeedItem
from kafka_pipeline.simulator.lake import Table, stored_files
from kafka_pipeline.simulator.poison import Poison
from kafka_pipeline.simulator.verifier import DifferenceKind, verify

_ATTACHMENTS = "claimx_attachments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How lake, inventory, files and dead letters stand against the truth. Nothing but zeros is right."""

    lost: int
    """Rows, files or dead letters that are missing."""
    doubled: int
    """Rows there more than once under one key."""
    stale: int
    """Rows or files with another content than the last word."""
    orphaned: int
    """Rows, files or dead letters that nothing asked for, files without a row and rows without their file."""
    repeated_letters: int
    """Dead letters that are there once more: allowed, since setting aside is at least once."""
    rows: int
    files: int
    letters: int
    lines: tuple[str, ...]
    """What is wrong, the first of it, one line each."""

    @property
    def ok(self) -> bool:
        """Say whether everything is as it must be."""
        return not (self.lost or self.doubled or self.stale or self.orphaned)


async def judge(lake: Path, truth: Truth, desk: Desk, feed: Sequence[FeedItem], poison: Poison) -> Verdict:
    """Compare everything with the truth, which already knows of the poison."""
    report = await asyncio.to_thread(verify, lake, truth)
    kinds: Counter[DifferenceKind] = Counter()
    for part in (*report.tables.values(), report.files):
        kinds.update(part.differences)
    set_aside = await read_set_aside(desk)
    expected = expected_set_aside(feed, poison)
    found = {kind: set(things) for kind, things in set_aside.things.items()}
    letters_lost = sum(len(names - found[kind]) for kind, names in expected.items())
    letters_extra = sum(len(found[kind] - names) for kind, names in expected.items())
    alone = await asyncio.to_thread(unpaired, lake)
    total = sum(things.total() for things in set_aside.things.values())
    return Verdict(
        lost=kinds[DifferenceKind.MISSING] + letters_lost,
        doubled=kinds[DifferenceKind.DOUBLED],
        stale=kinds[DifferenceKind.DIFFERENT],
        orphaned=kinds[DifferenceKind.EXTRA] + letters_extra + len(alone),
        repeated_letters=total - sum(len(names) for names in found.values()),
        rows=sum(table.found for table in report.tables.values()),
        files=report.files.found,
        letters=total,
        lines=(*report.differences, *set_aside.problems(expected), *alone),
    )


def unpaired(lake: Path) -> list[str]:
    """Return files without a completed row of the inventory, and completed rows without their file, by their ids."""
    rows = Table(lake, _ATTACHMENTS).rows(("blob_path", "status"))
    known = {str(row["blob_path"]) for row in rows if row["status"] == "completed"}
    files = set(stored_files(lake))
    without_row = [f"{_ids(path)}: a file without a row" for path in sorted(files - known)]
    return without_row + [f"{_ids(path)}: a row without its file" for path in sorted(known - files)]


def _ids(path: str) -> str:
    """Return the part of a blob path that holds ids; the name behind it is somebody's (I10)."""
    return path.rsplit("/", 1)[0]


def leaks(logs: Iterable[Path], secrets: Sequence[bytes]) -> list[str]:
    """Return the names of logs that hold one of these texts (I10)."""
    return [log.name for log in logs if log.exists() and any(each in log.read_bytes() for each in secrets)]
