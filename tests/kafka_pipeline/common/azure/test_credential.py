"""A credential is renewed before it ends, by one request for all who use it, and an outage is not noticed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.common.azure.credential import (
    EARLY,
    REREAD,
    RETRY,
    Credential,
    CredentialForm,
    CurrentCredential,
)
from kafka_pipeline.common.failures import Category, PipelineError

START = datetime(2026, 3, 2, 14, tzinfo=UTC)
SECRET = "hunter2-invented-secret"


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Return the time of day."""
        return self.time

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return (self.time - START).total_seconds()

    def pass_(self, span: timedelta) -> None:
        """Move on."""
        self.time += span


class Issuer:
    """Gives out tokens that live for a while, each with its number; or fails."""

    def __init__(self, time: Time, lifetime: timedelta | None = timedelta(hours=1)) -> None:
        self.time = time
        self.lifetime = lifetime
        self.failure: PipelineError | None = None
        self.asked = 0
        self.issued = 0

    def __call__(self) -> Credential:
        """Return the next one."""
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        self.issued += 1
        end = None if self.lifetime is None else self.time.now() + self.lifetime
        return Credential(form=CredentialForm.TOKEN, secret=f"{SECRET}-{self.issued}", expires_at=end)


@pytest.fixture
def time() -> Time:
    """Return the clock."""
    return Time()


@pytest.fixture
def issuer(time: Time) -> Issuer:
    """Return who gives out credentials."""
    return Issuer(time)


@pytest.fixture
def current(issuer: Issuer, time: Time) -> CurrentCredential:
    """Return what is tested; renewals run at once."""
    return CurrentCredential(issuer, clock=time, start=lambda call: call())


def _number(credential: Credential) -> int:
    return int(credential.secret.rpartition("-")[2])


def test_a_fresh_credential_is_asked_for_once(current: CurrentCredential, issuer: Issuer, time: Time) -> None:
    """Everyone gets the one that is held until its renewal is due."""
    assert not current.at_hand
    given_out = {_number(current.current()) for _ in range(5)}
    time.pass_(timedelta(hours=1) - EARLY - timedelta(seconds=1))
    assert given_out | {_number(current.current())} == {1}
    assert issuer.asked == 1
    assert current.at_hand


def test_it_is_renewed_before_it_ends_and_nobody_waits(issuer: Issuer, time: Time) -> None:
    """Whoever finds the renewal due gets the old one, which is still good; the next one gets the new one."""
    waiting: list[Callable[[], None]] = []
    current = CurrentCredential(issuer, clock=time, start=waiting.append)
    current.current()
    time.pass_(timedelta(hours=1) - EARLY)
    assert [_number(current.current()) for _ in range(3)] == [1, 1, 1]
    assert len(waiting) == 1, "one renewal, however many find it due"
    waiting.pop()()
    assert _number(current.current()) == 2


def test_a_short_life_is_renewed_after_two_thirds(current: CurrentCredential, issuer: Issuer, time: Time) -> None:
    """What lives for less than the usual margin is not renewed all the time."""
    issuer.lifetime = timedelta(seconds=30)
    current.current()
    time.pass_(timedelta(seconds=19))
    current.current()
    assert issuer.asked == 1
    time.pass_(timedelta(seconds=1))
    current.current()
    assert issuer.asked == 2


def test_an_outage_is_not_noticed_while_the_old_one_is_valid(
    current: CurrentCredential, issuer: Issuer, time: Time
) -> None:
    """It is asked again after pauses, told in the log without a secret, and the new one counts once it is there."""
    current.current()
    time.pass_(timedelta(hours=1) - EARLY)
    issuer.failure = PipelineError("Entra ID answers HTTP 503", Category.TRANSIENT)
    with capture_logs() as logs:
        for _ in range(10):
            assert _number(current.current()) == 1
        assert issuer.asked == 2, "one attempt a pause"
        time.pass_(RETRY)
        assert _number(current.current()) == 1
    assert issuer.asked == 3
    assert [(line["event"], line["error"], line["still_valid_s"]) for line in logs] == [
        ("azure_credential_not_renewed", "Entra ID answers HTTP 503", 600),
        ("azure_credential_not_renewed", "Entra ID answers HTTP 503", 570),
    ]
    assert SECRET not in str(logs)
    issuer.failure = None
    time.pass_(RETRY)
    current.current()
    assert _number(current.current()) == 2


def test_when_the_old_one_has_ended_the_failure_is_told(current: CurrentCredential, issuer: Issuer, time: Time) -> None:
    """With the category of what went wrong, and the first success ends it."""
    current.current()
    issuer.failure = PipelineError("Entra ID answers HTTP 503", Category.TRANSIENT)
    time.pass_(timedelta(hours=1))
    with pytest.raises(PipelineError, match="HTTP 503") as caught:
        current.current()
    assert caught.value.category is Category.TRANSIENT
    issuer.failure = None
    time.pass_(timedelta(seconds=2))
    assert _number(current.current()) == 2


def test_those_who_wait_in_an_outage_cause_one_request(issuer: Issuer, time: Time) -> None:
    """Eight threads without a credential ask once and all get the failure; each gets its own exception."""
    current = CurrentCredential(issuer, clock=time)
    issuer.failure = PipelineError("Entra ID does not answer", Category.TRANSIENT)
    ready = threading.Barrier(8)

    def ask() -> PipelineError:
        ready.wait()
        with pytest.raises(PipelineError) as caught:
            current.current()
        return caught.value

    with ThreadPoolExecutor(8) as threads:
        failures = [future.result() for future in [threads.submit(ask) for _ in range(8)]]
    assert issuer.asked == 1
    assert len({id(failure) for failure in failures}) == 8


def test_a_secret_without_an_end_is_read_again(current: CurrentCredential, issuer: Issuer, time: Time) -> None:
    """A key that was rotated in its file is found."""
    issuer.lifetime = None
    current.current()
    time.pass_(REREAD)
    current.current()
    assert _number(current.current()) == 2


def test_a_refusal_renews_before_the_time_but_not_all_the_time(
    current: CurrentCredential, issuer: Issuer, time: Time
) -> None:
    """A revoked token is replaced; a role that is missing does not make a storm of requests."""
    current.current()
    current.refused()
    current.current()
    assert issuer.asked == 1, "just obtained: another one would be no other"
    time.pass_(RETRY)
    current.refused()
    current.current()
    assert _number(current.current()) == 2
    current.refused()
    current.current()
    assert issuer.asked == 2


def test_a_credential_that_comes_expired_is_refused(current: CurrentCredential, issuer: Issuer) -> None:
    """A SAS that ended yesterday is told as such, not sent."""
    issuer.lifetime = timedelta(days=-1)
    with pytest.raises(PipelineError, match="had expired when it came") as caught:
        current.current()
    assert caught.value.category is Category.AUTH


def test_a_credential_does_not_show_its_secret(current: CurrentCredential) -> None:
    """A repr ends in logs (I10)."""
    assert SECRET not in repr(current.current()) + repr(current) + str(current.current())


def test_a_renewal_runs_beside_its_caller(issuer: Issuer, time: Time) -> None:
    """In a thread of its own: who found it due has the old one before the issuer has answered."""
    may_answer = threading.Event()
    renewed = threading.Event()

    def slowly() -> Credential:
        credential = issuer()
        if issuer.issued > 1:
            assert may_answer.wait(30)
            renewed.set()
        return credential

    current = CurrentCredential(slowly, clock=time)
    current.current()
    time.pass_(timedelta(hours=1) - EARLY)
    assert _number(current.current()) == 1
    may_answer.set()
    assert renewed.wait(30)
    for thread in threading.enumerate():
        if thread.name == "azure-credential":
            thread.join(30)
    assert _number(current.current()) == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 2_000)),
        st.tuples(st.sampled_from(["ask", "fail", "mend", "refuse"]), st.just(0)),
    ),
    max_size=60,
)


@given(steps=STEPS, lifetime_s=st.integers(1, 7_200))
@settings(max_examples=100, deadline=None)
def test_nobody_ever_gets_an_expired_credential(steps: list[tuple[str, int]], lifetime_s: int) -> None:
    """Whatever happens in whatever order: a valid one, or the issuer's failure, and that only with none valid left."""
    time = Time()
    issuer = Issuer(time, timedelta(seconds=lifetime_s))
    current = CurrentCredential(issuer, clock=time, start=lambda call: call())
    newest_end = START
    for step, seconds in steps:
        match step:
            case "pass":
                time.pass_(timedelta(seconds=seconds))
            case "fail":
                issuer.failure = PipelineError("outage", Category.TRANSIENT)
            case "mend":
                issuer.failure = None
            case "refuse":
                current.refused()
            case _:
                try:
                    credential = current.current()
                except PipelineError:
                    assert newest_end <= time.now(), "the old one was still valid"
                else:
                    assert credential.expires_at is not None
                    assert credential.expires_at > time.now()
                    newest_end = max(newest_end, credential.expires_at)
