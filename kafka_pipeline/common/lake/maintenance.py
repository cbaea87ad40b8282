"""Keeps tables fast and small: files in key order, a checkpoint of the log, no files that nobody refers to any more.

| table | how its files are put in order | beside running writers |
|---|---|---|
| not partitioned | by stretches of keys, a commit each: `replaceWhere`, the same rows in order | the first wins |
| the same, in disorder as a whole | at once, by Delta's OPTIMIZE | updates win: it needs a quiet time |
| partitioned | a crowded partition at once, by Delta's OPTIMIZE | inserts go on |

No writer's rows can be lost: a commit is refused if another one touched what it read, whoever is faster; the loser
reads anew and repeats. Here that is bounded (`tries`): a part that is never left alone waits for a quieter time.
Readers keep their snapshot, whose files stay for the retention time. All of it may be repeated, or killed at any time.

Synchronous: run it in a thread, one table at a time. It needs its own process: memory for one part (`Limits`).
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import structlog
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.lake.faults import is_conflict, storage_failure
from kafka_pipeline.common.lake.layout import Limits, Part, StoredFile, is_crowded, plan
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.tables import TableSpec

TRIES: Final = 5
"""Rounds of one part against running writers."""

_LONG_TRIES: Final = 2
"""Rounds of what takes long: lost twice, it would be lost again."""

PAUSE_SECONDS: Final = 0.5
"""Mean pause before the second round; it doubles with each. Longer than a writer's, so that writers go first."""

SORT_BYTES: Final = 512 * 2**20
"""Memory for sorting one partition; the rest goes to the disk."""

LEAST_RETENTION_HOURS: Final = 24
"""Readers of an old snapshot lose their files after the retention time: no query of ours runs for a day, and a writer's
file is committed within minutes."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to write anew in one commit: a stretch of keys, a partition, or the whole table."""

    name: str
    part: Part | None
    """None where Delta's OPTIMIZE does it: it sorts on the disk, and takes whole partitions alone."""
    partition: tuple[tuple[str, str], ...] = ()
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A table as it was found, and what is to be done."""

    version: int
    files: int
    size_bytes: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """Files that nobody refers to any more, of no snapshot within the retention time."""

    files: int
    size_bytes: int | None
    """None where the storage was not asked for it."""


class TableKeeper:
    """Maintains one table. Methods block, and raise PipelineError by [7.4]; none of its texts shows a cell (I10)."""

    def __init__(
        self,
        spec: TableSpec,
        location: LakeLocation,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        tries: int = TRIES,
    ) -> None:
        self.spec = spec
        self._location = location
        self._limits = limits or Limits()
        self._sleep = sleep
        self._jitter = jitter
        self._tries = tries
        self._table: DeltaTable | None = None
        self._options: dict[str, str] = {}

    def survey(self) -> Survey | None:
        """Look at the files of the newest version; None if there is no such table. Costs a read of the log."""
        try:
            table = self._current()
            adds = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        except TableNotFoundError:
            return None
        except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
            raise self._failure(error, "looking at") from None
        return Survey(
            version=table.version(),
            files=len(adds),
            size_bytes=sum(each["size_bytes"] for each in adds),
            steps=self._steps(adds),
        )

    def rewrite(self, step: Step) -> bool:
        """Put one step in order, in one commit. False if writers won every round: nothing changed then."""
        for round_ in range(self._tries if step.part is not None else min(self._tries, _LONG_TRIES)):
            try:
                self._attempt(self._current(), step)
            except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
                self._table = None
                if not is_conflict(error):
                    raise self._failure(error, "compacting") from None
            else:
                return True
            self._sleep(PAUSE_SECONDS * 2**round_ * 2 * self._jitter())
        _log.info("compaction_left_for_later", table=self.spec.name, part=step.name)
        return False

    def checkpoint(self) -> int:
        """Write a checkpoint of the newest version and drop log files past their retention; return the version.

        Who opens the table then reads one file instead of every commit since the last checkpoint.
        """
        try:
            table = self._current()
            table.create_checkpoint()
            table.cleanup_metadata()
        except (DeltaError, OSError, ValueError) as error:
            raise self._failure(error, "writing a checkpoint of") from None
        return table.version()

    def vacuum(self, retention_hours: int) -> Vacuumed:
        """Delete files that no snapshot of the last `retention_hours` needs, those of lost commits included."""
        unused = self._vacuum(retention_hours, dry_run=False)
        return Vacuumed(files=len(unused), size_bytes=self._vacuumed_bytes() if unused else 0)

    def vacuumable(self, retention_hours: int) -> Vacuumed:
        """Return what `vacuum` would delete. Sizes are known of a local lake."""
        unused = self._vacuum(retention_hours, dry_run=True)
        if not self._location.is_local:
            return Vacuumed(files=len(unused), size_bytes=None if unused else 0)
        root = Path(self._location.table_uri(self.spec.name))
        return Vacuumed(files=len(unused), size_bytes=sum(_size_bytes(root / path) for path in unused))

    # -- files ---------------------------------------------------------------------------------------------------

    def _steps(self, adds: Sequence[dict[str, Any]]) -> tuple[Step, ...]:
        key = self.spec.keys[0]
        partitions: defaultdict[tuple[Any, ...], list[StoredFile]] = defaultdict(list)
        for each in adds:
            where = tuple(each.get(f"partition.{name}") for name in self.spec.partition_by)
            stored = StoredFile(low=each.get(f"min.{key}"), high=each.get(f"max.{key}"), size_bytes=each["size_bytes"])
            partitions[where].append(stored)
        if self.spec.partition_by:
            return tuple(
                self._partition_step(where, files)
                for where, files in sorted(partitions.items(), key=str)
                # Only what is crowded: OPTIMIZE orders by the first 16 bytes of a key, so disorder may remain.
                if is_crowded(files, self._limits)
            )
        parts = plan(partitions[()], self._limits)
        return tuple(
            Step(
                name="the whole table" if part.is_whole else f"stretch {number} of {len(parts)}",
                part=None if part.is_whole else part,
                files=part.files,
                size_bytes=part.size_bytes,
            )
            for number, part in enumerate(parts, start=1)
        )

    def _partition_step(self, where: tuple[Any, ...], files: Sequence[StoredFile]) -> Step:
        partition = tuple(zip(self.spec.partition_by, map(str, where), strict=True))
        return Step(
            name=", ".join(f"{name}={value}" for name, value in partition),
            part=None,
            partition=partition,
            files=len(files),
            size_bytes=sum(each.size_bytes for each in files),
        )

    def _attempt(self, table: DeltaTable, step: Step) -> None:
        if step.part is None:
            table.optimize.z_order(
                self.spec.keys[:1],
                partition_filters=[(name, "=", value) for name, value in step.partition] or None,
                target_size=self._limits.target_bytes,
                max_spill_size=SORT_BYTES,
                max_concurrent_tasks=1,
            )
            return
        condition = step.part.condition(self.spec.keys[0])
        ordered = f"SELECT * FROM t WHERE {condition} ORDER BY {', '.join(self.spec.keys)}"  # noqa: S608 - all of it is ours
        rows = pa.table(QueryBuilder().register("t", table).execute(ordered))
        write_deltalake(
            table,
            rows.combine_chunks(),  # of several chunks the library writes several at once, in no order
            mode="overwrite",
            predicate=condition,
            target_file_size=self._limits.target_bytes,
        )

    # -- the table -----------------------------------------------------------------------------------------------

    def _current(self) -> DeltaTable:
        """Return the table at its newest version, opened anew where the credential is another one by now."""
        options = self._location.delta_options()
        if self._table is None or options != self._options:
            self._options = options
            self._table = DeltaTable(self._location.table_uri(self.spec.name), storage_options=options)
        else:
            self._table.update_incremental()
        return self._table

    def _vacuum(self, retention_hours: int, *, dry_run: bool) -> list[str]:
        if retention_hours < LEAST_RETENTION_HOURS:
            raise ValueError(f"a retention of {retention_hours} h may take files from under a reader")
        try:
            return self._current().vacuum(retention_hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
        except (DeltaError, OSError, ValueError) as error:
            raise self._failure(error, "vacuuming") from None

    def _vacuumed_bytes(self) -> int | None:
        for commit in self._current().history(5):
            size = commit.get("operationMetrics", {}).get("sizeOfDataToDelete")
            if size is not None:
                return int(size)
        return None

    def _failure(self, error: Exception, doing: str) -> Exception:
        self._table = None
        failure = storage_failure(error, f"{doing} {self.spec.name}")
        if failure.category is Category.AUTH:
            self._location.refused()
        return failure


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
