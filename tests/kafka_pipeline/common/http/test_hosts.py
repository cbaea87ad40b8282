"""Files of a host that is down wait, and no others; a single bad file says nothing of its host (settled point 7)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.failures import Category, PipelineError, UnavailableError
from kafka_pipeline.common.http.errors import OF_THE_HOST, DownloadError, Fault
from kafka_pipeline.common.http.hosts import MAX_PAUSE_S, HostGates
from kafka_pipeline.common.resilience.breaker import CircuitSettings

HOST = "media.s3.example.com"
LINK = f"https://{HOST}/a?X-Amz-Signature=SECRET"
OTHER = "http://localhost:9000/b?X-Amz-Signature=SECRET"
RESET_S = 60.0


class ToldClock:
    """A clock that moves when somebody sleeps, and when it is told to."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.fromtimestamp(self.time_s, UTC)

    def monotonic(self) -> float:
        """Return what was told."""
        return self.time_s

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time_s += seconds
        await asyncio.sleep(0)


def _fail(error: Exception | None) -> None:
    if error:
        raise error


class Kit:
    """Gates of two hosts that close after three failures, with a clock of their own."""

    def __init__(self) -> None:
        self.clock = ToldClock()
        self.gates = HostGates(
            [HOST, "localhost:9000"],
            CircuitSettings(failure_threshold=3, reset_s=RESET_S, probe_lease_s=600),
            places=2,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def download(
        self, file_id: str, fault: Fault | None = None, *, url: str = LINK, retry_after_s: float | None = None
    ) -> str:
        """Return `arrived`, `failed` or `waits`."""
        status = {Fault.NOT_FOUND: 404, Fault.FORBIDDEN: 403, Fault.SERVER_ERROR: 503}.get(fault or Fault.TLS)
        error = DownloadError(fault, host=HOST, status=status, retry_after_s=retry_after_s) if fault else None
        told: PipelineError
        try:
            async with self.gates.passing(url, file_id=file_id):
                _fail(error)
        except PipelineError as caught:
            told = caught
        else:
            return "arrived"
        assert "SECRET" not in told.text
        assert told is error or (isinstance(told, UnavailableError) and told.alone)
        return "failed" if told is error else "waits"

    async def down(self) -> None:
        """Let the host fail until its files wait."""
        outcomes = [await self.download(str(number), Fault.NETWORK) for number in range(3)]
        assert outcomes == ["failed", "failed", "waits"]


@pytest.fixture
def kit() -> Kit:
    """Return the gates."""
    return Kit()


async def test_files_of_a_host_that_is_down_wait_and_others_go_on(kit: Kit) -> None:
    """Also the file whose failure showed it: by then it is known to be the host's. Nothing is tried meanwhile."""
    await kit.down()
    assert await kit.download("4") == "waits"
    assert await kit.download("4", url=OTHER) == "arrived"
    assert await kit.download("4", url="https://unknown.example.com/c") == "arrived"
    assert await kit.download("4", url="no link at all") == "arrived"


async def test_one_probe_after_the_reset_time_decides_for_all(kit: Kit) -> None:
    """Who waits is told when; a failed probe burns no attempt and begins another wait; an answer ends it."""
    await kit.down()
    with pytest.raises(UnavailableError) as refused:
        async with kit.gates.passing(LINK, file_id="5"):
            pass
    await refused.value.until()
    assert kit.clock.time_s >= RESET_S
    assert await kit.download("5", Fault.TIMED_OUT) == "waits"
    assert await kit.download("6") == "waits"
    kit.clock.time_s += RESET_S
    assert [await kit.download("6"), await kit.download("7"), await kit.download("8")] == ["arrived"] * 3


async def test_two_never_probe_at_once(kit: Kit) -> None:
    """The second waits until the first has reported."""
    await kit.down()
    kit.clock.time_s += RESET_S
    async with kit.gates.passing(LINK, file_id="5"):
        assert await kit.download("6") == "waits"
    assert await kit.download("6") == "arrived"


async def test_any_answer_shows_that_the_host_is_there(kit: Kit) -> None:
    """A file that is gone, or forbidden, is the file's matter: the host answered."""
    await kit.download("1", Fault.SERVER_ERROR)
    await kit.download("2", Fault.SERVER_ERROR)
    assert await kit.download("3", Fault.NOT_FOUND) == "failed"
    assert await kit.download("4", Fault.SERVER_ERROR) == "failed"
    assert await kit.download("5") == "arrived"
    await kit.down()
    kit.clock.time_s += RESET_S
    assert await kit.download("5", Fault.FORBIDDEN) == "failed"
    assert await kit.download("6") == "arrived"


async def test_what_never_reached_the_host_says_nothing_of_it(kit: Kit) -> None:
    """A refused link or a full cache neither opens a circuit nor closes it."""
    await kit.download("1", Fault.NETWORK)
    await kit.download("2", Fault.NETWORK)
    for fault in (Fault.LINK_REFUSED, Fault.NO_ROOM, Fault.CACHE_UNWRITABLE, Fault.SINK_SLOW):
        assert await kit.download("3", fault) == "failed"
    assert await kit.download("3", Fault.NETWORK) == "waits"


@given(others=st.integers(0, 2), times=st.integers(1, 30))
@settings(max_examples=50)
def test_a_file_that_fails_for_ever_never_makes_its_host_wait(others: int, times: int) -> None:
    """It fails, is counted once, and ends in its dead letters; it must not wait for a host that is there."""

    async def story() -> None:
        kit = Kit()
        for number in range(others - 1):
            await kit.download(f"other-{number}", Fault.SHORT_BODY)
        assert {await kit.download("bad", Fault.SHORT_BODY) for _ in range(times)} == {"failed"}

    asyncio.run(story())


STEPS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from([None, *Fault]), st.sampled_from([0.0, 1.0, RESET_S])),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=200)
def test_a_gate_is_closed_exactly_while_enough_different_files_failed_in_a_row(
    steps: list[tuple[str, Fault | None, float]],
) -> None:
    """Any course of downloads against a model of plain numbers; and a wait always ends."""

    async def story() -> None:
        kit = Kit()
        failing: set[str] = set()
        down_until_s: float | None = None
        for file_id, fault, pause_s in steps:
            kit.clock.time_s += pause_s
            outcome = await kit.download(file_id, fault)
            if down_until_s is not None and kit.clock.time_s < down_until_s:
                assert outcome == "waits"
                continue
            answered = fault is None or fault in {Fault.NOT_FOUND, Fault.FORBIDDEN}
            if fault in OF_THE_HOST and (down_until_s is not None or file_id not in failing):
                failing.add(file_id)
                if down_until_s is not None or len(failing) == 3:
                    down_until_s = kit.clock.time_s + RESET_S
            if answered:
                failing, down_until_s = set(), None
            waits = fault in OF_THE_HOST and down_until_s is not None
            assert outcome == ("waits" if waits else "arrived" if fault is None else "failed")

    asyncio.run(story())


@pytest.mark.parametrize(("wish_s", "pause_s"), [(7.0, 7.0), (3_600.0, MAX_PAUSE_S)])
async def test_a_pause_that_a_host_asks_for_is_kept_by_all_its_files(kit: Kit, wish_s: float, pause_s: float) -> None:
    """Settled point 17: bounded by a minute. The file that met it carries the whole wish in its error."""
    assert await kit.download("1", Fault.THROTTLED, retry_after_s=wish_s) == "failed"
    kit.clock.time_s += pause_s - 1
    with pytest.raises(UnavailableError) as refused:
        async with kit.gates.passing(LINK, file_id="2"):
            pass
    assert refused.value.reason == "host_throttled"
    assert await kit.download("2", url=OTHER) == "arrived"
    await refused.value.until()
    assert await kit.download("2") == "arrived"


async def test_a_host_bears_so_many_files_at_once_and_keeps_no_other_waiting(kit: Kit) -> None:
    """The third waits for a place; a file of another host, and one of no known host, does not."""
    async with kit.gates.place(LINK), kit.gates.place(LINK):
        third = asyncio.ensure_future(kit.gates.place(LINK).__aenter__())
        for url in (OTHER, OTHER, "https://unknown.example.com/c", "no link at all"):
            async with kit.gates.place(url):
                pass
        await asyncio.sleep(0)
        assert not third.done()
    await third


async def test_other_failures_pass_unchanged(kit: Kit) -> None:
    """A lake that is away is no matter of the host, however often."""
    for _ in range(5):
        with pytest.raises(PipelineError, match="the lake"):
            async with kit.gates.passing(LINK, file_id="1"):
                raise PipelineError("the lake is away", Category.TRANSIENT)
    assert await kit.download("1") == "arrived"
