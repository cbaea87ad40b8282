"""Group commit: many small writes become few large ones, and each caller learns when its own is durable."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from kafka_pipeline.common.failures import Category, PipelineError

T = TypeVar("T")

GATHER_SHARE = 0.05
"""Of the longest wait: how long the first item after a pause waits for those that come with it, at least."""


def flush_due_at(arrived: float, *, began_at: float, max_delay_s: float) -> float:
    """Return when a flush is due for an item that arrived then; the last flush began at `began_at`.

    Once an interval after the last one, so that a steady stream makes one flush an interval; but if that is over, at
    once, or nearly: what comes together should be flushed together. Never later than the longest wait.

    >>> flush_due_at(100.0, began_at=99.75, max_delay_s=1.0), flush_due_at(100.0, began_at=90.0, max_delay_s=1.0)
    (100.75, 100.05)
    """
    next_turn = max(arrived + GATHER_SHARE * max_delay_s, began_at + max_delay_s)
    return min(arrived + max_delay_s, next_turn)


class ClosedError(RuntimeError):
    """The committer was closed; it takes no more items."""


@dataclass(frozen=True, slots=True)
class _Share(Generic[T]):
    """One caller's items, and the future that tells it what became of them."""

    items: Sequence[T]
    done: asyncio.Future[None]
    arrived: float
    """Loop time."""


class GroupCommitter(Generic[T]):
    """Gathers items of concurrent callers and flushes them together: `write` returns when its items are durable.

    - A flush begins when `max_rows` items wait, or the oldest has waited `max_delay_s`, or at once on `drain`/`close`.
      It begins sooner where the last one is `max_delay_s` ago (see `flush_due_at`): of waiting there is only as much
      as keeps flushes that far apart. Several stages in a row, each fed by the flushes of the one before, so wait once.
      One flush runs at a time; what arrives meanwhile gathers for the next, so a slow lake makes larger flushes.
    - Items keep the order of the calls. A caller's share is never split; a share larger than `max_rows` goes alone.
    - An error reaches exactly the callers whose items were in the flush. If it was permanent or unforeseen and several
      callers took part, their shares are flushed one by one, so that a bad share fails nobody else.
    - A caller that is cancelled leaves its items in the flush and the others undisturbed.
    - After a flush its owner may ask for `rest`: but for `drain` and `close`, the next one does not begin before.
    - `due_rows` items begin a flush as well, where callers cannot give more before; it still takes up to `max_rows`, so
      a slow lake makes larger flushes.
    - At most `max_queued` items wait (I9), then `write` waits; a larger single share is let in when nothing else waits.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[T]], Awaitable[None]],
        *,
        max_rows: int,
        max_delay_s: float,
        max_queued: int | None = None,
        due_rows: int | None = None,
    ) -> None:
        if max_rows < 1 or max_delay_s < 0:
            raise ValueError("max_rows must be at least 1 and max_delay_s not negative")
        self._flush = flush
        self._max_rows = max_rows
        self._due_rows = min(due_rows or max_rows, max_rows)
        self._max_delay_s = max_delay_s
        self._max_queued = max(max_queued or 10 * max_rows, max_rows)
        self._shares: deque[_Share[T]] = deque()
        self._in_flight: list[_Share[T]] = []
        self._queued = 0
        self._turn = asyncio.Lock()  # callers enter in the order in which they came, also when they must wait
        self._room = asyncio.Event()
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._runner: asyncio.Task[None] | None = None
        self._began_at = -math.inf  # loop time of the last flush
        self._rests_until = -math.inf
        self._drains = 0
        self._closed = False

    @property
    def queued(self) -> int:
        """Items that wait for a flush, those of the running one not counted."""
        return self._queued

    def rest(self, seconds: float) -> None:
        """Begin no flush for so long from now, however many items wait."""
        self._rests_until = asyncio.get_running_loop().time() + seconds

    async def write(self, items: Sequence[T]) -> None:
        """Return when the items are durable. Raises what the flush raised, or ClosedError."""
        if not items:
            return
        async with self._turn:
            while not self._closed and self._queued and self._queued + len(items) > self._max_queued:
                self._room.clear()
                await self._room.wait()
            if self._closed:
                raise ClosedError
            loop = asyncio.get_running_loop()
            share = _Share(items, loop.create_future(), loop.time())
            self._shares.append(share)
            self._queued += len(items)
        self._arm()
        if self._runner is None or self._runner.done():
            # In a context of its own: it works for many callers, and is in nobody's trace.
            self._runner = asyncio.create_task(self._run(), name="group-committer", context=Context())
        await share.done

    async def drain(self) -> None:
        """Flush at once what was given so far; return when that is over, well or badly (its callers are told)."""
        self._drains += 1
        self._arm()
        try:
            pending = [share.done for share in (*self._in_flight, *self._shares) if not share.done.done()]
            if pending:
                await asyncio.wait(pending)
        finally:
            self._drains -= 1

    async def close(self) -> None:
        """Take no more, drain, and wait until the last flush is over.

        A flush that nobody waits for any more is ended: its callers gave up, so nobody was promised anything, and while
        the lake is away it would go on for as long as that takes.
        """
        self._closed = True
        self._room.set()
        await self.drain()
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
            await asyncio.wait([self._runner])

    def _arm(self) -> None:
        """See to it that the runner wakes when the waiting shares are due."""
        if not self._shares:
            return
        loop = asyncio.get_running_loop()
        now, due_at = loop.time(), -math.inf
        if self._queued < self._due_rows:
            due_at = flush_due_at(self._shares[0].arrived, began_at=self._began_at, max_delay_s=self._max_delay_s)
        due_at = max(due_at, self._rests_until)
        if self._drains or self._closed or now >= due_at:
            self._due.set()
        elif self._timer is None or self._timer.when() > due_at:
            self._unset_timer()
            self._timer = loop.call_at(due_at, self._due.set)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self) -> None:
        while self._shares:
            # Anew: what was due during the last flush may have to rest now.
            self._due.clear()
            self._unset_timer()
            self._arm()
            await self._due.wait()
            self._unset_timer()
            self._began_at = asyncio.get_running_loop().time()
            self._take()
            try:
                await self._settle(self._in_flight)
            finally:
                for share in self._in_flight:
                    share.done.cancel()  # does nothing to a settled one; reached unsettled only when we are cancelled
                self._in_flight = []

    def _take(self) -> None:
        taken = 0
        while self._shares and (not taken or taken + len(self._shares[0].items) <= self._max_rows):
            share = self._shares.popleft()
            taken += len(share.items)
            self._in_flight.append(share)
        self._queued -= taken
        self._room.set()

    async def _settle(self, shares: Sequence[_Share[T]]) -> None:
        try:
            await self._flush([item for share in shares for item in share.items])
        except Exception as error:  # noqa: BLE001 - it is handed to the callers
            if len(shares) > 1 and _may_be_one_share(error):
                for share in shares:
                    await self._settle([share])
                return
            for share in shares:
                if not share.done.done():
                    share.done.set_exception(error)
        else:
            for share in shares:
                if not share.done.done():
                    share.done.set_result(None)


def _may_be_one_share(error: Exception) -> bool:
    if isinstance(error, PipelineError):
        return error.category in (Category.PERMANENT, Category.UNKNOWN)
    return True
