"""Project export in, project row and contacts out [HND-3; sections 9.3, 9.4 and 10, sources A and B]."""

from __future__ import annotations

from functools import cache
from typing import Final

from pydantic.alias_generators import to_camel

from kafka_pipeline.claimx.coercion import to_text
from kafka_pipeline.claimx.handlers.results import Origin, Rows
from kafka_pipeline.claimx.schemas.contact_id import ContactType, contact_id, full_name
from kafka_pipeline.claimx.schemas.entities import ContactRow, ProjectRow
from kafka_pipeline.claimx.shapes import JsonObject, ProjectExport, TeamMember

_PROJECT_COLUMNS: Final = (
    *("project_number", "secondary_number", "status", "created_date", "date_of_loss", "type_of_loss", "cause_of_loss"),
    *("loss_description", "date_received", "date_contacted", "planned_inspection_date", "date_inspected"),
    *("appointment_date", "custom_attribute1", "custom_attribute2", "custom_attribute3"),
    *("custom_external_unique_id", "year_built", "square_footage"),
)
_CUSTOMER_COLUMNS: Final = ("custom_business_name", "business_line_type")
_ADDRESS_COLUMNS: Final = ("street1", "street2", "city", "state_province", "zip_postcode", "county", "country")


def same_names(source: JsonObject, columns: tuple[str, ...]) -> dict[str, object]:
    """Return the columns whose source field has their name in camelCase (the reference's `X.~`), as received.

    Those without a value are left out: a row has null for them anyhow.
    """
    return {column: value for column, name in _camel(columns) if (value := source.get(name)) is not None}


@cache
def _camel(columns: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return each column with its name in camelCase; there are a few sets of columns, and thousands of rows of each."""
    return tuple((column, to_camel(column)) for column in columns)


def project_rows(export: ProjectExport, origin: Origin) -> Rows:
    """Return the project's row, the policyholder (A) and the team (B)."""
    project_id = export.project_id or origin.project_id
    policyholder = policyholder_of(export, origin)
    team = (_team_contact(member, project_id, origin) for member in export.team)
    contacts = tuple(contact for contact in (policyholder, *team) if contact is not None)
    return Rows(projects=(project_row(export, origin),), contacts=contacts)


def project_row(export: ProjectExport, origin: Origin) -> ProjectRow:
    """Return the project's row (9.3), the columns of policyholder times and the reserved ones left empty.

    The master file name is observed when the API is asked; an absent one observes nothing (settled point 2).
    """
    master_file_name = export.master_file_name
    return ProjectRow.model_validate(
        {
            **same_names(export.project, _PROJECT_COLUMNS),
            **same_names(export.customer, _CUSTOMER_COLUMNS),
            **same_names(export.address, _ADDRESS_COLUMNS),
            **origin.audit(),
            "project_id": export.project_id or origin.project_id,
            "master_file_name": master_file_name,
            "master_file_name_observed_at": origin.requested_at if master_file_name else None,
            "customer_first_name": export.customer.get("firstName"),
            "customer_last_name": export.customer.get("lastName"),
            "primary_email": export.primary_email,
            "primary_phone": export.primary_phone,
            "primary_phone_country_code": export.primary_phone_country_code,
            "company_name": export.company_name,
        }
    )


def policyholder_of(export: ProjectExport, origin: Origin) -> ContactRow | None:
    """Return contact A, None where nothing identifies a person [CON-1]."""
    customer = export.customer
    project_id = export.project_id or origin.project_id
    first, last, business = (
        to_text(customer.get(name), name) for name in ("firstName", "lastName", "customBusinessName")
    )
    identity = contact_id(
        project_id,
        ContactType.POLICYHOLDER,
        email=export.primary_email,
        phone=export.primary_phone,
        name=full_name(first, last, business),
    )
    if identity is None:
        return None
    return ContactRow.model_validate(
        {
            **origin.audit(),
            "contact_id": identity,
            "project_id": project_id,
            "contact_type": ContactType.POLICYHOLDER,
            "contact_email": export.primary_email,
            "first_name": first,
            "last_name": last,
            "phone_number": export.primary_phone,
            "phone_country_code": export.primary_phone_country_code,
            "is_primary_contact": True,
        }
    )


def _team_contact(member: TeamMember, project_id: str, origin: Origin) -> ContactRow | None:
    identity = contact_id(project_id, ContactType.CLAIM_REP, email=member.user_name)
    if identity is None:
        return None
    return ContactRow.model_validate(
        {
            **origin.audit(),
            "contact_id": identity,
            "project_id": project_id,
            "contact_type": ContactType.CLAIM_REP,
            "contact_email": member.user_name,
            "is_primary_contact": member.primary_contact,
            "master_file_name": member.mfn,
        }
    )
