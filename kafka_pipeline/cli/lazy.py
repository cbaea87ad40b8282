"""Commands that are imported when they are run, and not to be listed: help and completion answer at once.

Kafka, Delta and their like take about a second to import. So a program knows of each command its name, where it is,
and the first sentence of its help; a test compares that sentence with the command's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group_from_info
from typer.models import CommandInfo, TyperInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command of a program, or a group of them."""

    name: str
    module: str
    attribute: str
    """A function, or a Typer app."""
    summary: str
    """The first sentence of its help."""

    def load(self) -> TyperCommand | TyperGroup:
        """Import it."""
        found = getattr(import_module(self.module), self.attribute)
        if isinstance(found, typer.Typer):
            return get_group_from_info(
                TyperInfo(found, name=self.name),
                pretty_exceptions_short=False,
                suggest_commands=True,
                rich_markup_mode=None,
            )
        info = CommandInfo(name=self.name, callback=found)
        return cast("TyperCommand", get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None))

    def stub(self) -> TyperCommand:
        """Return what stands for it in a list."""
        return TyperCommand(name=self.name, short_help=self.summary, rich_markup_mode=None)


def lazy_group(entries: Sequence[Entry]) -> type[TyperGroup]:
    """Return the class of a group with these commands, in this order."""
    by_name = {entry.name: entry for entry in entries}

    class LazyGroup(TyperGroup):
        """Lists stubs, runs commands."""

        def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - Typer's own arguments
            super().__init__(**attributes)
            self.commands.update({entry.name: entry.stub() for entry in entries})

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401 - Typer keeps the type to itself
            """Return the command itself, to be run or asked for its own help and completion."""
            name, command, rest = super().resolve_command(ctx, args)
            return name, by_name[name].load() if name in by_name else command, rest

    return LazyGroup
