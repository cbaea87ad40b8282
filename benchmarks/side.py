"""One side of a comparison in a process of its own, so that neither its memory nor its threads are another's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kafka_pipeline.common.observability.logging import configure_logging

_WORK, _PEAK, _END = "work", "peak", "end"
_END_S = 30.0

Work = Callable[[Any], Any]


class Side:
    """Runs `open_()` in a new process, and there does what it is asked, one order after the other.

    `open_` is a context manager of a module's top level; it gives a function from an order to an answer. Both must be
    something that can be pickled. Raises RuntimeError if the process died; what it died of is on standard error.
    """

    def __init__(self, open_: Callable[[], AbstractContextManager[Work]]) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, open_), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        if kind is None:
            self._here.send((_END, None))
            self._process.join(_END_S)
        self._process.kill()
        self._process.join()

    def ask(self, order: object) -> Any:  # noqa: ANN401 - whatever this side's work answers
        """Return the answer to an order; waits for as long as it takes."""
        return self._exchange((_WORK, order))

    def peak_mib(self) -> float:
        """Return the most memory that the process had at any time, in MiB."""
        return float(self._exchange((_PEAK, None)))

    def _exchange(self, message: object) -> Any:  # noqa: ANN401 - see ask
        try:
            self._here.send(message)
            return self._here.recv()
        except (EOFError, OSError):
            raise RuntimeError("a side of the comparison died") from None


def _serve(connection: Connection, open_: Callable[[], AbstractContextManager[Work]]) -> None:
    configure_logging("auto", "error")
    with open_() as work:
        while (message := connection.recv())[0] != _END:
            connection.send(_peak_mib() if message[0] == _PEAK else work(message[1]))


def _peak_mib() -> float:
    # Not ru_maxrss: a new process inherits there what its parent had when it was started.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
