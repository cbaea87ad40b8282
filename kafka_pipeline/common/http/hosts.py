"""Hosts that files come from, and when to leave one alone (settled points 7 and 17).

    N different files of one host fail in a row ─▶ its files wait; one probe per reset time ─▶ an answer: all go on
    a host asks for a pause (Retry-After)       ─▶ its files wait until then, 60 s at most
    more files of one host than it is to bear   ─▶ the others wait for a place

A host is the one that a link names: whatever it redirects to is counted as a part of it. Whoever is kept waiting gets
an UnavailableError with `alone` set: files of other hosts go on. The fault that opens a circuit is told as one too,
because by then it is known to be the host's and not the file's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Final

import structlog

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock, Sleep
from kafka_pipeline.common.failures import UnavailableError
from kafka_pipeline.common.http.errors import OF_THE_HOST, DownloadError
from kafka_pipeline.common.http.guard import Refused, parse_link
from kafka_pipeline.common.resilience.breaker import CircuitBreaker, CircuitSettings, Verdict

UNAVAILABLE: Final = "host_unavailable"
THROTTLED: Final = "host_throttled"
"""Reasons of a wait."""

MAX_PAUSE_S: Final = 60.0
"""Longest pause that a host can impose on all of its files; a longer wish binds the file that met it alone."""

_log = structlog.get_logger(__name__)


class HostGates:
    """One circuit for each host that files may come from, so no more of them than settings name.

    `hosts` are names, or pairs `host:port`, as settings have them; the metric label of each is its place in that order
    (`download_host_1`), because the names of hosts are no labels [SEC-11]. A link to any other host passes: it will be
    refused elsewhere.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        settings: CircuitSettings,
        *,
        places: int,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`places` is how many files of one host may be on their way at once."""
        self._gates = {
            host.lower(): _Gate(f"download_host_{number}", settings, places=places, clock=clock, sleep=sleep)
            for number, host in enumerate(dict.fromkeys(hosts), start=1)
        }

    def place(self, url: str) -> AbstractAsyncContextManager[None]:
        """Return the context that waits for a place among the files of that host, and holds it."""
        gate, _ = self._gate(url)
        return nullcontext() if gate is None else gate.places

    @asynccontextmanager
    async def passing(self, url: str, *, file_id: str) -> AsyncIterator[None]:
        """Enter with a download of one file. Raises UnavailableError, on entry or in place of the host's own fault."""
        gate, host = self._gate(url)
        if gate is None:
            yield
            return
        was_closed = gate.breaker.closed
        try:
            async with gate.passing(file_id):
                yield
        finally:
            if was_closed and not gate.breaker.closed:
                _log.warning("download_host_unavailable", host=host, breaker=gate.breaker.name)

    def _gate(self, url: str) -> tuple[_Gate | None, str]:
        """Return the gate of a link's host, if it is one of ours, and the host's name."""
        link = parse_link(url)
        if isinstance(link, Refused):
            return None, ""
        host = link.origin.host
        shown = f"[{host}]" if ":" in host else host
        return self._gates.get(f"{shown}:{link.origin.port}") or self._gates.get(host), host


class _Gate:
    """One host: its places, its circuit, the files that failed since it last answered, the pause that it asked for."""

    def __init__(self, name: str, settings: CircuitSettings, *, places: int, clock: Clock, sleep: Sleep) -> None:
        self.places = asyncio.Semaphore(places)
        self.breaker = CircuitBreaker(
            name, settings, judge=self._judge, reason=UNAVAILABLE, alone=True, clock=clock, sleep=sleep
        )
        self._clock = clock
        self._sleep = sleep
        self._failing: set[str] = set()
        """Fewer than the failures that open the circuit: whoever fails then is not added."""
        self._paused_until_s = clock.monotonic()

    @asynccontextmanager
    async def passing(self, file_id: str) -> AsyncIterator[None]:
        """See `HostGates.passing`."""
        pause_s = self._paused_until_s - self._clock.monotonic()
        if pause_s > 0:
            until = partial(self._sleep, pause_s)
            raise UnavailableError("the host asked for a pause", until, reason=THROTTLED, alone=True)
        try:
            async with self.breaker.guard():
                try:
                    yield
                except DownloadError as error:
                    raise self._of_host(error, file_id) from None
        except _OfHostError as wrapped:
            if not self.breaker.closed:
                raise self.breaker.refusal() from None
            raise wrapped.error from None

    def _of_host(self, error: DownloadError, file_id: str) -> Exception:
        """Return the error, wrapped where the circuit is to count it; a pause that the host asks for begins here.

        One file that fails again and again says nothing of its host: while the circuit is closed each counts once.
        """
        if error.retry_after_s is not None:
            wish_s = min(error.retry_after_s, MAX_PAUSE_S)
            self._paused_until_s = max(self._paused_until_s, self._clock.monotonic() + wish_s)
        if error.fault not in OF_THE_HOST or (self.breaker.closed and file_id in self._failing):
            return error
        if self.breaker.closed:
            self._failing.add(file_id)
        return _OfHostError(error)

    def _judge(self, error: Exception | None) -> Verdict:
        if isinstance(error, _OfHostError):
            return Verdict.FAILURE
        answered = isinstance(error, DownloadError) and error.fault not in OF_THE_HOST and error.status is not None
        if error is None or answered:
            self._failing.clear()
            return Verdict.SUCCESS
        return Verdict.UNCOUNTED


class _OfHostError(Exception):
    """Carries a fault of the host past the circuit that counts it."""

    def __init__(self, error: DownloadError) -> None:
        super().__init__()
        self.error = error
