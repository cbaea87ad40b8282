"""Where the value of every column comes from, and what a row is: the words that `docs.py` puts beside the declarations.

What a column's type, null and merge rule are stands in `tables.py` alone. A column that is not named here comes from
the field of the same name in camelCase of its table's API object (`claimx-domain`, section 9). A test refuses a source
of a column that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic.alias_generators import to_camel

ROWS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "events": "One event, once, however often it was delivered.",
        "projects": "One claim workspace, as its export told last.",
        "contacts": "One person of a project: the policyholder, who got a form, or who works for the carrier.",
        "media": "One file of a project, as the media list describes it. Whether it is stored: `claimx_attachments`.",
        "tasks": "One assignment of a form.",
        "task_templates": "One form, as it was when a project first used it.",
        "external_links": "One link by which somebody outside fills in a form.",
        "video_collab": "One video call.",
        "attachments": "One file of the lake: where it lies, how large it is, and whether it arrived.",
    }
)
"""What a row is, per table."""

_AUDIT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "source_event_id": "event that caused the last accepted change",
        "created_at": "time of the first write",
        "updated_at": "time of the last write",
        "last_enriched_at": "time the API was asked last; the event's own time where no API was asked",
        "created_date": "UTC date of created_at",
    }
)

_OBJECT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "events": "payload",
        "projects": "project",
        "contacts": "",
        "media": "media item",
        "tasks": "task",
        "task_templates": "customTask",
        "external_links": "externalLinkData",
        "video_collab": "video report",
        "attachments": "",
    }
)
"""The API object whose field of the same name in camelCase fills a column, unless `SOURCES` says otherwise."""

RESERVED: Final = "reserved, never filled"
"""The source of a column that is there for later use."""

SOURCES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "events": {
            "event_id": "payload eventId, else made of the content",
            "media_ids": "payload mediaIds, as JSON text",
            "raw_data": "the whole payload, as JSON text; links without their query",
            "ingested_at": "payload IngestionTime, else the record's timestamp, else the worker's clock",
            "created_at": "time of the write",
            "event_date": "UTC date of ingested_at",
        },
        "projects": {
            "project_id": "project projectId, else the event's",
            "project_number": "project projectNumber, the claim number",
            "master_file_name": "project mfn, else masterFileName, else first teamMembers mfn; or the event's",
            "master_file_name_observed_at": "when that name was observed",
            "created_date": "project createdDate",
            "customer_first_name": "customerInformation firstName",
            "customer_last_name": "customerInformation lastName",
            "custom_business_name": "customerInformation customBusinessName",
            "business_line_type": "customerInformation businessLineType",
            "primary_email": "customerInformation emails: the primary one, else the first",
            "primary_phone": "customerInformation phones: the first one's phoneNumber",
            "primary_phone_country_code": "customerInformation phones: the first one's phoneCountryCode",
            "company_name": "companyName, beside project",
            "policyholder_invited_at": "payload invitedAt, else the event's ingested_at",
            "policyholder_joined_at": "payload joinedAt, else the event's ingested_at",
            **{
                name: f"address {to_camel(name)}"
                for name in ("street1", "street2", "city", "state_province", "zip_postcode", "county", "country")
            },
            **dict.fromkeys(
                ("coverages", "contents_task_sent", "contents_task_at", "xa_autolink_fail", "xa_autolink_fail_at"),
                RESERVED,
            ),
        },
        "contacts": {
            "contact_id": "UUIDv5 of project, type and e-mail, else phone digits, else name",
            "project_id": "the project read, or the event's",
            "contact_type": "POLICYHOLDER or CLAIM_REP",
            "contact_email": "customerInformation, teamMembers userName, externalLinkData or payload; trimmed",
            "first_name": "customerInformation, externalLinkData or payload",
            "last_name": "customerInformation, externalLinkData or payload",
            "phone_number": "customerInformation, externalLinkData or payload, as received",
            "phone_country_code": "customerInformation, externalLinkData or payload",
            **{
                f"{name}_observed_at": "when that value was observed"
                for name in ("first_name", "last_name", "phone_number", "phone_country_code", "task_assignment_id")
            },
            "is_primary_contact": "customerInformation: true; externalLinkData: false; teamMembers primaryContact",
            "invite_status": "INVITED or JOINED, by the type of the event",
            "master_file_name": "teamMembers mfn",
            "task_assignment_id": "task assignmentId, beside externalLinkData",
            "video_collaboration_id": RESERVED,
        },
        "media": {
            "media_id": "media item mediaID, mediaId or media_id",
            "project_id": "the project whose list was read",
            "task_assignment_id": "media item taskAssignmentId or taskAssignmentID",
            "file_type": "media item mediaType",
            "file_name": "media item mediaName",
            "full_download_link": "media item fullDownloadLink, without query and fragment",
            "expires_at": "expiry in the signed link, else media item expiresAt",
        },
        "tasks": {
            "task_id": "task assignmentId, else the id asked for",
            "assignment_id": "the same as task_id",
            "template_id": "task taskId",
            "pdf_project_media_id": "task pdfProjectMediaId, the media id of the PDF report",
            "project_id": "task projectId, else the event's",
            "assignor_email": "task assignor",
            "task_url": "task url, without query and fragment",
        },
        "task_templates": {
            "template_id": "customTask taskId, else task taskId",
            "project_id": "project of the task",
            "is_default": "customTask default",
            "allow_resubmit": "customTask allowReSubmit",
        },
        "external_links": {
            "assignment_id": "task assignmentId",
            "project_id": "project of the task",
            "url": "externalLinkData url, without query and fragment",
            "created_date": RESERVED,
            "last_accessed": RESERVED,
            "accessed_count": "0; nothing counts it yet",
        },
        "video_collab": {
            "collaboration_id": "the event's videoCollaborationId, by which the report's row is chosen",
            "video_collaboration_id": "the same as collaboration_id",
            "project_id": "the event",
            "claim_id": "video report claimId, which is the project's id",
            "created_date": "video report createdDate",
            "claim_rep_full_name": "video report claimRepFullName, else first and last name",
            "total_time_seconds": "video report totalTimeSeconds, as decimal text",
            "status": "video report status, else INVITED or COMPLETED by the event",
            "recording_urls": "video report recordingUrls, recordingUrl or recordings, without query and fragment",
        },
        "attachments": {
            "media_id": "download task",
            "project_id": "download task",
            "blob_path": "claimx/{project_id}/{media_id}/{file_name}, below Files/",
            "file_name": "safe form of media_name",
            "file_type": "media item mediaType",
            "media_type": "the same as file_type",
            "media_name": "media item mediaName, as received",
            "bytes_downloaded": "counted while downloading",
            "content_type": "the storage's answer",
            "content_sha256": "hash of the bytes, hex",
            "download_url": "the link, without query and fragment",
            "status": "uploaded, completed, failed or failed_permanent",
            "error_category": "of the last failure; null once the file is stored",
            "error_message": "of the last failure, redacted, at most 500 characters; null once the file is stored",
            "downloaded_at": "when the download ended; null for failures",
        },
    }
)
"""Where a column's value comes from, where its name does not say it."""


def source_of(table: str, column: str) -> str:
    """Return where a column's value comes from."""
    said = SOURCES[table].get(column) or _AUDIT.get(column)
    return said or f"{_OBJECT[table]} {to_camel(column)}".strip()
