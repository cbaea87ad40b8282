"""The nine tables: columns, keys, and how two observations of one thing become one row (`claimx-domain`, section 9).

| table | what decides which observation wins |
|---|---|
| entities | the later request to the API (`last_enriched_at`) [MRG-2, MRG-3] |
| projects.master_file_name | its own time of observation, since events and the API both say it [settled point 2] |
| names, phones and tasks of contacts | their own times of observation, for the same reason (I4) |
| projects.policyholder_*_at | the earliest [MRG-4] |
| invite_status, video_collab.status | INVITED never replaces another value [MRG-4] |
| contacts.is_primary_contact of policyholders | true wins: only the project export knows [settled point 3] |
| attachments | the later download; a failure never changes a success [INV-1] |
| events, task_templates | the first: they are inserted and never changed |

A test compares the columns with the row models, name by name and type by type (trap 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from kafka_pipeline.claimx.schemas.contact_id import ContactType
from kafka_pipeline.claimx.schemas.entities import InviteStatus
from kafka_pipeline.claimx.schemas.inventory import AttachmentStatus
from kafka_pipeline.common.lake.rules import (
    ClockOf,
    Earliest,
    Guarded,
    Kept,
    Latest,
    Newest,
    OwnClock,
    Rule,
    Weak,
    Winner,
)
from kafka_pipeline.common.lake.tables import (
    BOOL,
    DATE,
    DOUBLE,
    INT,
    STRING,
    STRINGS,
    TIMESTAMP,
    Column,
    Mode,
    TableSpec,
)


def _columns(kind: pa.DataType, names: str, rule: Rule | None = None) -> tuple[Column, ...]:
    """Return nullable columns of one type, their names given in one text."""
    return tuple(Column(name, kind, rule=rule or Newest()) for name in names.split())


def _required(kind: pa.DataType, names: str, rule: Rule | None = None) -> tuple[Column, ...]:
    """Return columns of one type that are not null."""
    return tuple(Column(name, kind, nullable=False, rule=rule or Newest()) for name in names.split())


def _with_own_clock(kind: pa.DataType, names: str) -> Iterator[Column]:
    """Yield nullable columns of one type, each with the time at which its value was observed."""
    for name in names.split():
        yield Column(name, kind, rule=OwnClock(f"{name}_observed_at"))
        yield Column(f"{name}_observed_at", TIMESTAMP, rule=ClockOf(name))


_WRITTEN: Final = (
    Column("source_event_id", STRING, rule=Winner()),
    Column("created_at", TIMESTAMP, nullable=False, rule=Kept()),
    Column("updated_at", TIMESTAMP, nullable=False, rule=Latest()),
)
_AUDIT: Final = (*_WRITTEN, Column("last_enriched_at", TIMESTAMP, rule=Latest()))
_CREATED_DATE: Final = Column("created_date", DATE, rule=Kept())

EVENTS: Final = TableSpec(
    name="claimx_events",
    keys=("event_id",),
    partition_by=("event_date",),
    mode=Mode.INSERT_ONLY,
    columns=(
        *_required(STRING, "event_id event_type project_id"),
        *_columns(STRING, "media_id task_assignment_id video_collaboration_id master_file_name"),
        *_columns(STRING, "media_ids raw_data"),
        *_required(TIMESTAMP, "ingested_at created_at"),
        *_required(DATE, "event_date"),
    ),
)

PROJECTS: Final = TableSpec(
    name="claimx_projects",
    keys=("project_id",),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "project_id"),
        *_with_own_clock(STRING, "master_file_name"),
        *_columns(STRING, "project_number secondary_number status created_date date_of_loss type_of_loss"),
        *_columns(STRING, "cause_of_loss loss_description date_received date_contacted planned_inspection_date"),
        *_columns(STRING, "date_inspected appointment_date custom_attribute1 custom_attribute2 custom_attribute3"),
        *_columns(STRING, "custom_external_unique_id"),
        *_columns(INT, "year_built square_footage"),
        *_columns(STRING, "customer_first_name customer_last_name custom_business_name business_line_type"),
        *_columns(STRING, "primary_email primary_phone"),
        *_columns(INT, "primary_phone_country_code"),
        *_columns(STRING, "street1 street2 city state_province zip_postcode county country company_name"),
        *_columns(TIMESTAMP, "policyholder_invited_at policyholder_joined_at", Earliest()),
        *_columns(STRING, "coverages"),
        *_columns(BOOL, "contents_task_sent"),
        *_columns(TIMESTAMP, "contents_task_at"),
        *_columns(BOOL, "xa_autolink_fail"),
        *_columns(TIMESTAMP, "xa_autolink_fail_at"),
        *_AUDIT,
    ),
)

CONTACTS: Final = TableSpec(
    name="claimx_contacts",
    keys=("contact_id", "project_id"),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "contact_id project_id contact_type"),
        *_columns(STRING, "contact_email"),
        *_with_own_clock(STRING, "first_name last_name phone_number"),
        *_with_own_clock(INT, "phone_country_code"),
        Column("is_primary_contact", BOOL, rule=Weak((False,), where=("contact_type", ContactType.POLICYHOLDER.value))),
        Column("invite_status", STRING, rule=Weak((InviteStatus.INVITED.value,))),
        *_columns(STRING, "master_file_name"),
        *_with_own_clock(STRING, "task_assignment_id"),
        *_columns(STRING, "video_collaboration_id"),
        _CREATED_DATE,
        *_AUDIT,
    ),
)

MEDIA: Final = TableSpec(
    name="claimx_media",
    keys=("media_id",),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "media_id"),
        *_required(STRING, "project_id", Kept()),  # two projects list it: it stays with the first [settled point 22]
        *_columns(STRING, "task_assignment_id file_type file_name media_description media_comment gps_source"),
        *_columns(STRING, "taken_date"),
        *_columns(DOUBLE, "latitude longitude"),
        *_columns(STRING, "full_download_link"),
        *_columns(TIMESTAMP, "expires_at"),
        *_AUDIT,
    ),
)

TASKS: Final = TableSpec(
    name="claimx_tasks",
    keys=("task_id",),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "task_id assignment_id"),
        *_columns(STRING, "template_id"),
        *_required(STRING, "project_id"),
        *_columns(STRING, "task_name form_id form_response_id assignee_id assignor_id status mfn date_assigned"),
        *_columns(STRING, "date_completed cancelled_date cancelled_by_resource_id date_exported stp_started_date"),
        *_columns(STRING, "fraud_language_accepted_date pdf_project_media_id resubmit_task_assignment_id"),
        *_columns(STRING, "assignor_email task_url"),
        *_columns(BOOL, "stp_enabled xactimate_exportable"),
        *_AUDIT,
    ),
)

TASK_TEMPLATES: Final = TableSpec(
    name="claimx_task_templates",
    keys=("template_id", "project_id"),
    clock="last_enriched_at",
    mode=Mode.INSERT_ONLY,
    columns=(
        *_required(STRING, "template_id project_id"),
        *_columns(STRING, "comp_id name description form_id form_name modified_by modified_by_id modified_date"),
        *_columns(BOOL, "enabled is_manual_delivery is_external_link_delivery provide_portal_access"),
        *_columns(BOOL, "auto_generate_pdf is_default allow_resubmit notify_assigned_send_recipient"),
        *_columns(BOOL, "notify_assigned_send_recipient_sms notify_task_completed"),
        *_columns(STRING, "notify_assigned_subject notify_completed_subject"),
        *_AUDIT,
    ),
)

EXTERNAL_LINKS: Final = TableSpec(
    name="claimx_external_links",
    keys=("link_id",),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "link_id"),
        *_columns(STRING, "assignment_id project_id link_code url notification_access_method country_id state_id"),
        *_columns(STRING, "created_date last_accessed"),
        *_columns(INT, "accessed_count", Kept()),
        *_AUDIT,
    ),
)

VIDEO_COLLAB: Final = TableSpec(
    name="claimx_video_collab",
    keys=("collaboration_id",),
    clock="last_enriched_at",
    columns=(
        *_required(STRING, "collaboration_id video_collaboration_id project_id"),
        *_columns(STRING, "claim_id mfn claim_number policy_number email_user_name company_id company_name guid"),
        *_columns(STRING, "claim_rep_first_name claim_rep_last_name claim_rep_full_name"),
        *_columns(INT, "number_of_videos number_of_photos number_of_viewers session_count"),
        *_columns(STRING, "total_time_seconds total_time created_date live_call_first_session live_call_last_session"),
        Column("status", STRING, rule=Weak(("INVITED",))),
        *_columns(STRINGS, "recording_urls"),
        *_AUDIT,
    ),
)

ATTACHMENTS: Final = TableSpec(
    name="claimx_attachments",
    keys=("media_id",),
    clock="downloaded_at",
    columns=(
        *_required(STRING, "media_id"),
        *_required(STRING, "project_id", Kept()),
        *_columns(STRING, "blob_path file_name file_type media_type media_name", Guarded()),
        *_columns(INT, "bytes_downloaded", Guarded()),
        *_columns(STRING, "content_type content_sha256 download_url", Guarded()),
        Column("status", STRING, rule=Weak((AttachmentStatus.UPLOADED.value,), only_at_equal_clock=True)),
        *_columns(STRING, "error_category error_message", Winner()),
        *_columns(TIMESTAMP, "downloaded_at", Latest()),
        *_WRITTEN,
        _CREATED_DATE,
    ),
)

TABLES: Final = MappingProxyType(
    {
        "events": EVENTS,
        "projects": PROJECTS,
        "contacts": CONTACTS,
        "media": MEDIA,
        "tasks": TASKS,
        "task_templates": TASK_TEMPLATES,
        "external_links": EXTERNAL_LINKS,
        "video_collab": VIDEO_COLLAB,
        "attachments": ATTACHMENTS,
    }
)
"""Every table by its logical name (section 9.1)."""
