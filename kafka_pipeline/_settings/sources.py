"""Reads what was set: a YAML file, the environment, options of the command line. Checks names, not values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from kafka_pipeline._settings.problems import Problem, Source
from kafka_pipeline._settings.secrets import FILE_SUFFIX

OWN_PREFIXES = ("CLAIMX_", "KAFKA_")
"""Variables that begin so are most likely meant for us: one that nearly has the name of a field is a typing error."""

NEARLY_THE_SAME = 0.88
"""Likeness (difflib, 0 to 1) from which a variable counts as a typing error. KAFKA_LOG_DIRS and the like stay below."""

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""Names that are not settings are quoted back only where they look like names."""

LARGEST_FILE_BYTES = 1_048_576
"""A settings file has a few kilobytes; what is larger is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one source says: values as they were given, and for each where exactly."""

    source: Source
    values: Mapping[str, object] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class LayerSource(PydanticBaseSettingsSource):
    """Hands one layer to pydantic-settings, which puts the layers on top of each other."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value, its name, and that nothing in it waits for decoding."""
        return self._layer.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the layer says, and nothing about fields it is silent on."""
        return dict(self._layer.values)


def read_file(path: Path, names: Collection[str]) -> Layer:
    """Read a YAML mapping of field names to values. What is wrong with it is in the layer's problems."""
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        return _bad_file(where, f"cannot be read ({error.strerror})", "name an existing file with --config")
    if len(content) > LARGEST_FILE_BYTES:
        return _bad_file(where, f"is larger than {LARGEST_FILE_BYTES} bytes", "name a settings file with --config")
    try:
        loader = yaml.SafeLoader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        return _mapping(where, node, loader, names)
    except UnicodeDecodeError:
        return _bad_file(where, "is not UTF-8 text", "save it as UTF-8")
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return _bad_file(where + line, "is not valid YAML", "write one `field: value` a line")
    except (yaml.YAMLError, ValueError, RecursionError):
        return _bad_file(where, "is not valid YAML", "write one `field: value` a line")


def _mapping(where: str, node: yaml.Node | None, loader: yaml.SafeLoader, names: Collection[str]) -> Layer:
    if node is None:
        return Layer(source=Source.FILE)
    if not isinstance(node, yaml.MappingNode):
        return _bad_file(where, "holds no settings", "write one `field: value` a line")
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for key_node, value_node in node.value:
        name = str(getattr(key_node, "value", ""))
        origin = f"{where} line {key_node.start_mark.line + 1}"
        if name not in names:
            problems.append(_unknown(name, origin, names))
        elif name in values:
            problems.append(
                Problem(field=name, origin=origin, what="was given before", remedy=f"keep this or {origins[name]}")
            )
        else:
            values[name] = loader.construct_document(value_node)
            origins[name] = origin
    return Layer(source=Source.FILE, values=values, origins=origins, problems=tuple(problems))


def read_environment(environ: Mapping[str, str], names: Collection[str]) -> Layer:
    """Pick the variables named like a field, in capitals; an empty one counts as not set.

    Names that are nearly right are problems. `NAME_ENV` may hold the name of a variable for a secret, by default
    `NAME`; with `_FILE` behind it, of one for the file that holds it. None of them is a typing error.
    """
    variables = {name.upper(): name for name in names}
    secrets = {name.removesuffix("_ENV") for name in variables if name.endswith("_ENV")}
    secrets |= {environ.get(f"{name}_ENV", name) for name in secrets}
    secrets |= {name + FILE_SUFFIX for name in secrets}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for variable, value in sorted(environ.items()):
        if variable in variables:
            if value.strip():
                values[variables[variable]] = value
                origins[variables[variable]] = f"environment variable {variable}"
        elif variable.upper().startswith(OWN_PREFIXES) and variable not in secrets:
            meant = difflib.get_close_matches(variable.upper(), variables, n=1, cutoff=NEARLY_THE_SAME)
            if meant:
                problems.append(
                    Problem(
                        field=variable,
                        origin="the environment",
                        what="is not a setting",
                        remedy=f"did you mean {meant[0]}?",
                    )
                )
    return Layer(source=Source.ENVIRONMENT, values=values, origins=origins, problems=tuple(problems))


def read_options(overrides: Mapping[str, str], names: Collection[str]) -> Layer:
    """Take what the command line says."""
    known = {name: value for name, value in overrides.items() if name in names}
    return Layer(
        source=Source.OPTION,
        values=known,
        origins={name: f"option --set {name}" for name in known},
        problems=tuple(_unknown(name, "option --set", names) for name in overrides if name not in names),
    )


def _unknown(name: str, origin: str, names: Collection[str]) -> Problem:
    if name.endswith(("_token", "_password", "_secret", "_key", "_sas")) and f"{name}_env" in names:
        remedy = f"secrets stay in the environment: put its variable's name into {name}_env"
    elif meant := difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1):
        remedy = f"did you mean {meant[0]}?"
    else:
        remedy = "see `kafka-pipeline config show` for all settings"
    shown = name if _PLAIN_NAME.fullmatch(name) else "a key"
    return Problem(field=shown, origin=origin, what="is not a setting", remedy=remedy)


def _bad_file(where: str, what: str, remedy: str) -> Layer:
    return Layer(source=Source.FILE, problems=(Problem(origin=where, what=what, remedy=remedy),))
