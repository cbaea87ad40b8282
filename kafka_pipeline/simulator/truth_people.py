"""The people that the lake must know, by section 10 of the reference."""

from __future__ import annotations

from collections.abc import Iterator

from kafka_pipeline.simulator.expectation import DayOf, Matcher
from kafka_pipeline.simulator.identity import contact_id
from kafka_pipeline.simulator.story import AUDIT, Row, Story
from kafka_pipeline.simulator.world import Customer, Project


def contacts(story: Story) -> Iterator[Row]:
    """claimx_contacts, sections 9.4 and 10.

    Source A is the policyholder, B the team, C whoever a form was sent to. Source D, the invitation, names nobody in
    this feed and so says of A how far it has come.
    """
    for project in story.projects:
        project_id = str(project.project_id)
        shared: Row = {
            "project_id": project_id,
            "invite_status": None,
            "task_assignment_id": None,
            "video_collaboration_id": None,
            "created_date": DayOf("created_at"),
            **AUDIT,
        }
        if project.customer and (row := _policyholder(project_id, project.customer)):
            yield row | shared | {"invite_status": story.invite_status(project_id)}
        yield from (row | {k: v for k, v in shared.items() if k not in row} for row in _recipients(story, project))
        for member in project.team:
            email = (member.user_name or "").strip()
            if email:
                yield {
                    "contact_id": contact_id(project_id=project_id, contact_type="CLAIM_REP", email=email),
                    "contact_type": "CLAIM_REP",
                    "contact_email": email,
                    "first_name": None,
                    "last_name": None,
                    "phone_number": None,
                    "phone_country_code": None,
                    "is_primary_contact": member.primary_contact,
                    "master_file_name": member.mfn,
                    **shared,
                }


def _policyholder(project_id: str, customer: Customer) -> Row | None:
    email = primary_email(customer)
    phone = customer.phones[0] if customer.phones else None
    full_name = f"{customer.first_name} {customer.last_name}" if customer.first_name else customer.custom_business_name
    number = phone.phone_number if phone else None
    made = contact_id(project_id=project_id, contact_type="POLICYHOLDER", email=email, phone=number, name=full_name)
    if made is None:
        return None
    return {
        "contact_id": made,
        "contact_type": "POLICYHOLDER",
        "contact_email": email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "phone_number": number,
        "phone_country_code": phone.phone_country_code if phone else None,
        "is_primary_contact": True,
        "master_file_name": None,
    }


def _recipients(story: Story, project: Project) -> Iterator[Row]:
    """Yield contact C of every task that was told of; one person may have got several forms."""
    found: dict[str, Row] = {}
    for task in story.tasks:
        link = task.external_link
        if task.project_id != project.project_id or link is None:
            continue
        made = contact_id(
            project_id=str(project.project_id),
            contact_type="POLICYHOLDER",
            email=link.email,
            phone=link.phone,
            name=f"{link.first_name} {link.last_name}",
        )
        if made is None:
            continue
        row: Row = {
            "contact_id": made,
            "contact_type": "POLICYHOLDER",
            "contact_email": link.email,
            "first_name": link.first_name,
            "last_name": link.last_name,
            "phone_number": link.phone,
            "phone_country_code": link.phone_country_code,
            "is_primary_contact": False,
            "task_assignment_id": str(task.assignment_id),
            "master_file_name": None,
        }
        if made in found:  # which form was read last is the clock's
            row["task_assignment_id"] = Matcher.PRESENT
        found[made] = row
    yield from found.values()


def primary_email(customer: Customer | None) -> str | None:
    """Return the e-mail marked primary, else the first; trimmed."""
    if customer is None or not customer.emails:
        return None
    chosen = next((email for email in customer.emails if email.primary), customer.emails[0])
    return chosen.email_address.strip()
