"""Invented answers of the service (samples of the domain reference), events, and an API that answers from memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.claimx.api import Answer, NotFound
from kafka_pipeline.claimx.api_errors import ClaimXApiError
from kafka_pipeline.claimx.handlers.base import HandlerContext
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import (
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.common.failures import Category

INGESTED = datetime(2026, 3, 2, 14, 5, 10, tzinfo=UTC)
CREATED = INGESTED + timedelta(seconds=1)
ASKED = INGESTED + timedelta(seconds=2)
NOW = INGESTED + timedelta(seconds=3)
EXPIRES = datetime(2026, 3, 3, 14, 5, 10, tzinfo=UTC)

CLAIMX_LINK = (
    "https://claimx.example.com/service/cxfileservice/file/7100001"
    "?filename=front%20door.jpg&systemDate=1772460310000&expires=86400000"
)
S3_LINK = (
    "https://media.s3.example.com/sample/7100002.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=EXAMPLE%2F20260302%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260302T140510Z"
    "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=EXAMPLE"
)

PROJECT: dict[str, Any] = {
    "data": {
        "project": {
            "projectId": 900001,
            "projectNumber": "CLM-0000-TEST",
            "mfn": None,
            "masterFileName": "MFN-EXAMPLE-01",
            "secondaryNumber": None,
            "createdDate": "2026-03-02T13:59:58.120+00:00",
            "status": "Active",
            "dateOfLoss": "2026-02-27T00:00:00.000+00:00",
            "typeOfLoss": "WATER",
            "causeOfLoss": "Pipe",
            "lossDescription": "Kitchen leak (sample)",
            "yearBuilt": 1990,
            "squareFootage": 1800,
            "dateReceived": "2026-03-02T13:00:00.000+00:00",
            "dateContacted": None,
            "plannedInspectionDate": None,
            "dateInspected": None,
            "appointmentDate": None,
            "customAttribute1": "A1",
            "customAttribute2": None,
            "customAttribute3": None,
            "customExternalUniqueId": None,
            "customerInformation": {
                "firstName": "Pat",
                "lastName": "Sample",
                "customBusinessName": None,
                "businessLineType": "PERSONAL",
                "emails": [{"emailAddress": "Pat.Sample@example.com", "primary": True}],
                "phones": [{"phoneNumber": "(555) 010-0142", "phoneCountryCode": 1}],
            },
            "address": {
                "street1": "1 Example Street",
                "street2": None,
                "city": "Sampletown",
                "stateProvince": "ZZ",
                "zipPostcode": "01234",
                "county": None,
                "country": "US",
            },
        },
        "teamMembers": [{"userName": "rep@example.com", "primaryContact": True, "mfn": "MFN-EXAMPLE-01"}],
        "companyName": "Example Mutual",
    }
}
MEDIA: dict[str, Any] = {
    "data": [
        {
            "mediaID": 7100001,
            "taskAssignmentId": None,
            "mediaType": "jpg",
            "mediaName": "front door.jpg",
            "mediaDescription": "Front",
            "mediaComment": "Wet",
            "latitude": 12.5,
            "longitude": -45.25,
            "gpsSource": "DEVICE",
            "takenDate": "2026-03-02T14:04:00.000+00:00",
            "fullDownloadLink": CLAIMX_LINK,
        },
        {
            "mediaID": 7100002,
            "taskAssignmentID": 8200001,
            "mediaType": "mp4",
            "mediaName": "roof/view:1*.mp4",
            "mediaDescription": None,
            "mediaComment": None,
            "latitude": None,
            "longitude": None,
            "gpsSource": None,
            "takenDate": None,
            "fullDownloadLink": S3_LINK,
        },
    ]
}
TASK: dict[str, Any] = {
    "assignmentId": 8200001,
    "taskId": 4300,
    "taskName": "Contents form",
    "projectId": 900001,
    "formId": "0123456789abcdef01234567",
    "formResponseId": "fedcba9876543210fedcba98",
    "assigneeId": 61,
    "assignorId": 62,
    "assignor": "rep@example.com",
    "dateAssigned": "2026-03-02T14:10:00.000+00:00",
    "dateCompleted": "2026-03-03T09:29:58.000+00:00",
    "cancelledDate": "2026-03-04T00:00:00.000+00:00",
    "cancelledByResourceId": 64,
    "status": "COMPLETED",
    "pdfProjectMediaId": 7100003,
    "dateExported": "2026-03-05T00:00:00.000+00:00",
    "stpEnabled": False,
    "stpStartedDate": "2026-03-06T00:00:00.000+00:00",
    "mfn": "MFN-EXAMPLE-01",
    "xactimateExportable": True,
    "fraudLanguageAcceptedDate": "2026-03-07T00:00:00.000+00:00",
    "resubmitTaskAssignmentId": 8200009,
    "url": "https://claimx.example.com/t/EXAMPLE?code=SECRET#top",
    "customTask": {
        "taskId": 4300,
        "compId": 77,
        "name": "Contents form",
        "description": "Sample form",
        "formId": "0123456789abcdef01234567",
        "formName": "Contents",
        "enabled": True,
        "default": False,
        "isManualDelivery": False,
        "isExternalLinkDelivery": True,
        "providePortalAccess": False,
        "notifyAssignedSendRecipient": True,
        "notifyAssignedSendRecipientSms": False,
        "notifyAssignedSubject": "Please fill in",
        "notifyTaskCompleted": True,
        "notifyCompletedSubject": "Done",
        "allowReSubmit": True,
        "autoGeneratePdf": True,
        "modifiedBy": "admin@example.com",
        "modifiedById": 63,
        "modifiedDate": "2026-01-15T08:00:00.000+00:00",
    },
    "externalLinkData": {
        "linkId": 5500,
        "linkCode": "EXAMPLE",
        "url": "https://claimx.example.com/l/EXAMPLE?code=SECRET",
        "notificationAccessMethod": "EMAIL",
        "countryId": 1,
        "stateId": 2,
        "email": "pat.sample@example.com",
        "firstName": "Pat",
        "lastName": "Sample",
        "phone": "5550100142",
        "phoneCountryCode": 1,
    },
    "response": {"groups": [{"name": "Rooms", "groupId": "g1", "questionAndAnswers": []}]},
}
VIDEO: dict[str, Any] = {
    "data": [
        {
            "videoCollaborationId": 9300001,
            "claimId": 900001,
            "mfn": "MFN-EXAMPLE-01",
            "claimNumber": "CLM-0000-TEST",
            "policyNumber": "POL-0000-TEST",
            "emailUserName": "rep@example.com",
            "claimRepFirstName": "Robin",
            "claimRepLastName": "Example",
            "claimRepFullName": None,
            "numberOfVideos": 1,
            "numberOfPhotos": 4,
            "numberOfViewers": 2,
            "sessionCount": 1,
            "totalTimeSeconds": 1234.5,
            "totalTime": "20:34",
            "createdDate": "2026-03-02T15:00:00.000+00:00",
            "liveCallFirstSession": "2026-03-02T15:30:00.000+00:00",
            "liveCallLastSession": "2026-03-02T15:51:00.000+00:00",
            "companyId": 77,
            "companyName": "Example Mutual",
            "guid": "00000000-0000-4000-8000-000000000001",
        }
    ]
}


class FixedClock:
    """It is always the same time."""

    def now(self) -> datetime:
        """Return NOW."""
        return NOW

    def monotonic(self) -> float:
        """Return zero."""
        return 0.0


class MemoryApi:
    """Answers from what a test puts in: a document, an exception, or None for not found."""

    def __init__(self) -> None:
        """Hold the samples."""
        self.project: object = copy.deepcopy(PROJECT)
        self.media: object = copy.deepcopy(MEDIA)
        self.task: object = copy.deepcopy(TASK)
        self.video: object = copy.deepcopy(VIDEO)
        self.calls: list[tuple[str, ...]] = []
        self.as_of: list[datetime | None] = []

    def _answer(self, document: object, read: Callable[[Any], Any], as_of: datetime | None) -> Any:
        self.as_of.append(as_of)
        if isinstance(document, Exception):
            raise document
        return NotFound(requested_at=ASKED) if document is None else Answer(value=read(document), requested_at=ASKED)

    async def get_project(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer with the project."""
        self.calls.append(("project", project_id))
        return self._answer(self.project, read_project_export, as_of)

    async def get_project_media(self, project_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer with the media list; one per project where a dict of lists is given."""
        self.calls.append(("media", project_id))
        found = self.media[project_id] if isinstance(self.media, dict) and project_id in self.media else self.media
        return self._answer(found, read_media_list, as_of)

    async def get_custom_task(self, task_assignment_id: str, *, as_of: datetime | None = None) -> Any:
        """Answer with the task."""
        self.calls.append(("task", task_assignment_id))
        return self._answer(self.task, read_task_assignment, as_of)

    async def get_video_collaboration(
        self, video_collaboration_id: str, project_id: str, *, as_of: datetime | None = None
    ) -> Any:
        """Answer with the call of that id out of the report."""
        self.calls.append(("video", video_collaboration_id, project_id))

        def read(document: object) -> object:
            calls = read_video_report(document)
            return next((call for call in calls if call.video_collaboration_id == video_collaboration_id), None)

        return self._answer(self.video, read, as_of)


@pytest.fixture
def api() -> MemoryApi:
    """Return a service that answers with the samples."""
    return MemoryApi()


@pytest.fixture
def context() -> HandlerContext:
    """Return what handlers share, with a clock that stands."""
    return HandlerContext(clock=FixedClock())


@pytest.fixture
def event() -> Callable[..., ClaimXEnrichmentTask]:
    """Return a maker of enrichment tasks: the type, and what differs from the usual."""

    def make(event_type: str, **changes: Any) -> ClaimXEnrichmentTask:
        fields: dict[str, Any] = {
            "event_id": f"event-{event_type}",
            "event_type": event_type,
            "project_id": "900001",
            "created_at": CREATED,
            "ingested_at": INGESTED,
        }
        return ClaimXEnrichmentTask(**{**fields, **changes})

    return make


@pytest.fixture
def api_error() -> Callable[[Category], ClaimXApiError]:
    """Return a maker of API errors."""

    def make(category: Category) -> ClaimXApiError:
        return ClaimXApiError("status 500", category, method="GET", endpoint="/export/project/{id}", status=500)

    return make
