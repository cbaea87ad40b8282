"""Whom an invitation names: usually nobody, else the policyholder or somebody else, in any spelling [CON-3].

Events that name somebody have a time of full precision, so that it is known what was said last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from kafka_pipeline.simulator.identity import contact_id
from kafka_pipeline.simulator.world import Project

NAMED_SHARE = 0.4
"""Invitations and arrivals whose payload names somebody; real ones hardly ever do."""

_EMAIL_KEYS = ("email", "emailAddress", "inviteeEmail", "userEmail", "policyholderEmail")
_CONTAINERS = ("policyholder", "contact", "invitee")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitee:
    """A person as a payload tells of one. A whole name under `name` is a first name to us [CON-3]."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone_number: str | None = None
    phone_country_code: int | None = None
    said_at: datetime | None = None
    """When the payload says that it happened; the event's own time where it does not."""

    def contact_id(self, project_id: str) -> str | None:
        """Return the id of the contact [CON-1]; None where the payload gives a time and nobody."""
        name = " ".join(part for part in (self.first_name, self.last_name) if part)
        return contact_id(
            project_id=project_id, contact_type="POLICYHOLDER", email=self.email, phone=self.phone_number, name=name
        )


def draw_invitee(rng: Random, project: Project, at: datetime, number: int) -> Invitee | None:
    """Return whom the project's invitation names, None for nobody; `number` counts the project's invitations.

    The policyholder is named as the export names him, e-mail in other letters, with a phone that the export may lack.
    """
    if rng.random() >= NAMED_SHARE:
        return None
    said_at = at - timedelta(seconds=rng.randint(1, 90)) if rng.random() < 0.5 else None
    phone, code = f"555 0102 {rng.randrange(1_000):03}", rng.choice((1, 49, None))
    somebody = Invitee(
        email=f"guest{number % 2}.{project.project_id}@example.com",
        first_name=rng.choice(("Kim", "Zo\u00eb")),
        last_name="Guest",
        phone_number=phone,
        phone_country_code=code,
    )
    ways = [
        Invitee(),
        Invitee(first_name=f"Kim  Guest {number}"),
        Invitee(last_name="van Guest", phone_number=phone),
        Invitee(email=somebody.email),
        somebody,
    ]
    if address := _address(project):
        ways.append(Invitee(email=address.upper(), phone_number=phone, phone_country_code=code))
    return replace(rng.choice(ways), said_at=said_at)


def _address(project: Project) -> str | None:
    emails = project.customer.emails if project.customer else ()
    chosen = next((each for each in emails if each.primary), emails[0]) if emails else None
    return None if chosen is None else chosen.email_address.strip()


def spell_invitee(rng: Random, invitee: Invitee, *, joined: bool, snake: bool) -> dict[str, Any]:
    """Return the keys that a payload tells of the person by: at its top, or in an object of their own."""
    whole = invitee.first_name is not None and invitee.last_name is None and invitee.email is None
    spelled: dict[str, Any] = {
        rng.choice(_EMAIL_KEYS): invitee.email,
        "name" if whole else "firstName": invitee.first_name,
        "lastName": invitee.last_name,
        rng.choice(("phone", "phoneNumber")): invitee.phone_number,
        "phoneCountryCode": rng.choice((invitee.phone_country_code, str(invitee.phone_country_code)))
        if invitee.phone_country_code
        else None,
        "joinedAt" if joined else "invitedAt": None if invitee.said_at is None else invitee.said_at.isoformat(),
    }
    if rng.random() < 0.5:
        spelled = {name: value for name, value in spelled.items() if value is not None}
    if snake:
        spelled = {snake_case(name): value for name, value in spelled.items()}
    return {rng.choice(_CONTAINERS): spelled} if rng.random() < 0.6 else spelled


def snake_case(name: str) -> str:
    """Return a camelCase name in snake_case."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
