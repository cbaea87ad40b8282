"""Reads the shapes in which ClaimX answers, all of them (sections 5.3 to 5.7 of the domain reference).

No contract is published, so a reader unwraps every envelope that was seen, takes missing, null and empty for the same
[API-10], ignores what it does not know, and drops what it cannot use. It never fails on an object or a list, whatever
is inside; a document that is neither (nor null) is no answer at all: ShapeError.

Values of leaf fields stay as received where `mapping` coerces them; what both the handlers and the downloader need is
coerced here. Nothing here has a repr: answers are full of personal data [SEC-10].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from kafka_pipeline.claimx.coercion import to_bool, to_email, to_id, to_text
from kafka_pipeline.common.failures import Category, PipelineError

JsonObject: TypeAlias = Mapping[str, object]
"""A decoded JSON object; its values are whatever JSON allows."""

_MAX_WRAPPING: Final = 5
"""How deep envelopes are opened; two levels were seen."""

_EMPTY: Final[JsonObject] = {}


class ShapeError(PipelineError):
    """The answer is JSON but neither an object nor a list nor null: a proxy spoke, not the service. Transient."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: neither an object nor a list", Category.TRANSIENT)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TeamMember:
    """A person of the carrier who works on the project."""

    user_name: str | None
    """An e-mail, trimmed."""
    primary_contact: bool | None
    mfn: str | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ProjectExport:
    """A project export (5.3): the objects inside it, each empty where the answer has none."""

    project: JsonObject = field(default_factory=dict)
    customer: JsonObject = field(default_factory=dict)
    address: JsonObject = field(default_factory=dict)
    primary_email: str | None = None
    """The entry marked primary, else the first; trimmed."""
    primary_phone: str | None = None
    primary_phone_country_code: object = None
    team: tuple[TeamMember, ...] = ()
    company_name: str | None = None

    @property
    def project_id(self) -> str | None:
        """The id in the answer."""
        return to_id(self.project.get("projectId"), "projectId")

    def is_of(self, project_id: str) -> bool:
        """Tell whether this is an answer about that project: there is one in it, and no other id."""
        return bool(self.project) and self.project_id in {None, project_id}

    @property
    def master_file_name(self) -> str | None:
        """P.mfn, else P.masterFileName, else the first one of the team (9.3)."""
        own = _first_text(self.project, "mfn", "masterFileName")
        return own or next((member.mfn for member in self.team if member.mfn), None)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MediaItem:
    """One file of a project (5.4). `full_download_link` is a credential [SEC-7]."""

    media_id: str
    task_assignment_id: str | None = None
    media_type: str | None = None
    media_name: str | None = None
    media_description: str | None = None
    media_comment: str | None = None
    latitude: object = None
    longitude: object = None
    gps_source: str | None = None
    taken_date: str | None = None
    full_download_link: str | None = None
    expires_at: object = None
    """As received; only the link's own expiry comes before it [LNK-1]."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MediaList:
    """A project's files, one per id: of two items with one id the later is here (settled point 22)."""

    items: tuple[MediaItem, ...] = ()
    dropped: int = 0
    """Items without a usable id."""
    replaced: int = 0
    """Items that a later one with the same id took the place of."""

    def get(self, media_id: str) -> MediaItem | None:
        """Return the item with that id, if it is listed."""
        return next((item for item in self.items if item.media_id == media_id), None)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TaskAssignment:
    """A task (5.5): its own fields, its form template and its link, each empty where the answer has none."""

    task: JsonObject = field(default_factory=dict)
    template: JsonObject = field(default_factory=dict)
    link: JsonObject = field(default_factory=dict)

    @property
    def assignment_id(self) -> str | None:
        """The id in the answer."""
        return to_id(self.task.get("assignmentId"), "assignmentId")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VideoCall:
    """One row of a video report (5.6). Recording links may be credentials [SEC-7]."""

    video_collaboration_id: str
    call: JsonObject
    recording_urls: tuple[str, ...] = ()


def read_project_export(body: object) -> ProjectExport:
    """Read a project export: wrapped in `data`, plain, or the bare project object. Raises ShapeError."""
    envelope = next(_opened(body, "project export", _is_project_envelope, ("data",)), _EMPTY)
    project = _object(envelope.get("project"))
    if not project and to_id(envelope.get("projectId")) is not None:
        project = envelope
    customer = _object(project.get("customerInformation"))
    phone = _best(_objects(customer.get("phones")), lambda entry: bool((_text(entry, "phoneNumber") or "").strip()))
    return ProjectExport(
        project=project,
        customer=customer,
        address=_object(project.get("address")),
        primary_email=_primary_email(_objects(customer.get("emails"))),
        primary_phone=_text(phone, "phoneNumber"),
        primary_phone_country_code=phone.get("phoneCountryCode"),
        team=tuple(
            TeamMember(
                user_name=to_email(member.get("userName"), "userName"),
                primary_contact=to_bool(member.get("primaryContact"), "primaryContact"),
                mfn=to_id(member.get("mfn"), "mfn"),
            )
            for member in _objects(envelope.get("teamMembers"))
        ),
        company_name=_text(envelope, "companyName"),
    )


def read_media_list(body: object) -> MediaList:
    """Read a media list in any of its six shapes; null and empty mean no media. Raises ShapeError."""
    items: dict[str, MediaItem] = {}
    dropped = replaced = 0
    for entry in _opened(body, "media list", _has_media_id, ("data", "media")):
        media_id = _media_id(entry)
        if media_id is None:
            dropped += 1
            continue
        replaced += media_id in items
        items[media_id] = _media_item(media_id, entry)
    return MediaList(items=tuple(items.values()), dropped=dropped, replaced=replaced)


def read_task_assignment(body: object, assignment_id: str | None = None) -> TaskAssignment:
    """Read a task, bare or wrapped in `data`. Raises ShapeError.

    Of several tasks (never seen) the one with `assignment_id` is read, and none if none has it.
    """
    tasks = list(_opened(body, "task", lambda entry: to_id(entry.get("assignmentId")) is not None, ("data",)))
    if len(tasks) > 1:
        tasks = [task for task in tasks if to_id(task.get("assignmentId")) == assignment_id]
    task = tasks[-1] if tasks else _EMPTY
    return TaskAssignment(
        task=task, template=_object(task.get("customTask")), link=_object(task.get("externalLinkData"))
    )


def read_video_report(body: object) -> tuple[VideoCall, ...]:
    """Read a video report: every call of the project that has an id. Raises ShapeError."""
    calls = []
    envelopes = ("data", "collaborations", "videoCollaboration")
    for entry in _opened(body, "video report", lambda entry: "videoCollaborationId" in entry, envelopes):
        call_id = to_id(entry.get("videoCollaborationId"), "videoCollaborationId") or to_id(entry.get("id"), "id")
        if call_id is not None:
            calls.append(VideoCall(video_collaboration_id=call_id, call=entry, recording_urls=_recordings(entry)))
    return tuple(calls)


def _opened(
    body: object, what: str, is_content: Callable[[JsonObject], bool], envelopes: tuple[str, ...]
) -> Iterator[JsonObject]:
    """Yield the objects inside any nesting of lists and envelopes; what is neither counts as an empty object."""
    if body is None:
        return
    if not isinstance(body, dict | list):
        raise ShapeError(what)
    yield from _unwrapped(body, is_content, envelopes, _MAX_WRAPPING)


def _unwrapped(
    value: object, is_content: Callable[[JsonObject], bool], envelopes: tuple[str, ...], depth: int
) -> Iterator[JsonObject]:
    if value is None or value in ({}, []) or depth == 0:
        return
    if isinstance(value, list):
        for entry in value:
            yield from _unwrapped(entry, is_content, envelopes, depth - 1)
    elif not isinstance(value, dict):
        yield _EMPTY
    elif is_content(value) or not any(name in value for name in envelopes):
        yield value
    else:
        for name in envelopes:
            yield from _unwrapped(value.get(name), is_content, envelopes, depth - 1)


def _is_project_envelope(entry: JsonObject) -> bool:
    return bool(_object(entry.get("project"))) or "projectId" in entry


def _has_media_id(entry: JsonObject) -> bool:
    return _media_id(entry) is not None


def _media_id(entry: JsonObject) -> str | None:
    return next((found for name in ("mediaID", "mediaId", "media_id") if (found := to_id(entry.get(name), name))), None)


def _media_item(media_id: str, entry: JsonObject) -> MediaItem:
    task_id = to_id(entry.get("taskAssignmentId"), "taskAssignmentId")
    return MediaItem(
        media_id=media_id,
        task_assignment_id=task_id or to_id(entry.get("taskAssignmentID"), "taskAssignmentID"),
        media_type=_text(entry, "mediaType"),
        media_name=_text(entry, "mediaName"),
        media_description=_text(entry, "mediaDescription"),
        media_comment=_text(entry, "mediaComment"),
        latitude=entry.get("latitude"),
        longitude=entry.get("longitude"),
        gps_source=_text(entry, "gpsSource"),
        taken_date=_text(entry, "takenDate"),
        full_download_link=to_id(entry.get("fullDownloadLink"), "fullDownloadLink"),
        expires_at=entry.get("expiresAt"),
    )


def _recordings(entry: JsonObject) -> tuple[str, ...]:
    found: list[object] = []
    for name in ("recordingUrls", "recordingUrl", "recordings"):
        value = entry.get(name)
        found.extend(value if isinstance(value, list) else [value])
    links = (to_id(one.get("url") if isinstance(one, dict) else one, "recordings") for one in found)
    return tuple(dict.fromkeys(link for link in links if link))


def _primary_email(entries: list[JsonObject]) -> str | None:
    addressed = [entry for entry in entries if to_email(entry.get("emailAddress"), "emailAddress") is not None]
    chosen = _best(addressed, lambda entry: to_bool(entry.get("primary"), "primary") is True)
    return to_email(chosen.get("emailAddress"), "emailAddress")


def _best(entries: list[JsonObject], wanted: Callable[[JsonObject], bool]) -> JsonObject:
    """Return the first wanted entry, else the first, else an empty one."""
    return next(filter(wanted, entries), entries[0] if entries else _EMPTY)


def _objects(value: object) -> list[JsonObject]:
    entries: Iterable[object] = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, dict) and entry]


def _object(value: object) -> JsonObject:
    return next(iter(_objects(value)), _EMPTY)


def _text(entry: JsonObject, name: str) -> str | None:
    """Return the field's text as received (settled point 13)."""
    return to_text(entry.get(name), name)


def _first_text(entry: JsonObject, *names: str) -> str | None:
    return next((text for name in names if (text := to_id(entry.get(name), name))), None)
