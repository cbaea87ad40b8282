"""Promises of the circuit: a model of its own follows every interleaving of tries, results, silences and time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from kafka_pipeline.common.resilience.circuit import Circuit, CircuitSettings, CircuitState, Permit, Verdict

RESET_S = 60.0
LEASE_S = 35.0
VERDICTS = st.sampled_from(Verdict)


def circuit(threshold: int = 3) -> Circuit:
    """Make a closed circuit."""
    return Circuit(CircuitSettings(failure_threshold=threshold, reset_s=RESET_S, probe_lease_s=LEASE_S))


def admitted(permit: Permit | None) -> Permit:
    """Return the permit, which must be there."""
    assert permit is not None
    return permit


def opened(at_s: float = 0.0) -> Circuit:
    """Make a circuit that opened, and has given its second opinion."""
    made = circuit()
    for _ in range(3):
        made.report(admitted(made.admit(at_s)), Verdict.FAILURE, at_s)
    made.report(admitted(made.second_opinion(at_s)), Verdict.FAILURE, at_s)
    return made


class Try:
    """What the model knows of one try: whether it began when the circuit was closed, or as the probe of an opening."""

    def __init__(self, permit: Permit, epoch: int, *, is_probe: bool) -> None:
        """Remember in which epoch it began; each closing, opening and probe begins a new one."""
        self.permit = permit
        self.epoch = epoch
        self.is_probe = is_probe


class CircuitModel(RuleBasedStateMachine):
    """[CBR-1..4]: the circuit agrees with a model told in other words, whatever happens in whatever order."""

    tries: Bundle[Try] = Bundle("tries")

    def __init__(self) -> None:
        """Begin closed, at time zero."""
        super().__init__()
        self.circuit = circuit()
        self.now_s = 0.0
        self.epoch = 0
        self.in_a_row = 0
        self.is_closed = True
        self.reset_at_s = 0.0
        self.probe_until_s: float | None = None
        self.opinions = 0

    def may_probe(self) -> bool:
        """Whether the reset time is over and no probe with a valid lease is under way."""
        busy = self.probe_until_s is not None and self.now_s < self.probe_until_s
        return self.now_s >= self.reset_at_s and not busy

    def begin(self, permit: Permit | None, *, expected: bool) -> Try | MultipleResults[Try]:
        """Compare a permit with what was expected, and follow it."""
        assert expected == (permit is not None)
        if permit is None:
            return multiple()
        if self.is_closed:
            return Try(permit, self.epoch, is_probe=False)
        self.epoch += 1
        self.probe_until_s = self.now_s + LEASE_S
        self.opinions = 0
        return Try(permit, self.epoch, is_probe=True)

    @rule(seconds=st.sampled_from([0.0, 1.0, LEASE_S, RESET_S / 2, RESET_S]))
    def time_passes(self, seconds: float) -> None:
        """Nothing else happens for a while."""
        self.now_s += seconds

    @rule(target=tries)
    def somebody_asks(self) -> Try | MultipleResults[Try]:
        """Admit everybody when closed, nobody when open, a single probe when half-open."""
        return self.begin(self.circuit.admit(self.now_s), expected=self.is_closed or self.may_probe())

    @rule(target=tries)
    def somebody_wants_a_second_opinion(self) -> Try | MultipleResults[Try]:
        """Once after each opening the reset time is not waited for."""
        expected = self.is_closed or self.may_probe() or self.opinions == 1
        return self.begin(self.circuit.second_opinion(self.now_s), expected=expected)

    @rule(asked=consumes(tries), verdict=VERDICTS)
    def a_result_arrives(self, asked: Try, verdict: Verdict) -> None:
        """Count a result only in the epoch its try began in; a try that never reports needs no rule."""
        self.circuit.report(asked.permit, verdict, self.now_s)
        if asked.epoch != self.epoch:
            return
        if verdict is Verdict.SUCCESS:
            self.in_a_row = 0
            if asked.is_probe:
                self.is_closed = True
                self.probe_until_s = None
                self.epoch += 1
        elif verdict is Verdict.FAILURE:
            self.in_a_row += 1
            if asked.is_probe or self.in_a_row == 3:
                self.is_closed = False
                self.probe_until_s = None
                self.reset_at_s = self.now_s + RESET_S
                self.opinions = 0 if asked.is_probe else 1
                self.epoch += 1
        else:
            self.probe_until_s = None

    @precondition(lambda self: not self.is_closed)
    @rule()
    def the_service_comes_back(self) -> None:
        """From every state the circuit finds back: after the longest wait one successful probe closes it."""
        self.now_s += RESET_S + LEASE_S
        assert self.circuit.wait_s(self.now_s) == 0.0
        self.circuit.report(admitted(self.circuit.admit(self.now_s)), Verdict.SUCCESS, self.now_s)
        self.epoch += 2
        self.in_a_row = 0
        self.is_closed = True
        self.probe_until_s = None

    @invariant()
    def closed_and_counts_agree(self) -> None:
        """Compare the state, the count and the wait with the model."""
        assert self.is_closed == (self.circuit.state is CircuitState.CLOSED)
        assert self.in_a_row == self.circuit.failures
        free = self.is_closed or self.may_probe()
        assert free == (self.circuit.wait_s(self.now_s) == 0.0)
        assert self.circuit.wait_s(self.now_s) <= max(RESET_S, LEASE_S)


TestCircuitModel = CircuitModel.TestCase
TestCircuitModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() -> None:
    """[CBR-1] Two failures, a success, two failures: closed. A third in a row: open."""
    made = circuit()
    results = [Verdict.FAILURE, Verdict.FAILURE, Verdict.SUCCESS, Verdict.FAILURE, Verdict.UNCOUNTED, Verdict.FAILURE]
    for verdict in results:
        made.report(admitted(made.admit(0.0)), verdict, 0.0)
    assert made.state is CircuitState.CLOSED
    made.report(admitted(made.admit(0.0)), Verdict.FAILURE, 0.0)
    assert (made.state, made.wait_s(0.0)) == (CircuitState.OPEN, RESET_S)


def test_one_probe_at_a_time_after_the_reset_time_and_one_success_closes() -> None:
    """[CBR-2, CBR-3] Nobody before the time, one after it, everybody after its success."""
    made = opened()
    assert made.admit(RESET_S - 0.1) is None
    probe = admitted(made.admit(RESET_S))
    assert (made.state, made.admit(RESET_S)) == (CircuitState.HALF_OPEN, None)
    made.report(probe, Verdict.SUCCESS, RESET_S)
    assert made.admit(RESET_S) is not None
    assert (made.state, made.failures) == (CircuitState.CLOSED, 0)


def test_a_failed_probe_opens_it_again_for_the_whole_reset_time() -> None:
    """[CBR-3] The reset time starts anew, and without another second opinion."""
    made = opened()
    made.report(admitted(made.admit(RESET_S)), Verdict.FAILURE, 70.0)
    assert (made.state, made.wait_s(70.0)) == (CircuitState.OPEN, RESET_S)
    assert made.second_opinion(70.0) is None


def test_an_uncounted_probe_frees_its_place_and_changes_nothing() -> None:
    """[CBR-4] Cancelled, auth or permanent: the next caller may probe at once."""
    made = opened()
    made.report(admitted(made.admit(RESET_S)), Verdict.UNCOUNTED, RESET_S)
    assert made.state is CircuitState.HALF_OPEN
    assert made.admit(RESET_S) is not None


def test_a_probe_that_never_reports_gives_its_place_up() -> None:
    """A lost probe must not keep the circuit half-open for ever; its late result decides nothing any more."""
    made = opened()
    lost = admitted(made.admit(RESET_S))
    assert made.admit(RESET_S + LEASE_S - 0.1) is None
    younger = admitted(made.admit(RESET_S + LEASE_S))
    states = []
    for permit, verdict in ((lost, Verdict.FAILURE), (younger, Verdict.SUCCESS)):
        made.report(permit, verdict, RESET_S + LEASE_S)
        states.append(made.state)
    assert states == [CircuitState.HALF_OPEN, CircuitState.CLOSED]


@pytest.mark.parametrize("verdict", Verdict)
def test_a_late_result_of_a_call_begun_before_the_opening_changes_nothing(verdict: Verdict) -> None:
    """Neither does it close an open circuit, nor decide for the probe, nor count after the closing."""
    made = circuit()
    late = [admitted(made.admit(0.0)) for _ in range(3)]
    for _ in range(3):
        made.report(admitted(made.admit(0.0)), Verdict.FAILURE, 0.0)
    made.report(late[0], verdict, 1.0)
    assert (made.state, made.wait_s(1.0)) == (CircuitState.OPEN, RESET_S - 1.0)
    probe = admitted(made.admit(RESET_S))
    made.report(late[1], verdict, RESET_S)
    assert (made.state, made.admit(RESET_S)) == (CircuitState.HALF_OPEN, None)
    made.report(probe, Verdict.SUCCESS, RESET_S)
    made.report(late[2], verdict, RESET_S)
    assert (made.state, made.failures) == (CircuitState.CLOSED, 0)


def test_a_second_opinion_right_after_the_opening_can_close_it() -> None:
    """What was answered before is answered still: the failures were not the service's."""
    made = circuit(threshold=1)
    made.report(admitted(made.admit(0.0)), Verdict.FAILURE, 0.0)
    assert made.admit(0.0) is None
    made.report(admitted(made.second_opinion(0.0)), Verdict.SUCCESS, 0.0)
    assert made.state is CircuitState.CLOSED


def test_a_second_opinion_that_says_nothing_does_not_shorten_the_reset_time() -> None:
    """A cancelled one leaves things as they were."""
    made = circuit(threshold=1)
    made.report(admitted(made.admit(0.0)), Verdict.FAILURE, 0.0)
    made.report(admitted(made.second_opinion(0.0)), Verdict.UNCOUNTED, 0.0)
    assert (made.admit(1.0), made.second_opinion(1.0), made.wait_s(0.0)) == (None, None, RESET_S)


@pytest.mark.parametrize("wrong", [{"failure_threshold": 0}, {"reset_s": 0.0}, {"probe_lease_s": -1.0}])
def test_limits_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    """A circuit that opens after nothing, or never probes, is no circuit."""
    with pytest.raises(ValueError, match="positive"):
        CircuitSettings(**wrong)  # type: ignore[arg-type]  # the point of the test
