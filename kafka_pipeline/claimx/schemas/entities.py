"""The rows of the entity tables, column by column (`claimx-domain`, section 9).

A model takes a foreign value as it came and holds what the column can: a number or boolean that cannot be read becomes
null, with a warning that names the column only [MRG-7, settled point 23]. Null means "not carried" [MRG-1]. What a
row is merged by stands in `writers/tables.py`; a test keeps both files alike.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final

from kafka_pipeline.claimx.schemas.contact_id import ContactType
from kafka_pipeline.claimx.schemas.rows import (
    AuditedRow,
    Bool,
    Day,
    DecimalText,
    Float,
    IdText,
    Int,
    Link,
    Links,
    Text,
    Time,
)
from kafka_pipeline.claimx.schemas.types import RequiredId


class InviteStatus(str, Enum):
    """How far a policyholder's invitation has come."""

    INVITED = "INVITED"
    """Invited; never replaces JOINED [MRG-4]."""
    JOINED = "JOINED"
    """Joined."""


class ProjectRow(AuditedRow):
    """One claim workspace (9.3). Key: project_id."""

    logical_table: ClassVar[str] = "projects"
    own_clocks: ClassVar[tuple[str, ...]] = ("master_file_name",)

    project_id: RequiredId
    master_file_name: IdText = None
    master_file_name_observed_at: Time = None
    """When the master file name was seen: an event's is the event's time, an API value's the request's
    [settled point 2]."""
    project_number: Text = None
    """The claim number."""
    secondary_number: Text = None
    status: Text = None
    created_date: Text = None
    date_of_loss: Text = None
    type_of_loss: Text = None
    cause_of_loss: Text = None
    loss_description: Text = None
    date_received: Text = None
    date_contacted: Text = None
    planned_inspection_date: Text = None
    date_inspected: Text = None
    appointment_date: Text = None
    custom_attribute1: Text = None
    custom_attribute2: Text = None
    custom_attribute3: Text = None
    custom_external_unique_id: Text = None
    year_built: Int = None
    square_footage: Int = None
    customer_first_name: Text = None
    customer_last_name: Text = None
    custom_business_name: Text = None
    business_line_type: Text = None
    primary_email: IdText = None
    primary_phone: Text = None
    primary_phone_country_code: Int = None
    street1: Text = None
    street2: Text = None
    city: Text = None
    state_province: Text = None
    zip_postcode: Text = None
    county: Text = None
    country: Text = None
    company_name: Text = None
    policyholder_invited_at: Time = None
    policyholder_joined_at: Time = None
    coverages: Text = None
    """Reserved, as the next four."""
    contents_task_sent: Bool = None
    contents_task_at: Time = None
    xa_autolink_fail: Bool = None
    xa_autolink_fail_at: Time = None


class ContactRow(AuditedRow):
    """One person of a project (9.4). Key: contact_id, project_id.

    Events tell of people too, each as of its own time and in any order, so what they tell has a time per column: else
    a value that fills a gap of a later answer could not be told from a later one (I4).
    """

    logical_table: ClassVar[str] = "contacts"
    own_clocks: ClassVar[tuple[str, ...]] = (
        *("first_name", "last_name", "phone_number", "phone_country_code"),
        "task_assignment_id",
    )

    contact_id: RequiredId
    project_id: RequiredId
    contact_type: ContactType
    contact_email: IdText = None
    first_name: Text = None
    last_name: Text = None
    phone_number: Text = None
    phone_country_code: Int = None
    first_name_observed_at: Time = None
    last_name_observed_at: Time = None
    phone_number_observed_at: Time = None
    phone_country_code_observed_at: Time = None
    is_primary_contact: Bool = None
    invite_status: InviteStatus | None = None
    master_file_name: IdText = None
    task_assignment_id: IdText = None
    task_assignment_id_observed_at: Time = None
    video_collaboration_id: IdText = None
    """Reserved."""
    created_date: Day = None
    """UTC date of created_at; the writer sets it."""


class MediaMetadataRow(AuditedRow):
    """One file of a project (9.5). Key: media_id."""

    logical_table: ClassVar[str] = "media"

    media_id: RequiredId
    project_id: RequiredId
    task_assignment_id: IdText = None
    file_type: Text = None
    file_name: Text = None
    media_description: Text = None
    media_comment: Text = None
    gps_source: Text = None
    taken_date: Text = None
    latitude: Float = None
    longitude: Float = None
    full_download_link: Link = None
    """The writer drops its query unless signed links are to be kept [SEC-8]."""
    expires_at: Time = None


class TaskRow(AuditedRow):
    """One assignment of a form (9.6). Key: task_id, which is the assignment's id, not the form's."""

    logical_table: ClassVar[str] = "tasks"

    task_id: RequiredId
    assignment_id: RequiredId
    """The same value as task_id."""
    template_id: IdText = None
    """The form: task_templates.template_id."""
    project_id: RequiredId
    task_name: Text = None
    form_id: IdText = None
    form_response_id: IdText = None
    assignee_id: IdText = None
    assignor_id: IdText = None
    status: Text = None
    mfn: IdText = None
    date_assigned: Text = None
    date_completed: Text = None
    cancelled_date: Text = None
    cancelled_by_resource_id: IdText = None
    date_exported: Text = None
    stp_started_date: Text = None
    fraud_language_accepted_date: Text = None
    pdf_project_media_id: IdText = None
    """The media id of the PDF report."""
    resubmit_task_assignment_id: IdText = None
    assignor_email: IdText = None
    task_url: Link = None
    """May open the form without login [SEC-9]."""
    stp_enabled: Bool = None
    xactimate_exportable: Bool = None


class TaskTemplateRow(AuditedRow):
    """One form (9.7). Key: template_id, project_id."""

    logical_table: ClassVar[str] = "task_templates"

    template_id: RequiredId
    project_id: RequiredId
    comp_id: IdText = None
    name: Text = None
    description: Text = None
    form_id: IdText = None
    form_name: Text = None
    modified_by: Text = None
    modified_by_id: IdText = None
    modified_date: Text = None
    enabled: Bool = None
    is_manual_delivery: Bool = None
    is_external_link_delivery: Bool = None
    provide_portal_access: Bool = None
    auto_generate_pdf: Bool = None
    is_default: Bool = None
    allow_resubmit: Bool = None
    notify_assigned_send_recipient: Bool = None
    notify_assigned_send_recipient_sms: Bool = None
    notify_task_completed: Bool = None
    notify_assigned_subject: Text = None
    notify_completed_subject: Text = None


class ExternalLinkRow(AuditedRow):
    """One link by which a form can be filled in from outside (9.8). Key: link_id."""

    logical_table: ClassVar[str] = "external_links"

    link_id: RequiredId
    assignment_id: IdText = None
    project_id: IdText = None
    link_code: Text = None
    """May open the form without login [SEC-9]."""
    url: Link = None
    """May open the form without login [SEC-9]."""
    notification_access_method: Text = None
    country_id: IdText = None
    state_id: IdText = None
    created_date: Text = None
    """Reserved, as the next one."""
    last_accessed: Text = None
    accessed_count: Int = 0
    """Zero on insert; nothing counts it yet."""


class VideoCollabRow(AuditedRow):
    """One video call (9.9). Key: collaboration_id."""

    logical_table: ClassVar[str] = "video_collab"

    collaboration_id: RequiredId
    video_collaboration_id: RequiredId
    """The same value as collaboration_id."""
    project_id: RequiredId
    claim_id: IdText = None
    """The project's id, as the report calls it."""
    mfn: IdText = None
    claim_number: Text = None
    policy_number: Text = None
    email_user_name: IdText = None
    company_id: IdText = None
    company_name: Text = None
    guid: IdText = None
    claim_rep_first_name: Text = None
    claim_rep_last_name: Text = None
    claim_rep_full_name: Text = None
    number_of_videos: Int = None
    number_of_photos: Int = None
    number_of_viewers: Int = None
    session_count: Int = None
    total_time_seconds: DecimalText = None
    """Decimal text: no rounding."""
    total_time: Text = None
    created_date: Text = None
    live_call_first_session: Text = None
    live_call_last_session: Text = None
    status: Text = None
    """The report's own, else INVITED or COMPLETED by the event."""
    recording_urls: Links = None


ENTITY_ROWS: Final[tuple[type[AuditedRow], ...]] = (
    ProjectRow,
    ContactRow,
    MediaMetadataRow,
    TaskRow,
    TaskTemplateRow,
    ExternalLinkRow,
    VideoCollabRow,
)
"""The seven entity rows, in the order in which a batch names them."""
