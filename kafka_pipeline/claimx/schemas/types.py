"""Field types that the messages share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kafka_pipeline.claimx.coercion import strict_id, utc_from
from kafka_pipeline.common.failures import Category, PipelineError

ERROR_TEXT_LIMIT: Final = 500
"""Longest error text that is stored or sent, in characters."""

RequiredId = Annotated[str, BeforeValidator(strict_id)]
"""An id that must be there: trimmed, not empty, integers as their digits [CNV-1]."""

OptionalId = Annotated[str | None, BeforeValidator(strict_id)]
"""An id that may be null; empty text is null [CNV-1]."""

UtcDatetime = Annotated[datetime, BeforeValidator(utc_from)]
"""An aware UTC time; naive input is UTC [CNV-2]."""

Count = Annotated[int, Field(ge=0)]
"""How often, or how many bytes."""

ErrorText = Annotated[str, AfterValidator(lambda text: text[:ERROR_TEXT_LIMIT])]
"""A redacted text, cut to what the schema allows. Redaction is for whoever makes it."""

RawData = dict[str, Any]
"""A decoded payload. Not for logs [SEC-10]."""

MessageT = TypeVar("MessageT", bound="WireMessage")
ModelT = TypeVar("ModelT", bound=BaseModel)


def assembled(model: type[ModelT], fields: dict[str, object]) -> ModelT:
    """Make a model of all its fields, in their order, each already what its type says; the dict becomes the model's.

    For the models of the hot path, where validating again would cost as much as reading the event did. Their
    tests compare the result with a validated model, field by field and type by type.
    """
    made = model.__new__(model)
    object.__setattr__(made, "__dict__", fields)
    object.__setattr__(made, "__pydantic_fields_set__", _fields_of(model))
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


@cache
def _fields_of(model: type[BaseModel]) -> set[str]:
    """Return the names of a model's fields: one set for all that are assembled, since models are never changed."""
    return set(model.model_fields)


class MalformedTaskError(PipelineError):
    """A message of ours cannot be read. The text names the field, never what it holds."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Category.PERMANENT, reason="malformed")


class WireMessage(BaseModel):
    """A message between our workers: snake_case JSON, unknown fields ignored when read [CNV-4].

    Ignored, not lost: whatever a newer version says goes along with every copy of the message, so that a worker of
    this version, a retry topic or a cache between two newer ones takes nothing away. Nobody is shown it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="allow",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        ser_json_inf_nan="null",
    )

    schema_version: int = 1

    @property
    def unknown_fields(self) -> RawData:
        """What the message says that this version does not know."""
        return self.__pydantic_extra__ or {}

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Show known fields alone: of others nobody knows whether they are secret (I10)."""
        return ((name, value) for name, value in super().__repr_args__() if name not in self.unknown_fields)

    def to_bytes(self) -> bytes:
        """Return the message as JSON, UTF-8."""
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def from_bytes(cls, value: bytes | None) -> Self:
        """Read a record's value. Raises MalformedTaskError, whose text names the first field that is wrong."""
        if value is None:
            raise MalformedTaskError("the record has no value")
        try:
            return cls.model_validate_json(value)
        except ValidationError as problems:
            raise MalformedTaskError(_first_problem(cls, problems)) from None


def _first_problem(model: type[BaseModel], problems: ValidationError) -> str:
    problem = problems.errors(include_url=False, include_context=False, include_input=False)[0]
    field = problem["loc"][0] if problem["loc"] else None
    if isinstance(field, str) and field in model.model_fields:
        return f"{field}: {problem['type']}"
    return f"not a {model.__name__}: {problem['type']}"
