"""How answers spell the facts: every frame and spelling that section 5 accepts, dealt out per project.

Which one a project gets follows from its id alone, so an answer is the same at every call but for its links.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from random import Random
from typing import Any

from kafka_pipeline.simulator.world import (
    ExternalLink,
    MediaItem,
    MediaShape,
    MfnPlace,
    Project,
    ProjectShape,
    Task,
    VideoCollaboration,
)

Json = Any
"""What a JSON encoder takes."""

_NOT_FACTS = {"master_file_name", "mfn_place", "customer", "address", "team", "company_name", "media", "tasks", "calls"}
_NOT_FACTS |= {"shape", "media_shape", "project_id"}


SWITCH_SPELLINGS: dict[Json, bool] = {"false": False, "true": True, 0: False, 1: True}
"""Ways to send a boolean besides JSON's own, and what each means (settled point 23)."""


def stp_enabled(task: Task) -> bool:
    """Return what the task's answer means by the way it spells its switch."""
    return SWITCH_SPELLINGS[custom_task(task, "", full=False, bare=True)["stpEnabled"]]


def camel(name: str) -> str:
    """Return the camelCase spelling of a snake_case name."""
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def project_export(project: Project) -> Json:
    """Return the body of GET /export/project/{id} [5.3]."""
    rng = Random(f"export:{project.project_id}")
    by_team = project.mfn_place is MfnPlace.TEAM
    body: dict[str, Json] = {"projectId": _spell_id(rng, project.project_id)}
    body |= {camel(f.name): getattr(project, f.name) for f in fields(project) if f.name not in _NOT_FACTS}
    body["mfn"] = body["masterFileName"] = None
    if not by_team:
        body[project.mfn_place.value] = project.master_file_name
    _unsettle(rng, body, "yearBuilt")
    _unsettle(rng, body, "squareFootage")
    body["customerInformation"] = _customer(rng, project)
    address = project.address
    body["address"] = rng.choice((None, {})) if address is None else _named(address)
    body["unheardOf"] = {"nested": [1, None]}
    _thin(rng, body)
    if project.shape is ProjectShape.BARE:
        return {**body, "projectId": project.project_id}
    team: Json = [_thin(rng, _named(member)) for member in project.team]
    whole: Json = {
        "project": body,
        "teamMembers": team or rng.choice((None, [])),
        "companyName": project.company_name,
    }
    return {"data": whole} if project.shape is ProjectShape.WRAPPED else whole


def _customer(rng: Random, project: Project) -> Json:
    customer = project.customer
    if customer is None:
        return rng.choice((None, {}))
    emails = [_named(email) for email in customer.emails]
    phones = [_named(phone) for phone in customer.phones]
    return _thin(
        rng,
        {
            "firstName": customer.first_name,
            "lastName": customer.last_name,
            "customBusinessName": customer.custom_business_name,
            "businessLineType": customer.business_line_type,
            "emails": emails or rng.choice((None, [])),
            "phones": phones or rng.choice((None, [])),
        },
    )


def media_list(project: Project, link_of: Callable[[MediaItem], str | None]) -> Json:
    """Return the body of GET /export/project/{id}/media [5.4], with the links that `link_of` gives.

    Some lists hold what a reader must get over: an item without id, and an older copy of an item before the item.
    """
    rng = Random(f"media:{project.project_id}")
    spelling = rng.choice(("mediaID", "mediaID", "mediaId", "media_id"))
    items = [_thin(rng, _media_item(rng, spelling, item, link_of(item))) for item in project.media]
    if len(items) > 1 and project.project_id % 6 == 0:
        stale = {**items[-1], "mediaName": "stale.jpg", "mediaDescription": "stale", "latitude": 0.5}
        items.insert(0, stale)
        items.insert(1, {spelling: None, "mediaName": "no id.jpg", "fullDownloadLink": None})
    if not items:
        return ({"data": []}, [], {"media": None}, {"data": {"media": []}}, [{"data": []}], None, {}, {"data": None})[
            project.project_id % 8
        ]
    frames = {
        MediaShape.DATA_LIST: {"data": items},
        MediaShape.LIST: items,
        MediaShape.MEDIA_LIST: {"media": items},
        MediaShape.DATA_MEDIA_LIST: {"data": {"media": items}},
        MediaShape.LIST_OF_DATA: [{"data": items}],
        MediaShape.SINGLE: items[0],
    }
    return frames[project.media_shape]


def _media_item(rng: Random, spelling: str, item: MediaItem, link: str | None) -> dict[str, Json]:
    return {
        spelling: _spell_id(rng, item.media_id),
        rng.choice(("taskAssignmentId", "taskAssignmentID")): item.task_assignment_id,
        "mediaType": item.name.media_type,
        "mediaName": item.name.media_name,
        "mediaDescription": item.media_description,
        "mediaComment": item.media_comment,
        "latitude": item.latitude,
        "longitude": None if item.longitude is None else int(item.longitude),
        "gpsSource": item.gps_source,
        "takenDate": item.taken_date,
        "fullDownloadLink": link,
    }


def custom_task(task: Task, origin: str, *, full: bool, bare: bool = False) -> Json:
    """Return the body of GET /customTasks/assignment/{id} [5.5]; form, link and response only where `full`.

    Some answers are wrapped in `data`, unless `bare`.
    """
    rng = Random(f"task:{task.assignment_id}")
    body: dict[str, Json] = {
        "assignmentId": task.assignment_id,
        "taskId": task.template_id,
        "taskName": task.task_name,
        "projectId": task.project_id,
        "formId": f"{task.template_id:024x}",
        "formResponseId": f"{task.assignment_id:024x}",
        "assigneeId": task.assignee_id,
        "assignorId": task.assignor_id,
        "assignor": task.assignor,
        "dateAssigned": task.date_assigned,
        "dateCompleted": task.date_completed,
        "cancelledDate": None,
        "cancelledByResourceId": None,
        "status": task.status,
        "pdfProjectMediaId": task.pdf_project_media_id,
        "dateExported": None,
        "stpEnabled": rng.choice(tuple(SWITCH_SPELLINGS)),
        "stpStartedDate": None,
        "mfn": None,
        "xactimateExportable": True,
        "fraudLanguageAcceptedDate": None,
        "resubmitTaskAssignmentId": None,
        "url": f"{origin}/t/{task.assignment_id}?code=EXAMPLE",
    }
    if full:
        body["customTask"] = None if task.template is None else _named(task.template)
        body["externalLinkData"] = _external_link(task.external_link, origin)
        body["response"] = {"groups": [_form_response(task)] if task.media_ids else None}
    return {"data": body} if task.assignment_id % 2 and not bare else body


def _external_link(link: ExternalLink | None, origin: str) -> Json:
    if link is None:
        return None
    return {
        **_named(link),
        "url": f"{origin}/l/{link.link_code}?code=EXAMPLE",
        "notificationAccessMethod": "EMAIL",
        "countryId": 1,
        "stateId": 2,
    }


def _form_response(task: Task) -> Json:
    answer = {"type": "image", "claimMediaIds": list(task.media_ids)}
    question = {"questionText": "Photos?", "component": "image", "formControl": {"id": "c1"}}
    return {
        "name": "Rooms",
        "groupId": "g1",
        "questionAndAnswers": [{**question, "responseAnswerExport": answer}],
    }


def video_report(project: Project) -> Json:
    """Return the body of POST /data for a project [5.6]: all its calls, in one of the accepted frames."""
    rng = Random(f"video:{project.project_id}")
    rows = [_call(rng, call, project) for call in project.calls]
    if not rows:
        return rng.choice(({"data": []}, [], {}))
    if len(rows) == 1 and rng.random() < 0.5:
        return rng.choice((rows[0], {"data": rows[0]}, {"videoCollaboration": rows[0]}))
    return rng.choice(({"data": rows}, rows, {"collaborations": rows}))


def _call(rng: Random, call: VideoCollaboration, project: Project) -> Json:
    body = _named(call)
    call_id = body.pop("videoCollaborationId")
    del body["projectId"]
    return {
        rng.choice(("videoCollaborationId", "id")): call_id,
        "claimId": call.project_id,
        "mfn": project.master_file_name,
        "claimNumber": project.project_number,
        "policyNumber": None,
        **body,
        "claimRepFullName": None,
        "companyId": 77,
        "companyName": "Example Mutual",
    }


def _named(thing: Any) -> dict[str, Json]:  # noqa: ANN401 - any of the world's dataclasses
    """Spell a dataclass of plain values in camelCase."""
    return {camel(f.name): getattr(thing, f.name) for f in fields(thing)}


def _thin(rng: Random, body: dict[str, Json]) -> dict[str, Json]:
    """Leave some of the null keys out: absent and null mean the same [API-10]."""
    for name in [name for name, value in body.items() if value is None]:
        if rng.random() < 0.3:
            del body[name]
    return body


def _spell_id(rng: Random, number: int) -> Json:
    """Spell an id as a number, as text, or as an integral float: all mean the same [CNV-1]."""
    return rng.choice((number, number, number, str(number), f" {number} ", float(number)))


def _unsettle(rng: Random, body: dict[str, Json], name: str) -> None:
    """Send a whole number as an integral float now and then, and a missing one as a fraction, which is no integer."""
    value = body[name]
    if value is None:
        body[name] = rng.choice((None, None, 1990.7))
    elif rng.random() < 0.2:
        body[name] = float(value)
