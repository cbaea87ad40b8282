"""The one thread in which a blocking Kafka consumer lives."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_PATIENCE_S = 5.0


class _Job:
    """A call to be made in the thread, and where its result goes."""

    __slots__ = ("_call", "anytime", "result")

    def __init__(self, call: Callable[[], Any], *, anytime: bool) -> None:
        self._call = call
        self.anytime = anytime
        self.result: Future[Any] = Future()

    def run(self) -> None:
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self._call())
        except BaseException as error:  # noqa: BLE001  it belongs to whoever waits for the result
            self.result.set_exception(error)


class _Signal:
    """Put into the queue to wake the thread up."""


_WAKE = _Signal()
_STOP = _Signal()


class ConsumerThread:
    """Runs calls one after the other in a thread of its own.

    A call may itself wait inside the thread (`serve`), as a rebalance does for its listener. Meanwhile calls submitted
    with `anytime` still run, so that a listener can pause or seek without waiting for itself.
    """

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[_Job | _Signal] = queue.SimpleQueue()
        self._deferred: deque[_Job | _Signal] = deque()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, call: Callable[[], T], *, anytime: bool = False) -> Future[T]:
        """Run the call in the thread, after those before it."""
        if self._thread.ident is None:
            self._thread.start()
        job = _Job(call, anytime=anytime)
        self._queue.put(job)
        return job.result

    def serve(self, awaited: Future[Any], timeout_s: float) -> None:
        """Inside the thread: wait until `awaited` is done or the time is over, and run `anytime` calls meanwhile."""
        awaited.add_done_callback(lambda _: self._queue.put(_WAKE))
        deadline = time.monotonic() + timeout_s
        while not awaited.done():
            try:
                self._run_or_defer(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                return

    def serve_waiting(self) -> None:
        """Inside the thread: run the `anytime` calls that are there already."""
        while not self._queue.empty():
            self._run_or_defer(self._queue.get())

    def stop(self) -> None:
        """End the thread after the calls before this one, and wait for it."""
        if self._thread.ident is not None:
            self._queue.put(_STOP)
            self._thread.join(_STOP_PATIENCE_S)

    def _run_or_defer(self, item: _Job | _Signal) -> None:
        if isinstance(item, _Job) and item.anytime:
            item.run()
        elif item is not _WAKE:
            self._deferred.append(item)

    def _run(self) -> None:
        while True:
            item = self._deferred.popleft() if self._deferred else self._queue.get()
            if isinstance(item, _Job):
                item.run()
            elif item is _STOP:
                return
            del item  # a thread that waits must not keep the last batch alive
