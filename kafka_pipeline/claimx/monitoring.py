"""How the ClaimX workers are: what they count, and what their probes are told.

They count beside the loop, the lake and the API client, which count for themselves. Liveness and readiness of a
process are put together here from what its parts know (WP-7.2, [WRK-5]):

| probe | asks | fails |
|---|---|---|
| startup | is everything open, has every worker begun? | until then |
| liveness | does each worker go on, or wait for something? | where only a restart helps |
| readiness | broker, API, lake, cache, dead-letter flood, partitions | while something stands in the way of work |
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Broker, BrokerUnavailableError, MessagingError, TopicPartition
from kafka_pipeline.common.observability.health import Findings
from kafka_pipeline.common.observability.metrics import BYTES_BUCKETS, counter, histogram
from kafka_pipeline.common.runtime.liveness import Signs, stuck

ENRICHED: Final = counter(
    "claimx_events_enriched_total",
    labels=("event_type", "outcome"),
    meaning="Events by type and outcome: success, skipped, not_found, retry or dead_letter [HND-10].",
    remedy="skipped: a type without a handler, stored all the same. dead_letter: `claimx-dlq list --kind enrichment`.",
)
PREFLIGHT_PROJECTS: Final = counter(
    "claimx_preflight_projects_total",
    labels=("found",),
    meaning="Projects looked up before their events were handled: in memory, in the table or in the api.",
    remedy="Mostly `api` for long: many new projects, or the memory of known projects is too small.",
)
DOWNLOADS_QUEUED: Final = counter(
    "claimx_downloads_queued_total",
    labels=("decision",),
    meaning="Files found in media lists: queued, already_stored, queued_before by another event a short while ago, or"
    " of_another_project, which showed the file first and keeps it.",
    remedy="queued alone in a burst of one project's events: the memory of queued files is off. of_another_project:"
    " ClaimX lists a file in two projects; it is stored once, under the first.",
)
CALLS_SAVED: Final = counter(
    "claimx_enrichment_calls_saved_total",
    labels=("how",),
    meaning="API calls that events did not need: grouped with another event of the batch for the same project or task;"
    " remembered, a project that the batch had read before; or cached, one that an earlier batch had read since the"
    " event. Beside them: claimx_api_calls_saved_total.",
    remedy="No remedy needed; near zero in a burst of one project's events: raise worker_batch_records or its seconds."
    " No `cached` while a backlog is worked off: raise claimx_project_cache_size or its seconds.",
)
TRANSFERS: Final = counter(
    "claimx_transfers_total",
    labels=("status",),
    meaning="Files by final status: completed, failed (a retry follows) or failed_permanent (dead-lettered).",
    remedy="failed_permanent: `claimx-dlq list --kind downloads` says why.",
)
TRANSFER_FAILURES: Final = counter(
    "claimx_transfer_failures_total",
    labels=("status", "category"),
    meaning="Files that failed, by what is to follow (status, as in claimx_transfers_total) and by category.",
    remedy="Its rate against that of claimx_transfers_total is the failure rate. auth: the token, or the lake's"
    " credential. transient: the storage or the network. permanent: `claimx-dlq inspect --kind downloads` says why.",
)
LINK_REFRESHES: Final = counter(
    "claimx_link_refreshes_total",
    labels=("result",),
    meaning="Download links past their end: refreshed, or the category of what stood in the way of it.",
    remedy="refreshed for most files: they wait longer than links live, add downloaders. transient: ClaimX lists the"
    " file no more, or without a link. circuit_open: the API is down, and the files wait.",
)
FILE_BYTES: Final = histogram(
    "claimx_file_bytes",
    meaning="Size of the files brought into the lake, in bytes.",
    remedy="No remedy needed; the sum is what storage grows by.",
    buckets=BYTES_BUCKETS,
)

STARTING: Final = "starting"
KAFKA_DISCONNECTED: Final = "kafka_disconnected"
"""Reasons of readiness; what uses a service names its own: the API, the lake, the cache."""

_LOOK_EVERY_S = 10.0
_SILENT_S = 5.0
"""A broker that has not answered for so long counts as gone, before its client gives up."""


class Worker(Protocol):
    """What a running loop tells of itself."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def signs(self) -> Signs:
        """Its signs of life."""

    @property
    def assigned(self) -> bool:
        """Whether it has partitions."""

    @property
    def waiting_for(self) -> frozenset[str]:
        """What its records wait for."""

    @property
    def listens_to(self) -> frozenset[TopicPartition]:
        """From where records are to come now."""

    def looked(self, ends: Mapping[TopicPartition, int]) -> None:
        """Be told where those partitions end."""


class Service(Protocol):
    """A part that workers use, as far as it knows itself."""

    @property
    def hangs(self) -> bool:
        """Whether it does not go on although no outage could explain it."""

    def not_ready(self) -> frozenset[str]:
        """Return what stands in the way of using it."""


class BrokerWatch:
    """Looks every few seconds whether the broker answers, and whether what arrives there is delivered to the workers.

    It looks by a client of its own: a consumer is silent about an outage, and about its own defects.
    """

    def __init__(self, broker: Broker, workers: Sequence[Worker], *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._broker = broker
        self._workers = workers
        self._clock = clock
        self._answers = True
        self._asked_s: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker answered the last time, and does not keep us waiting now."""
        is_silent = self._asked_s is not None and self._clock.monotonic() - self._asked_s > _SILENT_S
        return self._answers and not is_silent

    async def run(self) -> None:
        """Look until cancelled."""
        admin = self._broker.admin()
        try:
            while True:
                self._asked_s = self._clock.monotonic()
                try:
                    listened = frozenset().union(*(worker.listens_to for worker in self._workers))
                    if not listened:
                        await admin.topics()
                    marks = await admin.watermarks(listened)
                    for worker in self._workers:
                        worker.looked({partition: mark.high for partition, mark in marks.items()})
                    self._answers = True
                except MessagingError as error:
                    self._answers = not isinstance(error, BrokerUnavailableError)  # a refusal is an answer
                finally:
                    self._asked_s = None
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            with suppress(MessagingError):
                await admin.close()


def liveness(workers: Sequence[Worker], services: Mapping[str, Service]) -> Findings:
    """Return, for each worker and each part they share, why only a restart can help; nothing in any outage."""
    findings = {worker.name: [f"{worker.name}: {way.value}" for way in stuck(worker.signs)] for worker in workers}
    return findings | {name: [f"{name} hangs"] if service.hangs else [] for name, service in services.items()}


def readiness(
    workers: Sequence[Worker], services: Mapping[str, Service], *, connected: bool, ignoring: frozenset[str]
) -> Findings:
    """Return what stands in the way of work, in words of [WRK-5] where it has them.

    Of what records wait for, the reasons in `ignoring` stand in nobody's way.
    """
    findings: dict[str, list[str]] = {"kafka": [] if connected else [KAFKA_DISCONNECTED]}
    findings |= {name: sorted(service.not_ready()) for name, service in services.items()}
    for worker in workers:
        idle = [] if worker.assigned else [f"{worker.name} has no partitions"]
        findings[worker.name] = [*idle, *sorted(worker.waiting_for - ignoring)]
    return findings


class Watched(Protocol):
    """A pipeline, as its probes see it."""

    @property
    def begun(self) -> bool:
        """Whether every worker has begun."""

    def liveness(self) -> Findings:
        """Return why only a restart can help."""

    def readiness(self) -> Findings:
        """Return what stands in the way of work."""


class HealthBoard:
    """What the probes of a process are told, from before its pipeline is opened until it is gone."""

    def __init__(self) -> None:
        self._pipeline: Watched | None = None
        self._has_begun = False

    def watch(self, pipeline: Watched) -> None:
        """Tell of this pipeline from now on; it is open."""
        self._pipeline = pipeline

    def started(self) -> Findings:
        """Return STARTING until every worker has begun for the first time."""
        self._has_begun = self._has_begun or (self._pipeline is not None and self._pipeline.begun)
        return {"start": [] if self._has_begun else [STARTING]}

    def live(self) -> Findings:
        """Return why only a restart can help; while it opens, its time-outs see to that."""
        return {} if self._pipeline is None else self._pipeline.liveness()

    def ready(self) -> Findings:
        """Return what stands in the way of work."""
        return {"start": [STARTING]} if self._pipeline is None else self._pipeline.readiness()
