"""The lake as workers see it: awaitable writes, gathered per table, repeated for as long as the lake is away (I7)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake import metrics
from kafka_pipeline.common.lake.committer import GroupCommitter
from kafka_pipeline.common.lake.courtesy import Courtesy
from kafka_pipeline.common.lake.delta import DeltaStore, Positioned, Written
from kafka_pipeline.common.lake.faults import CONFLICT
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.merge import Key
from kafka_pipeline.common.lake.rules import Row
from kafka_pipeline.common.lake.sql import Value
from kafka_pipeline.common.lake.tables import TableSpec
from kafka_pipeline.common.observability.tracing import span
from kafka_pipeline.common.pulse import awaiting

_log = structlog.get_logger(__name__)

T = TypeVar("T")

LAKE_UNAVAILABLE = "lake_unavailable"

FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 30.0
"""Pauses between attempts on an unreachable lake double from the first to the last. Longer, and recovery is late."""

LONGEST_COURTESY = 10.0
"""Flush intervals that a writer leaves a crowded table to others at most."""

UNFORESEEN_TRIES = 3
"""Attempts on an error that nobody foresaw, before its callers get it: it may be the rows, and others wait."""

STALL_SECONDS = 300.0
"""A single write that takes longer than this is taken for hung: readiness turns false."""

HANG_SECONDS = 900.0
"""A call that takes longer than this is taken for hung, which only a restart ends: liveness turns false. Far above any
outage: a request ends within a minute, whatever happens, and its call with it."""

THREADS = 8
"""Tables written at once, with reads in between. deltalake runs its own threads below and frees the GIL."""


def pause_seconds(failures: int, jitter: float) -> float:
    """Return the pause after so many failures: doubling from the first to the last, and half of it jittered (0..1)."""
    longest = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + jitter / 2)


class TableWriter(Generic[T]):
    """One table's group commit, in threads, with patience.

    `write` returns when its rows are durable. While the lake is away, or refuses our credential, a flush is repeated
    with doubling, jittered pauses for as long as it takes; `healthy` is then False, the change is logged once, and
    callers wait. Where other writers keep winning it is repeated after short pauses, for the lake is there; and after a
    commit the table is left to them for a while (`Courtesy`). Raises PipelineError: permanent (these rows cannot go
    in) or unknown.
    """

    def __init__(
        self,
        table: str,
        store_rows: Callable[[Sequence[T]], Awaitable[Written]],
        *,
        flush_rows: int,
        flush_seconds: float,
        due_rows: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._table = table
        self._store_rows = store_rows
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._failure: PipelineError | None = None
        self._started: float | None = None
        self._courtesy = Courtesy(longest_s=LONGEST_COURTESY * flush_seconds)
        self._committer = GroupCommitter(self._flush, max_rows=flush_rows, max_delay_s=flush_seconds, due_rows=due_rows)
        metrics.UNAVAILABLE.labels(table).set(0)

    @property
    def healthy(self) -> bool:
        """False while flushes fail for want of the lake, or one hangs."""
        return self._failure is None and not self._stalled()

    @property
    def failure(self) -> str | None:
        """Why `healthy` is False, in words that are safe to show; None if it is True."""
        if self._failure is not None:
            return self._failure.text
        return f"a write to {self._table} takes longer than {STALL_SECONDS:.0f} s" if self._stalled() else None

    async def write(self, rows: Sequence[T]) -> None:
        """Return when the rows are durable; raises PipelineError, permanent or unknown."""
        if rows:
            with span("lake write", table=self._table, rows=len(rows)), awaiting("lake"):
                await self._committer.write(rows)

    async def drain(self) -> None:
        """Flush now what waits."""
        await self._committer.drain()

    async def close(self) -> None:
        """Drain and take no more."""
        await self._committer.close()

    async def _flush(self, rows: Sequence[T]) -> None:
        metrics.FLUSH_ROWS.labels(self._table).observe(len(rows))
        failures = 0
        while True:
            self._started = self._clock.monotonic()
            try:
                written = await self._store_rows(rows)
            except PipelineError as error:
                failures += error.reason != CONFLICT
                if error.category is Category.PERMANENT:
                    self._recovered()  # the lake answered
                    raise
                if error.category is Category.UNKNOWN and failures >= UNFORESEEN_TRIES:
                    _log.exception("table_write_unforeseen", table=self._table, error=error.text)
                    raise
                self._failed(error)
            else:
                self._recovered()
                self._committer.rest(self._room_s(written))
                return
            finally:
                self._started = None
            await self._sleep(pause_seconds(max(failures, 1), self._jitter()))

    def _room_s(self, written: Written) -> float:
        return self._courtesy.room_s(
            written.commit_s,
            others=written.others,
            since_s=written.since_s,
            now_s=self._clock.monotonic(),
            jitter=self._jitter(),
        )

    def _stalled(self) -> bool:
        return self._started is not None and self._clock.monotonic() - self._started > STALL_SECONDS

    def _failed(self, error: PipelineError) -> None:
        metrics.RETRIES.labels(self._table).inc()
        if error.reason == CONFLICT:
            return  # the lake is there, only crowded
        if self._failure is None:
            _log.error("lake_unavailable", table=self._table, category=error.category.value, error=error.text)
            metrics.UNAVAILABLE.labels(self._table).set(1)
        self._failure = error

    def _recovered(self) -> None:
        if self._failure is not None:
            _log.info("lake_available_again", table=self._table)
            metrics.UNAVAILABLE.labels(self._table).set(0)
        self._failure = None


class LakeWriter:
    """All tables of one lake: a writer per table, made on first use; flushes of different tables run in parallel.

    `flush_rows` and `flush_seconds` are the group commit's bounds for every table; so many rows as `due_rows` are
    committed without waiting for more, where callers cannot give more before.
    """

    def __init__(
        self,
        store: DeltaStore,
        *,
        flush_rows: int,
        flush_seconds: float,
        due_rows: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._flush_rows = flush_rows
        self._due_rows = due_rows
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lake")
        self._began_s: dict[object, float] = {}
        """Since when each call of the library is under way or waits for a thread."""
        self._tables: dict[str, TableWriter[Row]] = {}
        self._appenders: dict[str, TableWriter[Positioned]] = {}

    @classmethod
    def at(
        cls, location: LakeLocation, *, flush_rows: int, flush_seconds: float, due_rows: int | None = None
    ) -> LakeWriter:
        """Return a writer for the lake at this place."""
        return cls(DeltaStore(location), flush_rows=flush_rows, flush_seconds=flush_seconds, due_rows=due_rows)

    def table(self, spec: TableSpec) -> TableWriter[Row]:
        """Return the writer that merges rows into the table by its mode and rules."""
        if spec.name not in self._tables:
            self._tables[spec.name] = self._writer(spec, self._store.merge)
        return self._tables[spec.name]

    def appender(self, spec: TableSpec) -> TableWriter[Positioned]:
        """Return the writer that appends rows once, with their Kafka positions (I2)."""
        if spec.name not in self._appenders:
            self._appenders[spec.name] = self._writer(spec, self._store.append_once)
        return self._appenders[spec.name]

    async def existing(
        self, spec: TableSpec, keys: Collection[Key | Value], columns: Sequence[str] | None = None
    ) -> list[dict[str, Value]]:
        """Return the rows of these keys; see `DeltaStore.existing`. While the lake is away it waits, like a write (I7).

        Raises PipelineError, permanent or unknown.
        """
        failures = unforeseen = 0
        while True:
            try:
                with span("lake read", table=spec.name, keys=len(keys)), awaiting("lake"):
                    return await self._in_thread(lambda: self._store.existing(spec, keys, columns))
            except PipelineError as error:
                failures += 1
                # A file that is gone may be a snapshot that was vacuumed: the next look takes a fresh one.
                unforeseen += error.category not in {Category.TRANSIENT, Category.AUTH}
                if unforeseen >= UNFORESEEN_TRIES:
                    raise
                metrics.RETRIES.labels(spec.name).inc()
                _log.warning("lake_not_readable", table=spec.name, category=error.category.value, error=error.text)
            with awaiting("lake"):
                await self._sleep(pause_seconds(failures, self._jitter()))

    @property
    def hangs(self) -> bool:
        """Whether a call of the library does not return: no outage, for its requests have time-outs of their own."""
        began_s = min(self._began_s.values(), default=None)
        return began_s is not None and self._clock.monotonic() - began_s > HANG_SECONDS

    def not_ready(self) -> frozenset[str]:
        """Return what stands in the way of writing."""
        return frozenset() if self.healthy else frozenset({LAKE_UNAVAILABLE})

    @property
    def healthy(self) -> bool:
        """Whether every table can be written, as far as the last attempts tell."""
        return all(writer.healthy for writer in self._writers())

    @property
    def failure(self) -> str | None:
        """The first reason why `healthy` is False."""
        return next((writer.failure for writer in self._writers() if writer.failure is not None), None)

    async def drain(self) -> None:
        """Flush all tables now."""
        await asyncio.gather(*(writer.drain() for writer in self._writers()))

    async def close(self) -> None:
        """Drain all tables, take no more, and let the threads go."""
        await asyncio.gather(*(writer.close() for writer in self._writers()))
        self._threads.shutdown(wait=False)

    def _writers(self) -> list[TableWriter[Row] | TableWriter[Positioned]]:
        return [*self._tables.values(), *self._appenders.values()]

    def _writer(self, spec: TableSpec, store: Callable[[TableSpec, Iterable[T]], Written]) -> TableWriter[T]:
        return TableWriter(
            spec.name,
            lambda rows: self._in_thread(lambda: store(spec, rows)),
            flush_rows=self._flush_rows,
            due_rows=self._due_rows,
            flush_seconds=self._flush_seconds,
            clock=self._clock,
            sleep=self._sleep,
            jitter=self._jitter,
        )

    async def _in_thread(self, call: Callable[[], T]) -> T:
        this = object()
        self._began_s[this] = self._clock.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the native library is no Exception
            raise PipelineError(f"the lake's library failed: {type(error).__name__}", Category.UNKNOWN) from None
        finally:
            del self._began_s[this]
