"""Looks at everything a pipeline needs, before it is started or when it does not work: one finding for each part.

Every part is looked at beside the others, with a time-out of its own, and whatever happens to one is a finding, never
an exception. What is written (a small file in the lake, one in the cache) is deleted again. No text holds a secret.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import Final

import aiohttp

from kafka_pipeline.claimx.api import ClaimXApiSettings
from kafka_pipeline.claimx.api_client import ClaimXApiClient
from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.claimx.topic_drift import TopicState, drift, least_kept_s, state_of
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.maintenance import TableKeeper
from kafka_pipeline.common.lake.objects import check_writable
from kafka_pipeline.common.messaging import BrokerUnavailableError, MessagingError
from kafka_pipeline.config import ConfigError, PipelineConfig

SKEW_TOLD: Final = timedelta(seconds=5)
"""HTTP tells whole seconds, and takes some time to tell them."""
SKEW_HARMS: Final = timedelta(seconds=60)
"""Answers of the API are ordered by our clock, links and tokens end by theirs."""
LEAST_FREE_BYTES: Final = 2**30
_BROKER_S: Final = 10.0


class Status(str, Enum):
    """How a part is."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """It works, and something about it is worth knowing."""
    FAILED = "failed"
    """Work that needs it will not be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about a part; without a remedy nothing need be done."""

    check: str
    status: Status
    told: str
    remedy: str | None = None


Found = tuple[Status, str, str | None]
"""Status, what is told, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part, how to look at it, and how long that may take."""

    name: str
    look: Callable[[], Awaitable[Found]]
    timeout_s: float
    remedy: str
    """What to do if it does not answer in time, or fails in a way that nobody foresaw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found, and whether something is still waited for that will not come."""

    findings: Sequence[Finding]
    timed_out: bool

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(finding.status is not Status.FAILED for finding in self.findings)


def checks(config: PipelineConfig, environ: Mapping[str, str], *, clock: Clock = SYSTEM_CLOCK) -> tuple[Check, ...]:
    """Return the checks of a pipeline with this configuration, in the order in which they are told."""
    doctor = _Doctor(config, environ, clock)
    network = "check the address, the network and the firewall"
    return (
        Check(name="broker", look=doctor.broker, timeout_s=20, remedy=network),
        Check(name="topics", look=doctor.topics, timeout_s=30, remedy="see the check of the broker"),
        Check(name="api", look=doctor.api, timeout_s=config.claimx_api_timeout_seconds + 5, remedy=network),
        Check(name="lake", look=doctor.lake, timeout_s=60, remedy="check LAKE_URL, the credential and the network"),
        Check(name="clock", look=doctor.clock, timeout_s=15, remedy="see the check of the api"),
        Check(name="disk", look=doctor.disk, timeout_s=15, remedy="check that the disk of the folder answers at all"),
    )


async def examine(wanted: Sequence[Check]) -> Examination:
    """Look at all parts side by side. Raises nothing."""
    results = await asyncio.gather(*map(_examined, wanted))
    return Examination(findings=[finding for finding, _ in results], timed_out=any(late for _, late in results))


async def _examined(check: Check) -> tuple[Finding, bool]:
    looking = asyncio.ensure_future(check.look())
    await asyncio.wait([looking], timeout=check.timeout_s)
    if not looking.done():
        looking.cancel()  # and not waited for: what hangs may not even hear it
        told = f"no answer within {check.timeout_s:g} s"
        return Finding(check=check.name, status=Status.FAILED, told=told, remedy=check.remedy), True
    try:
        status, told, remedy = looking.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        told, remedy = _of_failure(error, check.remedy)
        status = Status.FAILED
    return Finding(check=check.name, status=status, told=told, remedy=remedy), False


def _of_failure(error: Exception, remedy: str) -> tuple[str, str | None]:
    """Return what to tell of an exception. Our own texts name their remedy themselves."""
    match error:
        case ConfigError():
            told = [" ".join(part for part in (each.field, each.what) if part) for each in error.problems]
            return "; ".join(told), "; ".join(dict.fromkeys(each.remedy for each in error.problems))
        case PipelineError():
            return error.text, None
        case MessagingError():
            return " ".join(str(error).split()), None
        case OSError():
            return error.strerror or type(error).__name__, remedy
        case _:
            return f"unexpected {type(error).__name__}", remedy


class _Doctor:
    """Looks at one part in each method. Raises what it meets."""

    def __init__(self, config: PipelineConfig, environ: Mapping[str, str], clock: Clock) -> None:
        self._config = config
        self._environ = environ
        self._clock = clock

    async def broker(self) -> Found:
        broker = open_broker(self._config, self._environ)
        try:
            await broker.check(_BROKER_S)
        finally:
            await broker.close()
        return Status.OK, f"{broker.description} answers", None

    async def topics(self) -> Found:
        config = self._config
        topics = Topics.from_config(config)
        broker = open_broker(config, self._environ)
        admin = broker.admin()
        try:
            found = await admin.describe(topics.all)
        except BrokerUnavailableError:
            return Status.FAILED, "not seen, for no broker answers", "see the check of the broker"
        finally:
            await admin.close()
            await broker.close()
        missing = [name for name in topics.all if name not in found]
        if missing and config.kafka_bootstrap_servers is None:
            return Status.OK, f"{len(missing)} are made when the first worker starts", None
        if missing:
            told = f"{len(missing)} of {len(topics.all)} are missing ({', '.join(missing[:3])}{_more(missing)})"
            return Status.FAILED, told, "run `kafka-pipeline claimx-topics` to create them"
        kept_s = least_kept_s(topics, config.claimx_retry_delays_seconds)
        dead = {topics.dead_letters(kind) for kind in DeadLetterKind}
        drifts = {
            each.name: drift(each, found[each.name], least_kept_s=kept_s[each.name], is_last=each.name in dead)
            for each in new_topics(topics, config)
        }
        for state, status in ((TopicState.WRONG, Status.FAILED), (TopicState.DIFFERS, Status.WARNING)):
            names = [name for name, those in drifts.items() if state_of(those) is state]
            if names:
                what = next(each.what for each in drifts[names[0]] if each.state is state)
                told = f"{names[0]}{_more(names, 1)}: {what}"
                return status, told, "run `kafka-pipeline claimx-topics --check` for all of it"
        return Status.OK, f"all {len(topics.all)} are there", None

    async def api(self) -> Found:
        config = self._config
        url = config.require_claimx_api_url()
        config.require_claimx_api_sender_username()
        settings = ClaimXApiSettings(
            url=url, token=config.claimx_api_token(self._environ), timeout_s=config.claimx_api_timeout_seconds
        )
        try:
            async with ClaimXApiClient(settings, clock=self._clock) as client:
                await client.check()
        except PipelineError as error:
            if error.category is Category.AUTH:
                variable = config.claimx_api_token_env
                remedy = f"check the variable {variable}: a newly issued key replaces the old one"
                return Status.FAILED, f"{url} refuses the token", remedy
            told = f"{url} does not answer as it should ({error.text})"
            return Status.FAILED, told, "check claimx_api_url and the network"
        return Status.OK, f"{url} answers and accepts the token", None

    async def lake(self) -> Found:
        location = lake_location(self._config, self._environ, clock=self._clock)
        await check_writable(location)
        survey = await asyncio.to_thread(TableKeeper(EVENTS, location).survey)
        tables = "no tables yet" if survey is None else f"{EVENTS.name} has {survey.files} files"
        return Status.OK, f"{location.root} can be written, listed and read; {tables}", None

    async def clock(self) -> Found:
        """Compare with the API's clock: it dates every answer, also one that refuses us."""
        url = self._config.claimx_api_url
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            if url is None:
                raise TimeoutError
            async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
                asked_at = self._clock.now()
                async with session.get(url, allow_redirects=False) as response:
                    answered_at = self._clock.now()
                    return skew(response.headers.get("Date"), asked_at=asked_at, answered_at=answered_at)
        except (aiohttp.ClientError, OSError):  # the check of the API says why
            return Status.WARNING, "not compared, for no API answers", "see the check of the api"

    async def disk(self) -> Found:
        config = self._config
        folders = {"cache_dir": config.cache_location}
        if config.kafka_bootstrap_servers is None or config.lake_url is None:
            folders["data_dir"] = config.data_dir
        found = [await asyncio.to_thread(folder, name, path, config) for name, path in folders.items()]
        worst = [each for status in (Status.FAILED, Status.WARNING) for each in found if each[0] is status]
        return worst[0] if worst else (Status.OK, "; ".join(told for _, told, _ in found), None)


def skew(date: str | None, *, asked_at: datetime, answered_at: datetime) -> Found:
    """Judge our clock by the Date header of an answer; both times are ours, aware."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        theirs = None
    if theirs is None or theirs.tzinfo is None:
        return Status.WARNING, "the API does not say what time it is", "compare the clock yourself: is NTP running?"
    # It was somewhere within its second, and answered somewhere between question and answer.
    ahead = max(asked_at - theirs - timedelta(seconds=1), theirs - answered_at, timedelta(0))
    if ahead <= SKEW_TOLD:
        return Status.OK, "agrees with the API's to a few seconds", None
    way = "ahead of" if asked_at > theirs else "behind"
    told = f"this clock is {ahead.total_seconds():.0f} s {way} the API's"
    status = Status.FAILED if ahead > SKEW_HARMS else Status.WARNING
    return status, told, "let NTP set it: rows are ordered by it, and links and tokens end by it"


def folder(name: str, path: Path, config: PipelineConfig) -> Found:
    """Judge a folder by writing into it, and by the room beside it. Blocks."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"disk?")
        probe.unlink()
        free_bytes = shutil.disk_usage(path).free
    except OSError as error:
        told = f"{path} cannot be written ({error.strerror})"
        return Status.FAILED, told, f"set {name.upper()} to a folder that this user may write, or free the disk"
    told = f"{path} can be written, {_gib(free_bytes)} free"
    if free_bytes < LEAST_FREE_BYTES:
        return Status.FAILED, told, f"free the disk, or set {name.upper()} to another one"
    if name == "cache_dir" and free_bytes < config.cache_max_bytes:
        remedy = f"free the disk, or lower cache_max_bytes ({_gib(config.cache_max_bytes)})"
        return Status.WARNING, told, remedy
    return Status.OK, told, None


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _more(names: Sequence[str], shown: int = 3) -> str:
    more = len(names) - shown
    return f" and {more} more" if more > 0 else ""
