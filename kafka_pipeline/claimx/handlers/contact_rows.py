"""Invitation in, contact and project time out [HND-8; CON-3, CON-4; section 10, source D]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic.alias_generators import to_camel

from kafka_pipeline.claimx.coercion import observation_time, to_datetime, to_email, to_int, to_text
from kafka_pipeline.claimx.schemas.contact_id import ContactType, contact_id, full_name
from kafka_pipeline.claimx.schemas.entities import ContactRow, InviteStatus, ProjectRow
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.schemas.tasks import ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Person:
    """What a payload says of the policyholder; usually nothing."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    phone_country_code: int | None = None

    def contact_id(self, project_id: str) -> str | None:
        """Return the contact's id, None where nothing identifies the person [CON-1]."""
        name = full_name(self.first_name, self.last_name)
        return contact_id(project_id, ContactType.POLICYHOLDER, email=self.email, phone=self.phone, name=name)


def person_in(payload: Mapping[str, object] | None) -> Person:
    """Read the person out of a payload: camelCase or snake_case, at the top or in an object of its own [CON-3]."""
    emails = ("email", "email_address", "invitee_email", "user_email", "policyholder_email")
    return Person(
        email=next((text for value in _values(payload, *emails) if (text := to_email(value, "email"))), None),
        first_name=_first_text(payload, "first_name") or _first_text(payload, "name"),
        last_name=_first_text(payload, "last_name"),
        phone=_first_text(payload, "phone", "phone_number"),
        phone_country_code=next(
            (to_int(value, "phoneCountryCode") for value in _values(payload, "phone_country_code")), None
        ),
    )


def contact_of_payload(task: ClaimXEnrichmentTask, now: datetime) -> ContactRow | None:
    """Return contact D out of the event's own payload; None where it names nobody, which is normal.

    A row made of an event alone was observed at the event's time [MRG-3, settled point 24].
    """
    person = person_in(task.raw_data)
    identity = person.contact_id(task.project_id)
    if identity is None:
        return None
    return ContactRow(
        contact_id=identity,
        project_id=task.project_id,
        contact_type=ContactType.POLICYHOLDER,
        contact_email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        phone_number=person.phone,
        phone_country_code=person.phone_country_code,
        invite_status=_status(task),
        source_event_id=task.event_id,
        last_enriched_at=observation_time(task.ingested_at or task.created_at, now),
    )


def contact_of_export(task: ClaimXEnrichmentTask, policyholder: ContactRow) -> ContactRow:
    """Return contact D as the policyholder of the project export: contact A with the event's status."""
    changes = {"is_primary_contact": None, "invite_status": _status(task), "source_event_id": task.event_id}
    return policyholder.model_copy(update=changes)


def policyholder_time_row(task: ClaimXEnrichmentTask) -> ProjectRow:
    """Return the partial project row that carries the event's time and nothing else.

    It has no observation time: the column keeps its earliest value whatever the order [MRG-3, MRG-4].
    """
    joined = task.event_type == EventType.POLICYHOLDER_JOINED
    said = next(_values(task.raw_data, "joined_at" if joined else "invited_at"), None)
    at = to_datetime(said, "joinedAt" if joined else "invitedAt") or task.ingested_at or task.created_at
    return ProjectRow(
        project_id=task.project_id,
        policyholder_joined_at=at if joined else None,
        policyholder_invited_at=None if joined else at,
        source_event_id=task.event_id,
    )


def _status(task: ClaimXEnrichmentTask) -> str:
    joined = task.event_type == EventType.POLICYHOLDER_JOINED
    status = InviteStatus.JOINED if joined else InviteStatus.INVITED
    return str(status.value)


def _values(payload: Mapping[str, object] | None, *names: str) -> Iterator[object]:
    """Yield what stands under the names, snake_case before camelCase, the top before the inner objects."""
    places: list[JsonObject] = [payload or {}]
    for container in ("policyholder", "contact", "invitee"):
        inner = places[0].get(container)
        if isinstance(inner, dict):
            places.append(inner)
    for place in places:
        for name in names:
            for spelling in (name, to_camel(name)):
                if place.get(spelling) is not None:
                    yield place[spelling]


def _first_text(payload: Mapping[str, object] | None, *names: str) -> str | None:
    return next(
        (text for value in _values(payload, *names) if (text := to_text(value, names[0])) and text.strip()), None
    )
