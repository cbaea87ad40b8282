"""Whatever the feed delivers, each record has its outcome, and every row that follows is one that the table takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.claimx.writers.delta_events import ClaimXEventsWriter
from kafka_pipeline.claimx.writers.tables import EVENTS
from kafka_pipeline.common.lake import merge
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Dead, Done
from kafka_pipeline.config import PipelineConfig
from tests.kafka_pipeline.fuzz.hostile import CANARY, often, spoiled_bytes

LIMIT_BYTES = 2_000
EVENT: dict[str, Any] = {
    "eventType": "PROJECT_FILE_ADDED",
    "projectId": 900001,
    "mediaIds": [7100001, "7100002"],
    "masterFileName": "MFN-1",
    "IngestionTime": "2026-03-02T14:05:10.5Z",
    "policyholder": {"email": f"{CANARY}@example.com", "link": f"https://files.example.com/a?sig={CANARY}"},
}


class Table:
    """Makes of all rows what would be merged, and remembers it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def appender(self, spec: object) -> Table:
        """Return itself."""
        return self

    async def write(self, placed: Sequence[Any]) -> None:
        """Combine, convert, check."""
        self.rows += merge.combine(EVENTS, [each.row for each in placed])
        merge.to_arrow(EVENTS, self.rows).validate(full=True)


@often(80)
@example(values=[b'{"eventType":"X","projectId":1,"x":1e400}', None, b"[" * 3_000])
@given(values=st.lists(spoiled_bytes([EVENT]), max_size=6))
def test_any_batch_has_an_outcome_for_each_record(values: list[bytes | None]) -> None:
    """Done with a task that can be read and holds no signed link, or Dead; of neither anything is told in words."""
    table = Table()
    writer = ClaimXEventsWriter(table)  # type: ignore[arg-type]  # all of a lake that is needed
    topics = Topics.from_config(PipelineConfig())
    worker = ClaimXEventIngesterWorker(topics=topics, writer=writer, max_event_bytes=LIMIT_BYTES)
    records = [Record(topic="t", partition=0, offset=at, key=None, value=value) for at, value in enumerate(values)]
    with capture_logs() as logs:
        outcomes = asyncio.run(worker.process(records))
    for outcome, value in zip(outcomes, values, strict=True):
        if isinstance(outcome, Done):
            [message] = outcome.messages
            task = ClaimXEnrichmentTask.from_bytes(message.value)
            assert task.event_id in {row["event_id"] for row in table.rows}
            assert f"?sig={CANARY}".encode() not in (message.value or b"")
        else:
            assert isinstance(outcome, Dead)
            assert outcome.reason == ("too_large" if len(value or b"") > LIMIT_BYTES else "malformed")
            assert CANARY not in outcome.error_text
    assert CANARY not in str(logs)
