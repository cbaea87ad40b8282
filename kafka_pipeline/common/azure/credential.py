"""Keeps a credential current: renewed before it expires, in one place for all who use it.

    held, fresh       ─▶ given at once
    held, renewal due ─▶ given at once, and renewed behind the caller's back; if that fails, again after a pause
    none, or expired  ─▶ the caller waits for one, and gets the failure if there is none

So an outage of whoever issues credentials is not noticed for as long as the held one is valid.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

import structlog

from kafka_pipeline.common.azure import metrics
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError

_log = structlog.get_logger(__name__)

EARLY = timedelta(minutes=10)
"""Renewal is due so long before the end, or a third of the life before it if that is less. A merge or an upload that
begins with a credential has to end with it; the storage itself asks for five minutes."""

REREAD = timedelta(minutes=5)
"""A secret that names no end is read again so often: a key may have been rotated in its file."""

RETRY = timedelta(seconds=30)
"""Pause after a renewal that failed, or a third of what is left if that is less."""

FAILURE_HOLDS = timedelta(seconds=1)
"""Those who waited while a credential was asked for in vain get that failure, instead of asking one after the other."""


class CredentialForm(str, Enum):
    """How a credential is presented. The value is the name of the option in object_store, below Delta and files."""

    ACCOUNT_KEY = "account_key"
    """Signs each request; does not expire, opens the whole account."""
    SAS = "sas_key"
    """Is a part of each request's query."""
    TOKEN = "bearer_token"  # noqa: S105 - the name of an option
    """Goes with each request; expires within hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What opens the storage. The secret is not shown by repr (I10)."""

    form: CredentialForm
    secret: str = field(repr=False)
    expires_at: datetime | None = None
    """Aware, UTC; None if it names no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    credential: Credential
    obtained_at: datetime
    renew_at: datetime

    def usable(self, now: datetime) -> bool:
        end = self.credential.expires_at
        return end is None or now < end


class CurrentCredential:
    """The one place that Delta tables, files and whoever else get their credential from. Safe in any thread.

    `acquire` obtains one, blocking, and raises PipelineError with words that are safe to log. `start` runs a renewal
    beside the caller; tests run it at once. `purpose` is a label of the metrics.
    """

    def __init__(
        self,
        acquire: Callable[[], Credential],
        *,
        purpose: str = "storage",
        clock: Clock = SYSTEM_CLOCK,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._acquire = acquire
        self._purpose = purpose
        self._clock = clock
        self._start = start or _in_thread
        self._held: _Held | None = None
        self._failure: tuple[PipelineError, datetime] | None = None
        self._acquiring = threading.Lock()
        self._renewing = threading.Lock()

    @property
    def at_hand(self) -> bool:
        """Whether `current` would answer without waiting for anybody."""
        held = self._held
        return held is not None and held.usable(self._clock.now())

    def current(self) -> Credential:
        """Return a valid credential; waits for one only if none is held. Raises PipelineError, transient or auth."""
        held, now = self._held, self._clock.now()
        if held is None or not held.usable(now):
            return self._obtain()
        if now >= held.renew_at and self._renewing.acquire(blocking=False):
            self._start(self._renew)
            held = self._held or held
        return held.credential

    def refused(self) -> None:
        """Be told that the storage refused the credential: another one is asked for, but not all the time.

        A key may have been rotated, a role granted a moment ago, a token revoked.
        """
        held, now = self._held, self._clock.now()
        if held is not None and now - held.obtained_at >= RETRY:
            self._held = replace(held, renew_at=now)

    def _obtain(self) -> Credential:
        with self._acquiring:
            held, now = self._held, self._clock.now()
            if held is not None and held.usable(now):
                return held.credential  # whoever held the lock got it
            if self._failure is not None and now - self._failure[1] < FAILURE_HOLDS:
                raise _copy(self._failure[0])
            try:
                return self._take(self._acquire())
            except PipelineError as error:
                self._failure = (error, self._clock.now())
                metrics.RENEWALS.labels(self._purpose, "failed").inc()
                raise

    def _renew(self) -> None:
        try:
            with self._acquiring:
                self._take(self._acquire())
        except PipelineError as error:
            self._put_off(error)
        finally:
            self._renewing.release()

    def _take(self, credential: Credential) -> Credential:
        now = self._clock.now()
        end = credential.expires_at
        if end is not None and end <= now:
            raise PipelineError("the credential for Azure had expired when it came", Category.AUTH)
        renew_at = now + REREAD if end is None else end - min(EARLY, (end - now) / 3)
        self._held = _Held(credential=credential, obtained_at=now, renew_at=renew_at)
        self._failure = None
        metrics.RENEWALS.labels(self._purpose, "renewed").inc()
        metrics.EXPIRES.labels(self._purpose).set(0 if end is None else end.timestamp())
        return credential

    def _put_off(self, error: PipelineError) -> None:
        metrics.RENEWALS.labels(self._purpose, "failed").inc()
        held, now = self._held, self._clock.now()
        if held is None:
            return
        end = held.credential.expires_at
        left = RETRY if end is None else max(end - now, timedelta(0))
        self._held = replace(held, renew_at=now + min(RETRY, left / 3))
        _log.warning(
            "azure_credential_not_renewed",
            error=error.text,
            category=error.category.value,
            still_valid_s=None if end is None else round(left.total_seconds()),
        )


def _copy(error: PipelineError) -> PipelineError:
    """Return a failure anew: one raised in several threads would gather the frames of all of them."""
    return PipelineError(error.text, error.category, reason=error.reason)


def _in_thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, name="azure-credential", daemon=True).start()
