"""Task in; task, template, link and contact rows out [HND-7; sections 9.6 to 9.8 and 10, source C]."""

from __future__ import annotations

from typing import Final

import structlog

from kafka_pipeline.claimx.coercion import to_email, to_id, to_text
from kafka_pipeline.claimx.handlers.project_rows import same_names
from kafka_pipeline.claimx.handlers.results import Origin, Rows
from kafka_pipeline.claimx.links import without_query
from kafka_pipeline.claimx.schemas.contact_id import ContactType, contact_id, full_name
from kafka_pipeline.claimx.schemas.entities import ContactRow, ExternalLinkRow, TaskRow, TaskTemplateRow
from kafka_pipeline.claimx.shapes import JsonObject, TaskAssignment

_log = structlog.get_logger(__name__)

_TASK_COLUMNS: Final = (
    *("task_name", "form_id", "form_response_id", "assignee_id", "assignor_id", "status", "mfn", "date_assigned"),
    *("date_completed", "cancelled_date", "cancelled_by_resource_id", "date_exported", "stp_started_date"),
    *("fraud_language_accepted_date", "pdf_project_media_id", "resubmit_task_assignment_id", "stp_enabled"),
    "xactimate_exportable",
)
_TEMPLATE_COLUMNS: Final = (
    *("comp_id", "name", "description", "form_id", "form_name", "modified_by", "modified_by_id", "modified_date"),
    *("enabled", "is_manual_delivery", "is_external_link_delivery", "provide_portal_access", "auto_generate_pdf"),
    *("notify_assigned_send_recipient", "notify_assigned_send_recipient_sms", "notify_task_completed"),
    *("notify_assigned_subject", "notify_completed_subject"),
)
_LINK_COLUMNS: Final = ("link_code", "notification_access_method", "country_id", "state_id")


def task_rows(answer: TaskAssignment, assignment_id: str, origin: Origin, *, store_signed_links: bool = False) -> Rows:
    """Return what a task says. `assignment_id` is the one that was asked for.

    The task's key is its assignment, never its template: all assignments of one form would overwrite each other
    (section 14, trap 1).
    """
    task, template, link = answer.task, answer.template, answer.link
    project_id = to_id(task.get("projectId"), "projectId") or origin.project_id
    task_id = answer.assignment_id or assignment_id
    template_id = to_id(task.get("taskId"), "taskId")

    def stored(value: object, name: str) -> str | None:
        text = to_text(value, name)
        return text if text is None or store_signed_links else without_query(text)

    row = TaskRow.model_validate(
        {
            **same_names(task, _TASK_COLUMNS),
            **origin.audit(),
            "task_id": task_id,
            "assignment_id": task_id,
            "template_id": template_id,
            "project_id": project_id,
            "assignor_email": task.get("assignor"),
            "task_url": stored(task.get("url"), "task_url"),
        }
    )
    contact = _recipient(link, project_id, task_id, origin)
    return Rows(
        tasks=(row,),
        task_templates=_templates(template, template_id, project_id, origin),
        external_links=_links(link, stored(link.get("url"), "url"), task_id, project_id, origin),
        contacts=() if contact is None else (contact,),
    )


def _templates(
    template: JsonObject, template_id: str | None, project_id: str, origin: Origin
) -> tuple[TaskTemplateRow, ...]:
    """Return the form, if the answer shows it whole.

    A form is inserted once and never changed, so a column that a crooked answer spoils would stay empty for good: such
    an answer inserts none, and the next sound one does. What the answer leaves out is null [API-10].
    """
    identity = to_id(template.get("taskId"), "taskId") or template_id
    if not template or identity is None:
        return ()
    told = {
        **same_names(template, _TEMPLATE_COLUMNS),
        "is_default": template.get("default"),
        "allow_resubmit": template.get("allowReSubmit"),
    }
    row = TaskTemplateRow.model_validate({**told, **origin.audit(), "template_id": identity, "project_id": project_id})
    kept = row.to_row()
    spoiled = [name for name, value in told.items() if kept[name] is None and _says_something(value)]
    if spoiled or all(kept[name] is None for name in told):
        _log.warning("template_not_stored", template_id=identity, project_id=project_id, spoiled=spoiled)
        return ()
    return (row,)


def _says_something(value: object) -> bool:
    return value not in (None, "", [], {}) and not (isinstance(value, str) and not value.strip())


def _links(
    link: JsonObject, url: str | None, task_id: str, project_id: str, origin: Origin
) -> tuple[ExternalLinkRow, ...]:
    link_id = to_id(link.get("linkId"), "linkId")
    if link_id is None:
        return ()
    row = ExternalLinkRow.model_validate(
        {
            **same_names(link, _LINK_COLUMNS),
            **origin.audit(),
            "link_id": link_id,
            "assignment_id": task_id,
            "project_id": project_id,
            "url": url,
        }
    )
    return (row,)


def _recipient(link: JsonObject, project_id: str, task_id: str, origin: Origin) -> ContactRow | None:
    """Return contact C, the person whom the form was sent to; None where nothing identifies one."""
    email = to_email(link.get("email"), "email")
    first, last, phone = (to_text(link.get(name), name) for name in ("firstName", "lastName", "phone"))
    name = full_name(first, last)
    identity = contact_id(project_id, ContactType.POLICYHOLDER, email=email, phone=phone, name=name)
    if identity is None:
        return None
    return ContactRow.model_validate(
        {
            **origin.audit(),
            "contact_id": identity,
            "project_id": project_id,
            "contact_type": ContactType.POLICYHOLDER,
            "contact_email": email,
            "first_name": first,
            "last_name": last,
            "phone_number": phone,
            "phone_country_code": link.get("phoneCountryCode"),
            "is_primary_contact": False,
            "task_assignment_id": task_id,
        }
    )
