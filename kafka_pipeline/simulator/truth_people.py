"""The people that the lake must know, by section 10 of the reference."""

from __future__ import annotations

from collections.abc import Iterator

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.expectation import DayOf, Matcher
from kafka_pipeline.simulator.identity import contact_id
from kafka_pipeline.simulator.spelling import FeedEvent
from kafka_pipeline.simulator.story import ASKED, AUDIT, Row, Story
from kafka_pipeline.simulator.world import Customer, Project

_OWN_CLOCKS = ("first_name", "last_name", "phone_number", "phone_country_code", "task_assignment_id")
"""Columns beside which stands when their value was observed."""


def contacts(story: Story) -> Iterator[Row]:
    """claimx_contacts, sections 9.4 and 10.

    Source A is the policyholder, B the team, C whoever a form was sent to, D whom an invitation names; one that names
    nobody says of A how far it has come. The API is read after every event of the feed, so what D says fills gaps.
    """
    for project in story.projects:
        policyholder = _policyholder(project)
        asked = [*_recipients(story, project), *_team(project), *([] if policyholder is None else [policyholder])]
        known = {str(row["contact_id"]): row for row in asked}
        if len(known) < len(asked):
            raise ValueError("two sources know one person: what the lake must hold of him is the clock's")
        cause = story.caused_by(words.ROUTED_TYPES, "project_id", str(project.project_id))
        for row in asked:
            row |= {"source_event_id": cause, **ASKED}
        for identity, events in _invitations(story, project, policyholder).items():
            row = known.setdefault(identity, _nobody(identity))
            row |= _told(row, events)
        for row in known.values():
            yield {"project_id": str(project.project_id), "created_date": DayOf("created_at"), **_times(row), **row}


def _policyholder(project: Project) -> Row | None:
    customer = project.customer
    if customer is None:
        return None
    email = primary_email(customer)
    phone = customer.phones[0] if customer.phones else None
    full_name = f"{customer.first_name} {customer.last_name}" if customer.first_name else customer.custom_business_name
    number = phone.phone_number if phone else None
    made = contact_id(
        project_id=str(project.project_id), contact_type="POLICYHOLDER", email=email, phone=number, name=full_name
    )
    if made is None:
        return None
    return _nobody(made) | {
        "contact_email": email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "phone_number": number,
        "phone_country_code": phone.phone_country_code if phone else None,
        "is_primary_contact": True,
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
        row = _nobody(made) | {
            "contact_email": link.email,
            "first_name": link.first_name,
            "last_name": link.last_name,
            "phone_number": link.phone,
            "phone_country_code": link.phone_country_code,
            "is_primary_contact": False,
            "task_assignment_id": str(task.assignment_id),
        }
        if made in found:  # which form was read last is the clock's
            row["task_assignment_id"] = Matcher.PRESENT
        found[made] = row
    yield from found.values()


def _team(project: Project) -> Iterator[Row]:
    for member in project.team:
        email = (member.user_name or "").strip()
        if email:
            made = contact_id(project_id=str(project.project_id), contact_type="CLAIM_REP", email=email)
            yield _nobody(made) | {
                "contact_type": "CLAIM_REP",
                "contact_email": email,
                "is_primary_contact": member.primary_contact,
                "master_file_name": member.mfn,
            }


def _invitations(story: Story, project: Project, policyholder: Row | None) -> dict[str, list[FeedEvent]]:
    """Return the project's invitations and arrivals in order of time, by the contact that they are about."""
    project_id = str(project.project_id)
    told = [event for kind in words.POLICYHOLDER_TYPES for event in story.told_of(kind, "project_id", project_id)]
    by_contact: dict[str, list[FeedEvent]] = {}
    for event in sorted(told, key=lambda event: str(event.ingested_at)):
        about = event.invitee.contact_id(project_id) if event.invitee else None
        if about is None and policyholder is not None:
            about = str(policyholder["contact_id"])
        if about is not None:
            by_contact.setdefault(about, []).append(event)
    return by_contact


def _told(row: Row, events: list[FeedEvent]) -> Row:
    """Return what a contact's events say: how far it has come, and of the person what the API leaves open."""
    joined = any(event.event_type == words.POLICYHOLDER_JOINED for event in events)
    changes: Row = {"invite_status": "JOINED" if joined else "INVITED"}
    for event in events:
        person = event.invitee
        said = {
            "contact_email": person and person.email,
            "first_name": person and person.first_name,
            "last_name": person and person.last_name,
            "phone_number": person and person.phone_number,
            "phone_country_code": person and person.phone_country_code,
        }
        for name, value in said.items():
            if row[name] is None and value is not None:
                changes |= {name: value, f"{name}_observed_at": event.ingested_at}
    changes.pop("contact_email_observed_at", None)  # all sources of one contact agree on it
    if "last_enriched_at" not in row:
        changes |= {**AUDIT, "source_event_id": events[-1].event_id, "last_enriched_at": events[-1].ingested_at}
    return changes


def _times(row: Row) -> Row:
    """Return when values were observed, as far as it is known: those of the API, when it was asked."""
    return {f"{name}_observed_at": None if row[name] is None else Matcher.PRESENT for name in _OWN_CLOCKS}


def _nobody(identity: str | None) -> Row:
    """Return a contact of whom nothing is known."""
    unknown = ("contact_email", "is_primary_contact", "invite_status", "master_file_name", "video_collaboration_id")
    return {"contact_id": identity, "contact_type": "POLICYHOLDER", **dict.fromkeys((*unknown, *_OWN_CLOCKS))}


def primary_email(customer: Customer | None) -> str | None:
    """Return the e-mail marked primary, else the first; trimmed."""
    if customer is None or not customer.emails:
        return None
    chosen = next((email for email in customer.emails if email.primary), customer.emails[0])
    return chosen.email_address.strip()
