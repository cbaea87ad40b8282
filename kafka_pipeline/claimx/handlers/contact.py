"""The policyholder was invited or joined: note when, and who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kafka_pipeline.claimx.api import ClaimXApi
from kafka_pipeline.claimx.handlers.base import (
    NO_ROWS,
    EventHandler,
    Failed,
    HandlerResult,
    Origin,
    Rows,
    youngest,
)
from kafka_pipeline.claimx.handlers.contact_rows import (
    contact_of_export,
    contact_of_payload,
    policyholder_time_row,
)
from kafka_pipeline.claimx.handlers.project import ask_project
from kafka_pipeline.claimx.handlers.project_rows import policyholder_of, project_rows
from kafka_pipeline.claimx.schemas.entities import ContactRow
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.common.failures import PipelineError


class PolicyholderHandler(EventHandler):
    """POLICYHOLDER_INVITED and POLICYHOLDER_JOINED [HND-8].

    The person is the payload's, else the project export's, else nobody: the project's time is written in any case.
    """

    supports_batching: ClassVar[bool] = True
    batch_key: ClassVar[str | None] = "project_id"

    async def enrich(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> list[HandlerResult]:
        """Read the project once if any payload names nobody; only those events fail if it cannot be read."""
        now = self.context.clock.now()
        named = [contact_of_payload(task, now) for task in tasks]
        nameless = [task for task, person in zip(tasks, named, strict=True) if person is None]
        read, policyholder, failed = NO_ROWS, None, None
        if nameless:
            try:
                read, policyholder = await self._read(nameless, api)
            except PipelineError as error:
                failed = Failed.of(error)
        results = []
        for task, person in zip(tasks, named, strict=True):
            if person is None and failed is not None:
                results.append(HandlerResult(task=task, failed=failed))
                continue
            known = contact_of_export(task, policyholder) if person is None and policyholder is not None else person
            own = Rows(projects=(policyholder_time_row(task),), contacts=() if known is None else (known,))
            common = read if nameless and task is nameless[-1] else NO_ROWS
            results.append(HandlerResult(task=task, rows=common + own))
        return results

    async def _read(self, tasks: Sequence[ClaimXEnrichmentTask], api: ClaimXApi) -> tuple[Rows, ContactRow | None]:
        answer = await ask_project(api, tasks[-1].project_id, as_of=youngest(tasks))
        origin = Origin.of(tasks[-1], answer.requested_at)
        return project_rows(answer.value, origin), policyholder_of(answer.value, origin)
