"""The second worker: ids become facts. It asks the ClaimX API, writes the rows and queues the files."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from kafka_pipeline.claimx import monitoring
from kafka_pipeline.claimx.api import ClaimXApi
from kafka_pipeline.claimx.api_errors import NOT_FOUND
from kafka_pipeline.claimx.handlers import BatchApi, build_handlers, read_project
from kafka_pipeline.claimx.handlers.base import EventHandler, Failed, HandlerContext, HandlerResult, Rows
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Group, Topics
from kafka_pipeline.claimx.writers.entities import EntityTableWriter, StoredMedia
from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.lookup import GroupedLookup
from kafka_pipeline.common.messaging import Message, Record
from kafka_pipeline.common.recent import Recent
from kafka_pipeline.common.runtime.batching import Ordering
from kafka_pipeline.common.runtime.outcomes import Done, Outcome, Skip, Wait
from kafka_pipeline.common.runtime.processor import failure_outcome

_KNOWN_PROJECTS = 100_000
_KNOWN_PROJECTS_S = 30 * 60.0
"""How long a project is taken to have its row without asking again [HND-2]."""

_QUEUED_FILES = 100_000
_QUEUED_FILES_S = 10 * 60.0
"""How long a queued file is not queued again [HND-5]; by then it is stored, and the inventory knows it."""

File = tuple[str, str]
"""Media id and blob path: a renamed file is another file."""

_log = structlog.get_logger(__name__)


class ClaimXEnrichmentWorker:
    """Enriches each event by the handler of its type, one API call for as many events as possible.

    Per batch: make sure that every project has its row [HND-1]; let the handlers ask the API, side by side; write all
    rows; then queue the files that are not stored yet [HND-5]. Rows are durable before any event of the batch is done.
    Each event has its own outcome: a failing one never fails its neighbours [HND-10].
    """

    name = "claimx-enricher"
    ordering = Ordering.KEY

    def __init__(
        self,
        *,
        topics: Topics,
        api: ClaimXApi,
        writer: EntityTableWriter,
        store_signed_links: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.group = topics.group(Group.ENRICHER)
        self.topics = (topics.enrichment_pending,)
        self._downloads_topic = topics.downloads_pending
        self._api = api
        self._writer = writer
        context = HandlerContext(clock=clock, store_signed_links=store_signed_links)
        self._handlers = build_handlers(context)
        self._known_projects = Recent[str](max_items=_KNOWN_PROJECTS, max_age_s=_KNOWN_PROJECTS_S, clock=clock)
        self._queued = Recent[File](max_items=_QUEUED_FILES, max_age_s=_QUEUED_FILES_S, clock=clock)
        self._stored = GroupedLookup(self._read_stored)
        self._owners = GroupedLookup(self._read_owners)

    async def process(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Return Done with the download tasks that follow from each event, or why there are none."""
        outcomes: dict[int, Outcome] = {}
        routed: dict[int, ClaimXEnrichmentTask] = {}
        for index, record in enumerate(records):
            try:
                task = ClaimXEnrichmentTask.from_bytes(record.value)
            except PipelineError as error:
                outcomes[index] = failure_outcome(error)
                continue
            if task.event_type in self._handlers:
                routed[index] = task
            else:
                outcomes[index] = Skip(reason="unsupported_event_type")
                monitoring.ENRICHED.labels(event_type="other", outcome="skipped").inc()
        results = await self._enrich(routed)
        await self._writer.write(Rows.together(result.rows for result in results.values()))
        # Known means that the row is durable: the project's later events rely on it.
        self._known_projects.add(
            result.task.project_id
            for result in results.values()
            if result.failed is None and result.task.event_type == EventType.PROJECT_CREATED.value
        )
        files = await self._files_to_fetch(results.values())
        for index, result in results.items():
            outcomes[index] = self._outcome(result, files)
        return [outcomes[index] for index in range(len(records))]

    # -- asking --------------------------------------------------------------------------------------------------

    async def _enrich(self, routed: Mapping[int, ClaimXEnrichmentTask]) -> dict[int, HandlerResult]:
        if not routed:
            return {}
        tasks = list(routed.values())
        api = BatchApi(self._api, tasks)
        unreachable = await self._ensure_projects_exist(tasks, api)
        results: dict[int, HandlerResult] = {}
        shares: defaultdict[EventHandler, list[int]] = defaultdict(list)
        for index, task in routed.items():
            if task.project_id in unreachable:
                results[index] = HandlerResult(task=task, failed=unreachable[task.project_id])
            else:
                shares[self._handlers[task.event_type]].append(index)
        answers = await asyncio.gather(
            *(handler.handle_batch([routed[index] for index in indices], api) for handler, indices in shares.items())
        )
        for indices, answer in zip(shares.values(), answers, strict=True):
            results.update(zip(indices, answer, strict=True))
        return results

    async def _ensure_projects_exist(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> dict[str, Failed]:
        """Write a row for every project that has none; return the projects for which that failed, and why [HND-1].

        One look at the table for all of them, and one call per missing project. A project whose PROJECT_CREATED is in
        the batch is left to its handler.
        """
        created = {task.project_id for task in tasks if task.event_type == EventType.PROJECT_CREATED.value}
        wanted = {task.project_id: task for task in tasks if task.project_id not in created}
        unknown = [project_id for project_id in wanted if project_id not in self._known_projects]
        monitoring.PREFLIGHT_PROJECTS.labels(found="memory").inc(len(wanted) - len(unknown))
        if not unknown:
            return {}
        existing = await self._writer.existing_projects(unknown)
        monitoring.PREFLIGHT_PROJECTS.labels(found="table").inc(len(existing))
        missing = [project_id for project_id in unknown if project_id not in existing]
        monitoring.PREFLIGHT_PROJECTS.labels(found="api").inc(len(missing))
        answers = await asyncio.gather(*(_read_project(wanted[project_id], api) for project_id in missing))
        await self._writer.write(Rows.together(answer for answer in answers if isinstance(answer, Rows)))
        failed = {
            project_id: answer
            for project_id, answer in zip(missing, answers, strict=True)
            if isinstance(answer, Failed)
        }
        self._known_projects.add(project_id for project_id in unknown if project_id not in failed)
        if waiting := [project_id for project_id, failure in failed.items() if failure.unavailable is not None]:
            _log.info("projects_wait", projects=len(waiting), reason=failed[waiting[0]].reason)
        return failed

    # -- writing -------------------------------------------------------------------------------------------------

    async def _files_to_fetch(self, results: Iterable[HandlerResult]) -> set[File]:
        """Return the files of the batch that are neither stored nor queued a short while ago [HND-5].

        Nor those that belong to another project, which showed them first: a file has one row, one place and one
        project, and would else be fetched again with every event of either [settled point 22]. The rows of the batch
        must be durable by now: the table knows who was first, also among several enrichers.
        """
        found = {_file(task): task.project_id for result in results for task in result.downloads}
        fresh = {file: project_id for file, project_id in found.items() if file not in self._queued}
        media_ids = {media_id for media_id, _ in fresh}
        stored, belongs_to = await asyncio.gather(self._stored.get_all(media_ids), self._owners.get_all(media_ids))
        own = {file for file, project_id in fresh.items() if belongs_to.get(file[0], project_id) == project_id}
        wanted = {
            (media_id, blob_path)
            for media_id, blob_path in own
            if media_id not in stored or not stored[media_id].holds(blob_path)
        }
        if len(own) < len(fresh):
            _log.warning("media_of_another_project", files=len(fresh) - len(own))
        monitoring.DOWNLOADS_QUEUED.labels(decision="queued_before").inc(len(found) - len(fresh))
        monitoring.DOWNLOADS_QUEUED.labels(decision="of_another_project").inc(len(fresh) - len(own))
        monitoring.DOWNLOADS_QUEUED.labels(decision="already_stored").inc(len(own) - len(wanted))
        monitoring.DOWNLOADS_QUEUED.labels(decision="queued").inc(len(wanted))
        return wanted

    async def _read_stored(self, media_ids: Collection[str]) -> Mapping[str, StoredMedia]:
        return await self._writer.stored_media(media_ids)

    async def _read_owners(self, media_ids: Collection[str]) -> Mapping[str, str]:
        return await self._writer.media_projects(media_ids)

    def _outcome(self, result: HandlerResult, files: set[File]) -> Outcome:
        """Return the event's outcome. Each file is queued once per batch: taking it removes it from `files`."""
        failure = None if result.failed is None else result.failed.outcome()
        if isinstance(failure, Wait):
            return failure  # before it takes a file: it comes again, its neighbours do not
        downloads = []
        for task in result.downloads:
            if _file(task) in files:
                files.discard(_file(task))
                downloads.append(task)
        messages = tuple(self._download_message(task) for task in downloads)
        monitoring.ENRICHED.labels(event_type=result.task.event_type, outcome=_label(result.failed)).inc()
        if failure is not None:
            return replace(failure, messages=messages)
        # Remembered only once acknowledged: a file that is remembered and not queued would never be fetched.
        return Done(messages=messages, cleanup=partial(self._remember, [_file(task) for task in downloads]))

    async def _remember(self, files: Iterable[File]) -> None:
        self._queued.add(files)

    def _download_message(self, task: ClaimXDownloadTask) -> Message:
        return Message(topic=self._downloads_topic, key=task.media_id.encode(), value=task.to_bytes())


async def _read_project(task: ClaimXEnrichmentTask, api: ClaimXApi) -> Rows | Failed:
    try:
        return await read_project(api, task)
    except Exception as error:  # noqa: BLE001 - one project never fails the events of another [HND-1, HND-10]
        failure = Failed.of(error)
        if failure.unavailable is not None:
            return failure  # nothing failed: its events wait
        level = "error" if failure.category is Category.UNKNOWN else "warning"
        getattr(_log, level)(
            "project_not_fetched",
            project_id=task.project_id,
            event_id=task.event_id,
            category=failure.category.value,
            reason=failure.reason,
            error=failure.error_text,
        )
        return failure


def _label(failed: Failed | None) -> str:
    """Name the outcome for metrics, in the words of [HND-10]."""
    if failed is None:
        return "success"
    if failed.reason == NOT_FOUND:
        return NOT_FOUND
    return "dead_letter" if failed.category is Category.PERMANENT else "retry"


def _file(task: ClaimXDownloadTask) -> File:
    return task.media_id, task.blob_path
