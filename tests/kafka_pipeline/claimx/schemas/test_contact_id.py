"""Who a contact is [CON-1]: the vectors of appendix B, and what does not change a person."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafka_pipeline.claimx.schemas.contact_id import ContactType, contact_id, full_name

POLICYHOLDER, CLAIM_REP = ContactType.POLICYHOLDER, ContactType.CLAIM_REP
EMAIL_ID = "038c68b3-b55d-5c2e-9d7a-0be7fd4d6e4f"
PHONE_ID = "2624d9a5-68b0-57c5-86ff-4db102757972"
NAME_ID = "62d5433c-70e2-5933-9f04-9b42aa72e97f"


@pytest.mark.parametrize("email", [" Pat.Sample@Example.com ", "pat.sample@example.com", "PAT.SAMPLE@EXAMPLE.COM\n"])
@pytest.mark.parametrize("others", [{}, {"phone": "(555) 010-0142"}, {"name": "Pat Sample"}])
def test_an_email_comes_first(email: str, others: dict[str, str]) -> None:
    """Trimmed and lower-cased; nothing else counts beside it."""
    assert contact_id("900001", POLICYHOLDER, email=email, **others) == EMAIL_ID


@pytest.mark.parametrize("phone", ["(555) 010-0142", "5550100142", "+555.010.0142", "555 010 0142 \u0661"])
@pytest.mark.parametrize("email", [None, "", "  "])
def test_then_the_digits_of_a_phone(phone: str, email: str | None) -> None:
    """ASCII digits only, however it is written."""
    assert contact_id("900001", POLICYHOLDER, email=email, phone=phone, name="Pat Sample") == PHONE_ID


@pytest.mark.parametrize("phone", [None, "", "010-014", "ext. 12"])
@pytest.mark.parametrize("name", ["Pat Sample", " pat \t SAMPLE ", "PAT\u00a0SAMPLE"])
def test_then_the_name(phone: str | None, name: str) -> None:
    """Fewer than seven digits are no phone number; case and spaces do not matter in a name."""
    assert contact_id("900001", POLICYHOLDER, phone=phone, name=name) == NAME_ID


def test_seven_digits_are_a_phone() -> None:
    """The least that counts."""
    assert contact_id("1", POLICYHOLDER, phone="010-0142", name="Pat") == contact_id("1", POLICYHOLDER, phone="0100142")


def test_names_are_compared_composed() -> None:
    """Both ways to write an accent are one name (NFC)."""
    assert contact_id("1", POLICYHOLDER, name="Jose\u0301") == contact_id("1", POLICYHOLDER, name="Jos\u00e9")


def test_role_and_project_are_part_of_the_person() -> None:
    """The vector of a claim representative; another project is another contact."""
    assert contact_id("900001", CLAIM_REP, email="rep@example.com") == "2bde630d-18de-5e20-80f1-a9bd64252c6e"
    assert contact_id("900002", POLICYHOLDER, email="pat.sample@example.com") != EMAIL_ID


@pytest.mark.parametrize("nothing", [{}, {"email": " ", "phone": "12", "name": " \t"}])
def test_nobody_is_nobody(nothing: dict[str, str]) -> None:
    """Nothing that identifies: no id, so no row."""
    assert contact_id("900001", POLICYHOLDER, **nothing) is None


def test_an_id_is_a_uuid_of_version_5() -> None:
    """Canonical text."""
    assert UUID(EMAIL_ID).version == 5


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("Pat", "Sample", "Sample Inc."), "Pat Sample"),
        (("Pat", None, "Sample Inc."), "Pat"),
        ((None, "Sample", None), "Sample"),
        (("", " ", "Sample Inc."), "Sample Inc."),
        ((None, None, None), None),
        (("", "", ""), None),
    ],
)
def test_a_full_name_is_the_person_else_the_business(
    parts: tuple[str | None, str | None, str | None], expected: str | None
) -> None:
    """First and last, else the business name."""
    assert expected == full_name(*parts)
