"""The third worker: files come from their short-lived links, into the local cache or straight into the lake."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import assert_never

from yarl import URL

from kafka_pipeline.claimx.blob_path import is_blob_path, is_safe_id
from kafka_pipeline.claimx.links import is_expired
from kafka_pipeline.claimx.retry.link_refresher import LinkRefresher
from kafka_pipeline.claimx.retry.link_rules import LinkStep, after_failure, before_request
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.transfers.inventory import arrived_before, completed
from kafka_pipeline.claimx.transfers.patience import FilePatience, LakePatience
from kafka_pipeline.claimx.transfers.transfer import Transfer
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.http.errors import DownloadError
from kafka_pipeline.common.http.guard import Origin
from kafka_pipeline.common.lake.lookup import GroupedLookup
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry, Skip, Wait
from kafka_pipeline.common.runtime.processor import failure_outcome

_FILE_SERVICE = "/cxfileservice/"

_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,10})\Z")


class RefusedFileError(PipelineError):
    """A download task asks for something that is never fetched [7.3]."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Category.PERMANENT)


class LinkExpiredAgainError(PipelineError):
    """The link is past its end although it was refreshed in this very attempt (settled point 9)."""

    def __init__(self) -> None:
        super().__init__("the download link has expired again after its refresh", Category.TRANSIENT)


class ClaimXDownloadWorker:
    """Brings each file on its way, and mends its link where that is what stands in the way.

    What the inventory already has under the same path is not fetched again [HND-5]; if no result has come of it yet,
    its result is told, once more at worst. An attempt may take several requests: a fresh link is tried at once, and
    counts as no attempt [LNK-5]. While the API or a host is known to be down, the files that need it wait alone; all
    others go on.
    """

    name = "claimx-downloader"
    ordering = Ordering.KEY

    def __init__(
        self,
        *,
        topics: Topics,
        transfer: Transfer,
        links: LinkRefresher,
        writer: EntityTableWriter,
        patience: LakePatience,
        allowed_extensions: Collection[str],
        expiry_margin_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.group = topics.group(Group.DOWNLOADER)
        self.topics = (topics.downloads_pending,)
        self._results_topic = topics.downloads_results
        self._transfer = transfer
        self._links = links
        self._writer = writer
        self._patience = patience
        self._allowed_extensions = frozenset(extension.lower() for extension in allowed_extensions)
        self._expiry_margin = timedelta(seconds=expiry_margin_s)
        self._stored = GroupedLookup(self._read_stored)
        self._clock = clock

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done with what follows from each file once it is in the cache, or in the lake."""
        return [await self._download(record) for record in records]

    async def _read_stored(self, media_ids: Collection[str]) -> Mapping[str, StoredMedia]:
        return await self._writer.stored_media(media_ids)

    async def _download(self, record: Record) -> Outcome:
        try:
            task = ClaimXDownloadTask.from_bytes(record.value)
            self._check(task)
            stored = await self._stored.get(task.media_id)
        except PipelineError as error:
            return failure_outcome(error)
        if stored is not None and stored.holds(task.blob_path):
            if stored.is_told:
                return Skip(reason="already_stored")
            if (arrived := arrived_before(stored)) is not None:
                # Whoever stored it in direct mode may have died before its result was sent: nobody else would tell it.
                return Done(messages=(completed(task, arrived, topic=self._results_topic, now=self._clock.now()),))
        attempt = _Attempt(
            task,
            transfer=self._transfer,
            links=self._links,
            patience=self._patience.with_file(task.media_id),
            margin=self._expiry_margin,
            clock=self._clock,
        )
        return await attempt.run()

    def _check(self, task: ClaimXDownloadTask) -> None:
        if not (is_safe_id(task.media_id) and is_safe_id(task.project_id)):
            raise RefusedFileError("the media or project id is not a plain word")
        if not is_blob_path(task.blob_path, project_id=task.project_id, media_id=task.media_id):
            raise RefusedFileError("the blob path is not that of its project and media")
        extension = _EXTENSION.search(task.blob_path)
        if extension is not None and extension[1].lower() not in self._allowed_extensions:
            raise RefusedFileError("the file extension is not among allowed_file_extensions")


class _Attempt:
    """One attempt on one file, in the sense of the retry rules: request, fresh link, request."""

    def __init__(
        self,
        task: ClaimXDownloadTask,
        *,
        transfer: Transfer,
        links: LinkRefresher,
        patience: FilePatience,
        margin: timedelta,
        clock: Clock,
    ) -> None:
        self._task = task
        self._transfer = transfer
        self._links = links
        self._patience = patience
        self._margin = margin
        self._clock = clock
        self._fresh = False
        """Whether this attempt has refreshed the link already."""

    async def run(self) -> Outcome:
        """Return how it ended. A task that is to be tried again carries its fresh link on."""
        try:
            while True:
                if (done := await self._step()) is not None:
                    return done
        except PipelineError as error:
            outcome = failure_outcome(error)
        match outcome:
            case Wait():
                return dataclasses.replace(outcome, alone=True)
            case Retry():
                return dataclasses.replace(outcome, value=self._task.to_bytes()) if self._fresh else outcome
            case Dead():
                return outcome
            case _ as never:
                assert_never(never)

    async def _step(self) -> Done | None:
        """Make one request, or get a fresh link; return None where another step should follow."""
        now = self._clock.now()
        step = before_request(self._task.expires_at, now=now, margin=self._margin, fresh=self._fresh)
        failure: DownloadError | None = None
        if step is LinkStep.USE:
            try:
                return await self._transfer.bring(self._task)
            except DownloadError as error:
                failure = error
            except PipelineError as error:
                await self._patience.after(error)
                return None
            step = after_failure(
                failure.fault,
                expired=is_expired(self._task.expires_at, now=self._clock.now(), margin=self._margin),
                refresh_count=self._task.refresh_count,
                fresh=self._fresh,
            )
        if step is LinkStep.REFRESH:
            self._task = await self._links.refreshed(self._task)
            self._fresh = True
            return None
        if step is LinkStep.LATER or failure is None:
            raise LinkExpiredAgainError
        raise failure


def leads_to_login(api: Origin | None, url: URL) -> bool:
    """Tell whether a redirect leads to the service's login page: its own origin, and not the file service there.

    Settled point 12.
    """
    return api is not None and Origin.parse(str(url.origin())) == api and _FILE_SERVICE not in url.path
