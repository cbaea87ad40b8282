"""The sample events of the domain reference, appendix A.1, with the ids and canonical texts of appendix B."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pytest

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEvent:
    """One raw event and what it must become."""

    event_type: str
    event_id: str
    canonical: str
    ingestion_time: str | None
    ids: dict[str, object]

    @property
    def raw(self) -> dict[str, object]:
        """The payload as the feed sends it: every key there, null where it has no value."""
        return {
            "eventType": self.event_type,
            "projectId": 900001,
            "mediaId": None,
            "mediaIds": None,
            "taskAssignmentId": None,
            "videoCollaborationId": None,
            "masterFileName": None,
            **self.ids,
            "IngestionTime": self.ingestion_time,
        }

    @property
    def value(self) -> bytes:
        """The record's value."""
        return orjson.dumps(self.raw)


def _sample(
    event_type: str, event_id: str, tail: str, ingestion_time: str | None, shown_time: str | None, **ids: object
) -> SampleEvent:
    time = "null" if shown_time is None else f'"{shown_time}"'
    return SampleEvent(
        event_type=event_type,
        event_id=event_id,
        canonical=f'["{event_type}","900001",{time},{tail}]',
        ingestion_time=ingestion_time,
        ids=ids,
    )


SAMPLES = (
    _sample(
        "PROJECT_CREATED",
        "019caed9-437b-8174-b846-d8d316361618",
        "null,null,null,null,null",
        "2026-03-02T14:00:00.1234567Z",
        "2026-03-02T14:00:00.123456+00:00",
    ),
    _sample(
        "PROJECT_FILE_ADDED",
        "019caedd-ffe4-82c3-ac3a-5cf6a8916db6",
        '"7100001",null,null,null,null',
        "2026-03-02T14:05:10.5Z",
        "2026-03-02T14:05:10.500000+00:00",
        mediaId=7100001,
    ),
    _sample(
        "PROJECT_MFN_ADDED",
        "019caede-c140-8f4b-b768-7e488999623f",
        'null,null,null,"MFN-EXAMPLE-01",null',
        "2026-03-02T14:06:00Z",
        "2026-03-02T14:06:00.000000+00:00",
        masterFileName="MFN-EXAMPLE-01",
    ),
    _sample(
        "CUSTOM_TASK_ASSIGNED",
        "019caee2-6ac0-8e2c-ae79-77e90ae1742d",
        'null,"8200001",null,null,null',
        "2026-03-02T14:10:00Z",
        "2026-03-02T14:10:00.000000+00:00",
        taskAssignmentId=8200001,
    ),
    _sample(
        "CUSTOM_TASK_COMPLETED",
        "019cb308-6dc0-8c63-ad76-467606e647de",
        'null,"8200001",null,null,["7100001","7100002"]',
        "2026-03-03T09:30:00Z",
        "2026-03-03T09:30:00.000000+00:00",
        taskAssignmentId=8200001,
        mediaIds=[7100002, 7100001],
    ),
    _sample(
        "POLICYHOLDER_INVITED",
        "019caee4-3f80-87ce-84fc-5b2fde07033a",
        "null,null,null,null,null",
        "2026-03-02T14:12:00Z",
        "2026-03-02T14:12:00.000000+00:00",
    ),
    _sample("POLICYHOLDER_JOINED", "00000000-0000-8b53-a288-06f54cebb740", "null,null,null,null,null", None, None),
    _sample(
        "VIDEO_COLLABORATION_INVITE_SENT",
        "019caf10-3180-80eb-901a-48f5b32c16c5",
        'null,null,"9300001",null,null',
        "2026-03-02T15:00:00Z",
        "2026-03-02T15:00:00.000000+00:00",
        videoCollaborationId=9300001,
    ),
    _sample(
        "VIDEO_COLLABORATION_COMPLETED",
        "019caf47-2000-8c29-a53b-6200ffc70377",
        'null,null,"9300001",null,null',
        "2026-03-02T16:00:00Z",
        "2026-03-02T16:00:00.000000+00:00",
        videoCollaborationId=9300001,
    ),
)


@pytest.fixture(params=SAMPLES, ids=lambda sample: sample.event_type)
def sample(request: pytest.FixtureRequest) -> SampleEvent:
    """Each of the nine sample events in turn."""
    assert isinstance(request.param, SampleEvent)
    return request.param


@pytest.fixture
def samples() -> tuple[SampleEvent, ...]:
    """All nine sample events."""
    return SAMPLES


@pytest.fixture
def now() -> datetime:
    """Return what the worker's clock says."""
    return NOW
