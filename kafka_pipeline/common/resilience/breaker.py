"""The circuit breaker as tasks meet it: a guard around every try, and a way to wait for the service's return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import structlog

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock, Sleep
from kafka_pipeline.common.failures import UnavailableError
from kafka_pipeline.common.observability.metrics import counter, gauge
from kafka_pipeline.common.resilience.circuit import Circuit, CircuitSettings, CircuitState, Permit, Verdict

__all__ = ["CircuitBreaker", "CircuitSettings", "CircuitState", "Judge", "Verdict"]

BREAKER_STATE: Final = gauge(
    "breaker_state",
    labels=("breaker",),
    meaning="State of a circuit breaker: 0 closed, 1 open, 2 half-open.",
    remedy="1 or 2 for long: the service behind it is down or refuses our credential; work waits and nothing is lost.",
)
BREAKER_OPENINGS: Final = counter(
    "breaker_openings_total",
    labels=("breaker",),
    meaning="Times a circuit breaker opened, after a failed probe too.",
    remedy="Once per reset time: an outage that lasts. Often, with short closures between: the service flaps.",
)
BREAKER_REFUSALS: Final = counter(
    "breaker_refusals_total",
    labels=("breaker",),
    meaning="Tries refused because the circuit was open or a probe was under way; their records wait.",
    remedy="No remedy needed; breaker_state says whether the service is back.",
)

_STATE_NUMBERS: Final = {CircuitState.CLOSED: 0, CircuitState.OPEN: 1, CircuitState.HALF_OPEN: 2}

Judge = Callable[[Exception | None], Verdict]
"""Says what a try's error, or None for a success, means for the service."""

_log = structlog.get_logger(__name__)


class CircuitBreaker:
    """Keeps calls away from a service that is down, and lets one at a time find out when it is back.

    One breaker per service, shared by all tasks of the process. `name` is a constant: it is a metric label and stands
    in the error's text. `judge` decides what counts; a try that is cancelled never does. `sleep` must let `clock`
    advance. Nothing here blocks.
    """

    def __init__(
        self,
        name: str,
        settings: CircuitSettings,
        *,
        judge: Judge,
        reason: str = "circuit_open",
        alone: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`reason` and `alone` are those of the UnavailableError that a refused call meets."""
        self.name = name
        self._circuit = Circuit(settings)
        self._judge = judge
        self._reason = reason
        self._alone = alone
        self._clock = clock
        self._sleep = sleep
        self._changed = asyncio.Event()
        BREAKER_STATE.labels(name).set(_STATE_NUMBERS[CircuitState.CLOSED])

    @property
    def state(self) -> CircuitState:
        """Where the circuit stands."""
        return self._circuit.state

    @property
    def closed(self) -> bool:
        """Whether all calls pass."""
        return self._circuit.state is CircuitState.CLOSED

    def guard(self) -> AbstractAsyncContextManager[None]:
        """Return the context for one try: it raises UnavailableError on entry if refused, and judges the result."""
        return self._around(self._circuit.admit)

    def second_opinion(self) -> AbstractAsyncContextManager[None]:
        """Return the context for a try that may also go, once, right after the circuit opened.

        For a request that was answered before: if it is answered still, the failures were not the service's.
        """
        return self._around(self._circuit.second_opinion)

    async def admits(self) -> None:
        """Return when a call may be tried; at once where that is now. Somebody else may then be faster."""
        while (wait_s := self._circuit.wait_s(self._clock.monotonic())) > 0:
            waits = [
                asyncio.ensure_future(self._sleep(wait_s)),
                asyncio.ensure_future(self._changed.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    def refusal(self) -> UnavailableError:
        """Return what a refused call is told."""
        return UnavailableError(
            f"the breaker {self.name} is open", until=self.admits, reason=self._reason, alone=self._alone
        )

    @asynccontextmanager
    async def _around(self, admit: Callable[[float], Permit | None]) -> AsyncIterator[None]:
        before = self.state
        permit = admit(self._clock.monotonic())
        if permit is None:
            BREAKER_REFUSALS.labels(self.name).inc()
            raise self.refusal()
        self._tell(before)
        verdict = Verdict.UNCOUNTED
        try:
            yield
            verdict = self._judge(None)
        except Exception as error:
            verdict = self._judge(error)
            raise
        finally:
            before = self.state
            self._circuit.report(permit, verdict, self._clock.monotonic())
            self._tell(before)

    def _tell(self, before: CircuitState) -> None:
        """Wake who waits, count and log, after anything that may have changed the state."""
        state = self.state
        if before is state is CircuitState.CLOSED:
            return
        self._changed.set()
        self._changed = asyncio.Event()
        if state is before:
            return
        BREAKER_STATE.labels(self.name).set(_STATE_NUMBERS[state])
        if state is CircuitState.OPEN:
            BREAKER_OPENINGS.labels(self.name).inc()
        level = _log.warning if state is CircuitState.OPEN else _log.info
        level("breaker_changed", breaker=self.name, state=state.value, failures=self._circuit.failures)
