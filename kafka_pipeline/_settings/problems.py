"""What is wrong with a configuration, told in one line a problem: which field, from where, what, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import annotated_types

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_QUOTABLE = re.compile(r"[\w .,:*+-]{0,40}")
"""A wrong value is quoted back only where it is short and plain: a link or a key in the wrong place is not."""


class Source(str, Enum):
    """Where the value of a field comes from. Each member overrules those above it."""

    DEFAULT = "default"
    """Nobody said anything."""
    FILE = "file"
    """The YAML file given with `--config`."""
    ENVIRONMENT = "environment"
    """The environment variable named like the field, in capitals."""
    OPTION = "option"
    """The command line, or code that builds a configuration by hand."""


class Privacy(Enum):
    """How careful to be with the value of a field. Stands in the field's annotation; most fields need none."""

    NEVER_SHOWN = "never_shown"
    """Personal, or half of a credential: masked wherever the configuration is printed, and never quoted."""
    SHOWN_WHEN_VALID = "shown_when_valid"
    """Harmless once it passed its check, but a wrong value may be a credential in the wrong place: never quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. None of its texts holds a secret."""

    what: str
    remedy: str
    field: str | None = None
    origin: str | None = None
    """Where the value was given: `settings.yaml line 4`, `environment variable DATA_DIR`, `option --set data_dir`."""

    def __str__(self) -> str:
        subject = " in ".join(part for part in (self.field, self.origin) if part)
        text = f"{subject}: {self.what}; {self.remedy}" if subject else f"{self.what}; {self.remedy}"
        return " ".join(text.split())


class ConfigError(Exception):
    """The configuration cannot be used. The text has one line a problem; none of them holds a secret."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ConflictError(ValueError):
    """Settings that are right one by one do not go together."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def privacy(field: FieldInfo) -> Privacy | None:
    """Return the mark of a field, if it has one."""
    return next((mark for mark in field.metadata if isinstance(mark, Privacy)), None)


def expectation(field: FieldInfo) -> str:
    """Say in words what a field takes: `a whole number, at least 1, at most 1000`."""
    bounds = []
    for constraint in field.metadata:
        match constraint:
            case annotated_types.Gt(gt=limit):
                bounds.append(f"above {limit}")
            case annotated_types.Ge(ge=limit):
                bounds.append(f"at least {limit}")
            case annotated_types.Le(le=limit):
                bounds.append(f"at most {limit}")
            case _:
                pass
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:  # noqa: ANN401 - an annotation may be anything
    members = [member for member in get_args(annotation) if member is not type(None)]
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, members))
    if get_origin(annotation) is tuple:
        return "a list, comma-separated or JSON"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    if annotation in _KINDS:
        return _KINDS[annotation]
    return _kind(members[0]) if members else "text"


_KINDS: Mapping[object, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

_WHAT: Mapping[str, str] = {
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is too large",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "literal_error": "is not one of the known words",
    "enum": "is not one of the known words",
    "string_type": "is not text",
    "path_type": "is not a path",
    "tuple_type": "is not a list",
    "too_short": "has too few items",
}
"""pydantic's names of errors, in our words. Others are shown in pydantic's own."""


def explain(error: ErrorDetails, fields: Mapping[str, FieldInfo], origins: Mapping[str, str]) -> tuple[Problem, ...]:
    """Turn one error of pydantic into problems. `origins` tells where the value of each field was given."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ConflictError):
        return tuple(replace(problem, origin=origins.get(problem.field or "")) for problem in cause.problems)
    name, *item = (str(part) for part in error["loc"])
    field = fields[name]
    remedy = f"give {expectation(field)} (default: {in_words(field.get_default(call_default_factory=True))})"
    what = _WHAT.get(error["type"], error["msg"])
    if isinstance(cause, ValueError):
        what, _, own_remedy = str(cause).partition("; ")
        remedy = own_remedy or remedy
    subject = "the value" if privacy(field) else _quoted(error["input"])
    if item and item[0].isdigit():
        subject = f"item {int(item[0]) + 1} ({subject})"
    return (Problem(field=name, origin=origins.get(name), what=f"{subject} {what}", remedy=remedy),)


def in_words(value: object) -> str:
    """Write a value as it would be given: lists comma-separated, numbers short, nothing as `unset`."""
    match value:
        case None:
            return "unset"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Enum():
            return str(value.value)
        case tuple():
            return ",".join(map(in_words, value)) or "none"
        case _:
            return str(value)


def _quoted(value: object) -> str:
    text = in_words(value) if value is not None else "nothing"
    if not _QUOTABLE.fullmatch(text):
        return "the value"
    return repr(text) if isinstance(value, str) else text
