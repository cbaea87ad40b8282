"""Who a contact is: an id made of the project, the role and the best thing known of the person [CON-1]."""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from typing import Final
from uuid import UUID, uuid5

from kafka_pipeline.claimx.schemas.wire import encode

_NAMESPACE: Final = UUID("3b7754e1-77f9-5a83-a233-8583de31c1fd")
_NO_DIGIT: Final = re.compile(r"[^0-9]+")
_FEWEST_DIGITS: Final = 7


class ContactType(str, Enum):
    """The role of a contact."""

    POLICYHOLDER = "POLICYHOLDER"
    """The insured."""
    CLAIM_REP = "CLAIM_REP"
    """A member of the carrier's team."""


def full_name(first_name: str | None, last_name: str | None, business_name: str | None = None) -> str | None:
    """Return "first last", else the business name, else None."""
    person = " ".join(part for part in (first_name, last_name) if part and not part.isspace())
    return person or business_name or None


def contact_id(
    project_id: str,
    contact_type: ContactType,
    *,
    email: str | None = None,
    phone: str | None = None,
    name: str | None = None,
) -> str | None:
    """Return the contact's id, or None where nothing identifies the person (then no row is written) [CON-1].

    The first of these that is there identifies: the e-mail; the digits of the phone number, at least seven, country
    code not included; the name.
    """
    key = _email_key(email) or _phone_key(phone) or _name_key(name)
    if key is None:
        return None
    return str(uuid5(_NAMESPACE, encode((project_id, contact_type.value, key)).decode()))


def _email_key(email: str | None) -> str | None:
    return email.strip().lower() or None if email else None


def _phone_key(phone: str | None) -> str | None:
    digits = _NO_DIGIT.sub("", phone or "")
    return digits if len(digits) >= _FEWEST_DIGITS else None


def _name_key(name: str | None) -> str | None:
    return " ".join(unicodedata.normalize("NFC", name or "").split()).lower() or None
