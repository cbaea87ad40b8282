"""Tables of the lake through deltalake: merge, append once, look up. Synchronous: run it in threads.

One handle per table and use, refreshed incrementally: opening a table anew costs some fifteen times more. A merge that
another writer beat is run again from a fresh snapshot, because the library's own commit retries do not reread.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import ArrayType

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake import merge as plan
from kafka_pipeline.common.lake import metrics
from kafka_pipeline.common.lake.faults import CONFLICT, is_conflict, storage_failure
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.sql import Value
from kafka_pipeline.common.lake.tables import Mode, TableSpec

_log = structlog.get_logger(__name__)

R = TypeVar("R")

TRIES = 5
"""Rounds of one merge against other writers before the conflict is reported [7.4]."""

CONFLICT_PAUSE_SECONDS = 0.05
"""Mean pause before the second round. Too short, and the same writers collide again."""

LONGEST_CONFLICT_PAUSE_SECONDS = 0.2
"""Up to here it doubles with each round. Longer, and whoever lost has fewer tries than those who won."""


def conflict_pause_s(round_: int, jitter: float) -> float:
    """Return the pause after that round, counted from 0, was lost: nothing to twice the mean, by the jitter (0..1)."""
    return min(LONGEST_CONFLICT_PAUSE_SECONDS, CONFLICT_PAUSE_SECONDS * 2.0**round_) * 2 * jitter


LARGE_BYTES = 64 * 2**20
"""Old rows among recent ones are merged apart in a table of this size or more: to mix all of a smaller one costs less
than a second commit."""


class Positioned(NamedTuple):
    """A row for `append_once`, with the place in Kafka it came from.

    `everywhere`: look for its key in all partitions, because its own may differ between deliveries [EVW-1].
    """

    row: Row
    topic: str
    partition: int
    offset: int
    everywhere: bool = False

    @property
    def app_id(self) -> str:
        """The Delta application id under which the offset is recorded (I2)."""
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one durable write did.

    `known` rows were in an insert-only table already and stayed as they were. Files are counted for upserts only.
    """

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    known: int = 0
    files_scanned: int = 0
    files_skipped: int = 0
    commit_s: float = 0.0
    """What the round took that nobody else was faster in."""
    others: int = 0
    """Commits of other writers since the last one of this store, which was `since_s` ago; 0 at the first."""
    since_s: float = 0.0


@dataclass(slots=True)
class _Handle:
    """A table handle and the lock that keeps it to one thread: handles are not thread-safe.

    `options` are what it was opened with: a handle keeps its credential, so another one needs another handle.
    """

    table: DeltaTable | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    last: tuple[int, float] | None = None
    """Version and time of the last write through it."""


class DeltaStore:
    """The tables of one lake.

    Every method blocks and may be called from any thread; writes to one table follow one another, reads do not wait
    for them. Failures are PipelineErrors by [7.4]: auth, transient (reason `conflict` if other writers won TRIES
    times), permanent for rows and schemas that cannot go in, unknown for what nobody foresaw. After a failure of
    unknown outcome the same call may simply be repeated: it begins with a fresh snapshot and finds what it wrote.
    """

    def __init__(
        self,
        location: LakeLocation,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        tries: int = TRIES,
    ) -> None:
        self._location = location
        self._sleep = sleep
        self._jitter = jitter
        self._tries = tries
        self._handles: dict[tuple[str, str], _Handle] = {}

    def ensure(self, spec: TableSpec) -> None:
        """Create the table, or add the columns it lacks. Raises PipelineError (permanent) if a type differs."""
        handle = self._handle(spec, "write")
        with handle.lock:
            self._rounds(spec, handle, lambda _: None)

    def merge(self, spec: TableSpec, rows: Iterable[Row]) -> Written:
        """Merge rows into their table by its mode and its columns' rules. Equal keys are combined first.

        It is one commit, two where some rows are much older than the others (`merge.apart`), none if there is nothing
        to write. Rerunning with the same rows changes nothing more.
        """
        combined = plan.combine(spec, rows)
        if not combined:
            return Written()
        data = plan.to_arrow(spec, combined)
        old = self._apart(spec, combined)
        parts = [(combined[:old], data.slice(0, old)), (combined[old:], data.slice(old))]
        done = [self._merge_part(spec, some, table) for some, table in parts if some]
        return Written(**{f.name: sum(getattr(each, f.name) for each in done) for f in fields(Written)})

    def append_once(self, spec: TableSpec, rows: Iterable[Positioned]) -> Written:
        """Append rows whose key the table does not hold, and record their offsets, in one commit (I2).

        Of equal keys in the call the one at the lowest (topic, partition, offset) is kept. Rows at or below the offset
        that a fresh snapshot records for their partition are looked up by key and left out if the table has them: the
        usual redelivery costs a read and no commit. If it does not have them (a recreated topic starts again at offset
        0; a batch failed for good before a later one succeeded) they are written, for dropping them would lose them.
        A second copy under another offset, and one that another process writes at this moment, is left out by the
        merge: the conflict makes it look again.
        """
        ordered = sorted(rows, key=attrgetter("topic", "partition", "offset"))
        if spec.mode is not Mode.INSERT_ONLY:
            raise ValueError(f"{spec.name} is not insert-only")
        first: dict[plan.Key, Positioned] = {}
        for key, row in zip(plan.keys_of(spec, [r.row for r in ordered]), ordered, strict=True):
            first.setdefault(key, row)
        if not first:
            return Written()
        keys = sorted(first)
        combined = dict(zip(keys, plan.complete(spec, [first[key].row for key in keys]), strict=True))
        # Made at once, so that whatever is malformed fails before anything is read or written.
        data = plan.to_arrow(spec, list(combined.values()))
        last = {(row.topic, row.partition): row for row in ordered}

        def attempt(table: DeltaTable) -> Written:
            recorded = {place: _or(table.transaction_version(r.app_id), -1) for place, r in last.items()}
            again = [key for key, r in first.items() if r.offset <= recorded[r.topic, r.partition]]
            known = self._known(spec, table, again, first)
            if len(known) < len(again):
                _log.warning("append_below_recorded_offset", table=spec.name, rows=len(again) - len(known))
            fresh = [key for key in combined if key not in known]
            if not fresh:
                return Written(rows=len(first), known=len(first))
            some = [combined[key] for key in fresh]
            condition = plan.predicate(spec, some, [key for key in fresh if first[key].everywhere])
            transactions = [Transaction(r.app_id, max(r.offset, recorded[place])) for place, r in last.items()]
            some_data = data.filter(pa.array([key not in known for key in combined])) if known else data
            written = self._merge(spec, table, some_data, condition, transactions)
            return Written(
                rows=len(first),
                inserted=written.inserted,
                known=len(first) - written.inserted,
            )

        return self._write(spec, attempt)

    def existing(
        self, spec: TableSpec, keys: Collection[plan.Key | Value], columns: Sequence[str] | None = None
    ) -> list[dict[str, Value]]:
        """Return the rows of these keys, with their keys and `columns` (None: all declared).

        A key is a tuple of key values, or of the leading ones; a single value stands for a tuple of one. Files are
        skipped by key ranges, so the cost follows the keys and not the table. A table that does not exist yet has none;
        a column that it lacks is None.
        """
        wanted = {key if isinstance(key, tuple) else (key,) for key in keys}
        if not wanted:
            return []
        handle = self._handle(spec, "read")
        with handle.lock:
            try:
                table = self._current(handle) or self._open(spec, handle)
                return self._read(spec, table, wanted, spec.names if columns is None else columns)
            except TableNotFoundError:
                handle.table = None
                return []
            except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
                handle.table = None
                raise self._failure(error, f"reading {spec.name}") from None

    def _merge_part(self, spec: TableSpec, rows: Sequence[Row], data: pa.Table) -> Written:
        condition = plan.predicate(spec, rows)

        def attempt(table: DeltaTable) -> Written:
            return self._merge(spec, table, data, condition, None)

        return self._write(spec, attempt)

    def _apart(self, spec: TableSpec, rows: Sequence[Row]) -> int:
        """Return how many rows are merged by themselves, before the others. Looks at the log only if some are old."""
        key = spec.keys[0]
        ranges = plan.key_ranges(row[key] for row in rows)
        if len(ranges) == 1 or spec.mode is not Mode.UPSERT:
            return 0  # nothing is old, or nothing that is stored is written anew
        handle = self._handle(spec, "write")
        with handle.lock:
            files = self._rounds(spec, handle, lambda table: _ranges_of(table, key))
        return 0 if files is None else plan.apart(rows, ranges, files, key)

    def _handle(self, spec: TableSpec, use: str) -> _Handle:
        return self._handles.setdefault((spec.name, use), _Handle())

    def _write(self, spec: TableSpec, attempt: Callable[[DeltaTable], Written]) -> Written:
        handle = self._handle(spec, "write")
        with handle.lock:
            started = time.perf_counter()
            written = self._rounds(spec, handle, lambda table: _watched(handle, table, attempt))
            seconds = time.perf_counter() - started
        metrics.MERGE_SECONDS.labels(spec.name).observe(seconds)
        metrics.ROWS_WRITTEN.labels(spec.name).inc(written.inserted + written.updated)
        metrics.ROWS_KNOWN.labels(spec.name).inc(written.known)
        metrics.FILES_SCANNED.labels(spec.name).inc(written.files_scanned)
        metrics.FILES_SKIPPED.labels(spec.name).inc(written.files_skipped)
        _log.info(
            "rows_written",
            table=spec.name,
            rows=written.rows,
            inserted=written.inserted,
            updated=written.updated,
            known=written.known,
            seconds=round(seconds, 3),
        )
        return written

    def _rounds(self, spec: TableSpec, handle: _Handle, attempt: Callable[[DeltaTable], R]) -> R:
        """Run `attempt` on a fresh snapshot, again while other writers win. Every other failure drops the handle."""
        for round_ in range(self._tries):
            try:
                return attempt(self._fresh(spec, handle))
            except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
                if not is_conflict(error):
                    handle.table = None
                    raise self._failure(error, f"writing {spec.name}") from None
            except BaseException:
                handle.table = None  # whatever it was, the handle is not to be trusted
                raise
            metrics.CONFLICTS.labels(spec.name).inc()
            _log.info("commit_race_lost", table=spec.name, round=round_ + 1)
            self._sleep(conflict_pause_s(round_, self._jitter()))
        raise PipelineError(
            f"writing {spec.name} lost against other writers {self._tries} times", Category.TRANSIENT, reason=CONFLICT
        )

    def _failure(self, error: Exception, doing: str) -> PipelineError:
        failure = storage_failure(error, doing)
        if failure.category is Category.AUTH:
            self._location.refused()
        return failure

    def _fresh(self, spec: TableSpec, handle: _Handle) -> DeltaTable:
        if (current := self._current(handle)) is not None:
            return current
        try:
            table = self._open(spec, handle)
        except TableNotFoundError:
            table = self._create(spec, handle)
        missing = _missing_fields(spec, table)
        if missing:
            table.alter.add_columns(missing)
            _log.info("columns_added", table=spec.name, columns=[f.name for f in missing])
        return table

    def _current(self, handle: _Handle) -> DeltaTable | None:
        """Return the open table at its newest version, or None if it has to be opened: at first, or to sign in anew."""
        if handle.table is not None and handle.options != self._location.delta_options():
            handle.table = None
        if handle.table is not None:
            handle.table.update_incremental()
        return handle.table

    def _open(self, spec: TableSpec, handle: _Handle) -> DeltaTable:
        handle.options = self._location.delta_options()
        handle.table = DeltaTable(self._location.table_uri(spec.name), storage_options=handle.options)
        return handle.table

    def _create(self, spec: TableSpec, handle: _Handle) -> DeltaTable:
        self._location.prepare()
        try:
            DeltaTable.create(
                self._location.table_uri(spec.name),
                spec.schema,
                mode="ignore",
                partition_by=list(spec.partition_by),
                storage_options=self._location.delta_options(),
            )
        except DeltaError:
            _log.info("table_creation_raced", table=spec.name)  # if it was no race, opening fails and says why
        return self._open(spec, handle)

    def _merge(
        self,
        spec: TableSpec,
        table: DeltaTable,
        data: pa.Table,
        condition: str,
        transactions: list[Transaction] | None,
    ) -> Written:
        merger = table.merge(
            data,
            predicate=condition,
            source_alias="s",
            target_alias="t",
            commit_properties=CommitProperties(app_transactions=transactions),
        )
        if spec.mode is Mode.UPSERT and len(spec.columns) > len(spec.keys):
            merger = merger.when_matched_update(plan.update_expressions(spec))
        done = merger.when_not_matched_insert(plan.insert_expressions(spec)).execute()
        inserted, updated = done["num_target_rows_inserted"], done["num_target_rows_updated"]
        counts_files = spec.mode is Mode.UPSERT  # in an insert-only merge deltalake 1.6.6 reports every file as skipped
        return Written(
            rows=data.num_rows,
            inserted=inserted,
            updated=updated,
            known=data.num_rows - inserted - updated,
            files_scanned=done["num_target_files_scanned"] if counts_files else 0,
            files_skipped=done["num_target_files_skipped_during_scan"] if counts_files else 0,
        )

    def _known(
        self, spec: TableSpec, table: DeltaTable, keys: Sequence[plan.Key], rows: dict[plan.Key, Positioned]
    ) -> set[plan.Key]:
        if not keys:
            return set()
        return {plan.key_of(spec, row) for row in self._read(spec, table, set(keys), spec.keys)}

    def _read(
        self, spec: TableSpec, table: DeltaTable, wanted: set[plan.Key], columns: Sequence[str]
    ) -> list[dict[str, Value]]:
        asked = tuple(dict.fromkeys((*spec.keys, *columns)))
        stored = {f.name for f in table.schema().fields}
        there = [name for name in asked if name in stored]
        schema = pa.schema([spec.schema.field(name) for name in there])  # the engine answers in view types
        first = pa.array({key[0] for key in wanted}, type=schema.field(spec.keys[0]).type)
        depths = {len(key) for key in wanted}
        found = []
        for batch in pa.RecordBatchReader.from_stream(table.scan(there, plan.lookup_condition(spec, wanted))):
            some = pa.Table.from_batches([batch]).cast(schema)
            for row in some.filter(pc.is_in(some[spec.keys[0]], value_set=first)).to_pylist():
                key = tuple(row[name] for name in spec.keys)
                if any(key[:depth] in wanted for depth in depths):
                    found.append({name: row.get(name) for name in asked})
        return found


def _watched(handle: _Handle, table: DeltaTable, attempt: Callable[[DeltaTable], Written]) -> Written:
    """Make an attempt; tell also how long it took, and what other writers did since the last one that succeeded."""
    began, found = time.perf_counter(), table.version()
    written = attempt(table)
    ended = time.perf_counter()
    version, at = handle.last or (found, began)
    handle.last = (table.version(), ended)
    return replace(written, commit_s=ended - began, others=max(0, found - version), since_s=ended - at)


def _ranges_of(table: DeltaTable, key: str) -> list[plan.KeyRange] | None:
    """Return the range of keys of each file; None if that of one is not known, or the table is small."""
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    if sum(file["size_bytes"] for file in files) < LARGE_BYTES:
        return None
    bounds = [(file.get(f"min.{key}"), file.get(f"max.{key}")) for file in files]
    if any(low is None or high is None for low, high in bounds):
        return None
    return [plan.KeyRange(low, high) for low, high in bounds]


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _missing_fields(spec: TableSpec, table: DeltaTable) -> list[Any]:
    """Return the declared columns that the table lacks, as nullable fields. Columns we do not know are left alone."""
    stored = {f.name: f for f in table.schema().fields}
    missing = []
    for wanted in Schema.from_arrow(spec.schema).fields:
        there = stored.get(wanted.name)
        if there is None:
            missing.append(type(wanted)(wanted.name, wanted.type, nullable=True))
        elif not _same_type(there.type, wanted.type):
            raise PipelineError(
                f"{spec.name}.{wanted.name} has another type in the table than declared: migrate the table",
                Category.PERMANENT,
            )
    return missing


def _same_type(there: object, wanted: object) -> bool:
    if isinstance(there, ArrayType) and isinstance(wanted, ArrayType):
        return _same_type(there.element_type, wanted.element_type)
    return there == wanted
