"""What all rows share: column types that take what they can, audit columns, and the way into the lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from kafka_pipeline.claimx.coercion import (
    to_bool,
    to_datetime,
    to_decimal_text,
    to_float,
    to_id,
    to_int,
    to_text,
    to_text_list,
)
from kafka_pipeline.claimx.schemas.types import UtcDatetime


def _takes(coerce: Callable[[object, str], object]) -> BeforeValidator:
    def taken(value: object, info: ValidationInfo) -> object:
        return coerce(value, info.field_name or "")

    return BeforeValidator(taken)


class LinkColumn:
    """Marks a column of links: stored without query and fragment, unless signed links are to be kept [SEC-8]."""


IdText = Annotated[str | None, _takes(to_id)]
"""An id, an e-mail or a master file name: trimmed, empty is null [CNV-1, settled point 13]."""
Text = Annotated[str | None, _takes(to_text)]
"""Text as received."""
Int = Annotated[int | None, _takes(to_int)]
Bool = Annotated[bool | None, _takes(to_bool)]
Float = Annotated[float | None, _takes(to_float)]
DecimalText = Annotated[str | None, _takes(to_decimal_text)]
"""A number as decimal text, which no float has rounded."""
Time = Annotated[datetime | None, _takes(to_datetime)]
"""An aware UTC time."""
Day = date | None
Link = Annotated[str | None, _takes(to_text), LinkColumn()]
Links = Annotated[list[str] | None, _takes(to_text_list), LinkColumn()]


class Row(BaseModel):
    """One row of one table. Its fields are the table's columns. Its repr shows only ids and types [SEC-10]."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_enum_values=True
    )
    logical_table: ClassVar[str]
    """The table's logical name (section 9.1)."""

    def to_row(self) -> dict[str, object]:
        """Return the columns by name, every one of them; null is "not carried" [MRG-1]."""
        return dict(self.__dict__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


class AuditedRow(Row):
    """A row with the audit columns of every entity table [MRG-5]."""

    own_clocks: ClassVar[tuple[str, ...]] = ()
    """Columns whose time of observation stands beside them, in NAME_observed_at (the rule OwnClock)."""

    source_event_id: IdText = None
    """The event that caused the last accepted change."""
    created_at: UtcDatetime | None = None
    """Set by the writer on insert, then kept."""
    updated_at: UtcDatetime | None = None
    """Set by the writer."""
    last_enriched_at: Time = None
    """When the API was asked; an event's own time for rows made of an event alone [MRG-3]."""

    def to_row(self) -> dict[str, object]:
        """Return the columns; a value without a time of its own was seen when the row was."""
        row = super().to_row()
        for name in self.own_clocks:
            if row[name] is not None and row[f"{name}_observed_at"] is None:
                row[f"{name}_observed_at"] = self.last_enriched_at
        return row
