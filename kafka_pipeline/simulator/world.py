"""What there is in a simulated ClaimX: projects and everything that hangs on them. Facts only, no spelling.

How an answer spells a fact is `shapes.py`'s; what the lake must make of it is `truth.py`'s. Text that ClaimX sends as
text (business dates too [CNV-3]) is kept as the text that is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from kafka_pipeline.simulator.files import FileImage, FileKind, make_file
from kafka_pipeline.simulator.names import FileName


class ProjectShape(Enum):
    """The frames a project export comes in [5.3]."""

    WRAPPED = "data"
    FLAT = "flat"
    BARE = "bare"
    """The project object alone: team and company are not to be seen."""


class MfnPlace(Enum):
    """Where a project export has the master file name [9.3]."""

    MFN = "mfn"
    MASTER_FILE_NAME = "masterFileName"
    TEAM = "team"
    """Only with the first team member."""


class MediaShape(Enum):
    """The frames a media list comes in [5.4]."""

    DATA_LIST = "data list"
    LIST = "list"
    MEDIA_LIST = "media list"
    DATA_MEDIA_LIST = "data media list"
    LIST_OF_DATA = "list of data"
    SINGLE = "single item"
    """Only where there is exactly one item; a list otherwise."""


class LinkForm(Enum):
    """What a media item's link points at [LNK-3]."""

    FILE_SERVICE = "file service"
    """ClaimX's own, which redirects to the storage."""
    STORAGE = "storage"
    """The presigned link itself."""
    NONE = "none"
    """Listed, but not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """One address of a customer, as sent: it may be padded and of any case."""

    email_address: str
    primary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """One number of a customer, as sent."""

    phone_number: str
    phone_country_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """The policyholder of a project."""

    first_name: str | None
    last_name: str | None
    custom_business_name: str | None
    business_line_type: str | None
    emails: tuple[Email, ...]
    phones: tuple[Phone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the loss is."""

    street1: str | None
    street2: str | None
    city: str | None
    state_province: str | None
    zip_postcode: str | None
    county: str | None
    country: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamMember:
    """Somebody of the carrier who works on the project."""

    user_name: str | None
    primary_contact: bool | None
    mfn: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaItem:
    """One file of a project."""

    media_id: int
    project_id: int
    name: FileName
    kind: FileKind
    content_type: str
    size_bytes: int
    file_key: str
    link: LinkForm
    task_assignment_id: int | None
    media_description: str | None
    media_comment: str | None
    latitude: float | None
    longitude: float | None
    gps_source: str | None
    taken_date: str | None

    @property
    def safe_file_name(self) -> str:
        """The file name that BLB-2 makes of it."""
        return self.name.safe.format(media_id=self.media_id) if "{media_id}" in self.name.safe else self.name.safe

    @property
    def storage_path(self) -> str:
        """The path of the object on the storage; its last segment names the file where nothing else does."""
        suffix = f".{self.name.media_type.lower()}" if self.name.media_type else ""
        return f"/claimx-media/{self.media_id}{suffix}"

    def file(self) -> FileImage:
        """Return the bytes, to be made when read."""
        return make_file(self.kind, self.size_bytes, self.file_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The custom form behind a task [5.5, customTask]."""

    task_id: int
    comp_id: int
    name: str
    description: str | None
    form_id: str
    form_name: str
    enabled: bool
    default: bool
    is_external_link_delivery: bool
    allow_re_submit: bool
    modified_by: str
    modified_by_id: int
    modified_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLink:
    """The link a policyholder fills a form by [5.5, externalLinkData]."""

    link_id: int
    link_code: str
    email: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    phone_country_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One assignment of a form [5.5]."""

    assignment_id: int
    project_id: int
    template: Template | None
    template_id: int
    task_name: str
    status: str
    assignor: str
    assignee_id: int
    assignor_id: int
    date_assigned: str
    date_completed: str | None
    pdf_project_media_id: int | None
    external_link: ExternalLink | None
    media_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCollaboration:
    """One video call [5.6]."""

    video_collaboration_id: int
    project_id: int
    email_user_name: str
    claim_rep_first_name: str
    claim_rep_last_name: str
    number_of_videos: int
    number_of_photos: int
    number_of_viewers: int
    session_count: int
    total_time_seconds: float
    total_time: str
    created_date: str
    live_call_first_session: str | None
    live_call_last_session: str | None
    guid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One claim workspace. Field names are the columns of claimx_projects where there is one."""

    project_id: int
    project_number: str
    secondary_number: str | None
    created_date: str
    status: str
    date_of_loss: str | None
    type_of_loss: str | None
    cause_of_loss: str | None
    loss_description: str | None
    year_built: int | None
    square_footage: int | None
    date_received: str | None
    date_contacted: str | None
    planned_inspection_date: str | None
    date_inspected: str | None
    appointment_date: str | None
    custom_attribute1: str | None
    custom_attribute2: str | None
    custom_attribute3: str | None
    custom_external_unique_id: str | None
    master_file_name: str | None
    """What the API says; an event may know one where this is null."""
    mfn_place: MfnPlace
    customer: Customer | None
    address: Address | None
    team: tuple[TeamMember, ...]
    company_name: str | None
    media: tuple[MediaItem, ...]
    tasks: tuple[Task, ...]
    calls: tuple[VideoCollaboration, ...]
    shape: ProjectShape
    media_shape: MediaShape


class World:
    """All projects, and each thing in them by its id."""

    def __init__(self, projects: Iterable[Project]) -> None:
        self.projects = {project.project_id: project for project in projects}
        self.media = {item.media_id: item for project in self.projects.values() for item in project.media}
        self.tasks = {task.assignment_id: task for project in self.projects.values() for task in project.tasks}
        self.objects = {item.storage_path: item for item in self.media.values()}
