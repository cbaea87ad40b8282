"""The tasks, forms and links that the lake must hold, by sections 9.6 to 9.8 of the reference."""

from __future__ import annotations

from collections.abc import Iterator

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.shapes import stp_enabled
from kafka_pipeline.simulator.story import ASKED, Row, Story

_NOT_SAID_OF_TASKS = (
    *("mfn", "cancelled_date", "cancelled_by_resource_id", "date_exported", "stp_started_date"),
    *("fraud_language_accepted_date", "resubmit_task_assignment_id"),
)
_NOT_SAID_OF_FORMS = (
    *("is_manual_delivery", "provide_portal_access", "auto_generate_pdf", "notify_assigned_send_recipient"),
    *("notify_assigned_send_recipient_sms", "notify_task_completed", "notify_assigned_subject"),
    "notify_completed_subject",
)


def tasks(story: Story) -> Iterator[Row]:
    """claimx_tasks, section 9.6: one row per assignment, whatever its events."""
    for task in story.tasks:
        pdf = task.pdf_project_media_id
        yield {
            "task_id": str(task.assignment_id),
            "assignment_id": str(task.assignment_id),
            "template_id": str(task.template_id),
            "project_id": str(task.project_id),
            "task_name": task.task_name,
            "form_id": f"{task.template_id:024x}",
            "form_response_id": f"{task.assignment_id:024x}",
            "assignee_id": str(task.assignee_id),
            "assignor_id": str(task.assignor_id),
            "status": task.status,
            "date_assigned": task.date_assigned,
            "date_completed": task.date_completed,
            "pdf_project_media_id": None if pdf is None else str(pdf),
            "assignor_email": task.assignor,
            "task_url": f"{story.api_origin}/t/{task.assignment_id}",
            "stp_enabled": stp_enabled(task),
            "xactimate_exportable": True,
            "source_event_id": story.caused_by(words.TASK_TYPES, "task_assignment_id", str(task.assignment_id)),
            **dict.fromkeys(_NOT_SAID_OF_TASKS),
            **ASKED,
        }


def task_templates(story: Story) -> Iterator[Row]:
    """claimx_task_templates, section 9.7: a form is inserted once per project."""
    seen: set[tuple[int, int]] = set()
    for task in story.tasks:
        form = task.template
        if form is None or (form.task_id, task.project_id) in seen:
            continue
        seen.add((form.task_id, task.project_id))
        yield {
            "template_id": str(form.task_id),
            "project_id": str(task.project_id),
            "comp_id": str(form.comp_id),
            "name": form.name,
            "description": form.description,
            "form_id": form.form_id,
            "form_name": form.form_name,
            "enabled": form.enabled,
            "is_default": form.default,
            "is_external_link_delivery": form.is_external_link_delivery,
            "allow_resubmit": form.allow_re_submit,
            "modified_by": form.modified_by,
            "modified_by_id": str(form.modified_by_id),
            "modified_date": form.modified_date,
            "source_event_id": story.caused_by(words.TASK_TYPES, "project_id", str(task.project_id)),
            **dict.fromkeys(_NOT_SAID_OF_FORMS),
            **ASKED,
        }


def external_links(story: Story) -> Iterator[Row]:
    """claimx_external_links, section 9.8."""
    for task in story.tasks:
        link = task.external_link
        if link is None:
            continue
        yield {
            "link_id": str(link.link_id),
            "assignment_id": str(task.assignment_id),
            "project_id": str(task.project_id),
            "link_code": link.link_code,
            "url": f"{story.api_origin}/l/{link.link_code}",
            "notification_access_method": "EMAIL",
            "country_id": "1",
            "state_id": "2",
            "created_date": None,
            "last_accessed": None,
            "accessed_count": 0,
            "source_event_id": story.caused_by(words.TASK_TYPES, "task_assignment_id", str(task.assignment_id)),
            **ASKED,
        }
