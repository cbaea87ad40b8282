"""Reads fault scripts: YAML or JSON, a list of faults, one word for what goes wrong and a few for where and when.

    faults:
      - {at: 5s, for: 20s, endpoint: api, outage: refuse}
      - {endpoint: project, fail: 0.3, status: [500, 503]}
      - {endpoint: file, ids: [7100001], cut: 1, times: 2}

Times count from when the script is put in force. `FORMS` lists every word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from kafka_pipeline.simulator.faults import (
    API,
    FILES,
    Cut,
    Drip,
    Effect,
    Endpoint,
    Expired,
    Fail,
    Fault,
    FaultKind,
    FaultScript,
    Latency,
    Outage,
    RetryAfterForm,
    ShortLinks,
    Throttle,
)

MAX_SCRIPT_BYTES = 256 * 1024
"""Far more than anybody writes by hand."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_REFUSE = "refuse"
SCOPES: dict[str, frozenset[Endpoint]] = {each.value: frozenset({each}) for each in Endpoint}
SCOPES |= {"api": API, "files": FILES, "all": API | FILES}
_PORTS = (frozenset({Endpoint.FILE}), API, API | FILES)
"""What can be closed: the storage, the API with its file service, or both."""


class FaultScriptError(ValueError):
    """A script cannot be used; `problems` says why, one readable line each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _NotUsableError(ValueError):
    """One value is not what belongs there."""


def _duration_s(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise _NotUsableError("must be a time such as 5s, 200ms or 2m")
    return float(found[1]) * _SECONDS[found[2]]


def _lifetime_s(value: object) -> int:
    seconds = round(_duration_s(value))
    if seconds < 1:
        raise _NotUsableError("must be at least 1s: no link is signed for less")
    return seconds


def _share(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise _NotUsableError("must be a share from 0 to 1")


def _positive(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise _NotUsableError("must be a number above 0")


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise _NotUsableError("must be a whole number above 0")


def _statuses(value: object) -> tuple[int, ...]:
    listed = value if isinstance(value, list) else [value]
    if listed and all(type(each) is int and 400 <= each <= 599 for each in listed):
        return tuple(listed)
    raise _NotUsableError("must be a status from 400 to 599, or a list of them")


def _form(value: object) -> RetryAfterForm:
    try:
        return RetryAfterForm(value)
    except ValueError:
        raise _NotUsableError("must be seconds or date") from None


def _endpoints(value: object) -> frozenset[Endpoint]:
    listed: list[object] = value if isinstance(value, list) else [value]
    scopes = [SCOPES[each] for each in listed if isinstance(each, str) and each in SCOPES]
    if not listed or len(scopes) < len(listed):
        raise _NotUsableError(f"must be one or some of {', '.join(SCOPES)}")
    return frozenset[Endpoint]().union(*scopes)


def _ids(value: object) -> frozenset[str]:
    listed = value if isinstance(value, list) else [value]
    if listed and all(type(each) in {int, str} and str(each) for each in listed):
        return frozenset(map(str, listed))
    raise _NotUsableError("must be an id, or a list of them")


def _outage(value: object) -> int | None:
    if value == _REFUSE:
        return None
    if type(value) is int and 500 <= value <= 599:
        return value
    raise _NotUsableError("must be refuse (no connection) or a status from 500 to 599")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one kind of fault is written: what its word takes, which words may stand beside it, what it makes."""

    value: Callable[[object], Any]
    make: Callable[..., Effect]
    """Takes what the words say; the value too, as `value`, where it is no share."""
    options: Mapping[str, Callable[[object], Any]] = field(default_factory=dict)
    endpoints: frozenset[Endpoint]
    """Where it strikes unless `endpoint` says otherwise."""
    places: frozenset[Endpoint] = API | FILES
    """Where it may strike at all."""


FORMS: dict[FaultKind, Form] = {
    FaultKind.LATENCY: Form(
        value=_duration_s,
        make=lambda value, jitter=0.0: Latency(delay_s=value, jitter_s=jitter),
        options={"jitter": _duration_s},
        endpoints=API,
    ),
    FaultKind.FAIL: Form(
        value=_share,
        make=lambda status=None: Fail() if status is None else Fail(statuses=status),
        options={"status": _statuses},
        endpoints=API,
    ),
    FaultKind.THROTTLE: Form(
        value=_share,
        make=lambda retry_after=1.0, form=RetryAfterForm.SECONDS: Throttle(retry_after_s=retry_after, form=form),
        options={"retry_after": _duration_s, "form": _form},
        endpoints=API,
    ),
    FaultKind.OUTAGE: Form(value=_outage, make=lambda value: Outage(status=value), endpoints=API),
    FaultKind.SHORT_LINKS: Form(
        value=_share,
        make=lambda lifetime=1: ShortLinks(lifetime_s=lifetime),
        options={"lifetime": _lifetime_s},
        endpoints=frozenset({Endpoint.MEDIA}),
        places=frozenset({Endpoint.MEDIA}),
    ),
    FaultKind.EXPIRED: Form(value=_share, make=Expired, endpoints=frozenset({Endpoint.FILE}), places=FILES),
    FaultKind.CUT: Form(value=_share, make=Cut, endpoints=API | {Endpoint.FILE}, places=API | {Endpoint.FILE}),
    FaultKind.DRIP: Form(
        value=_share,
        make=lambda bytes_per_second=20_000.0: Drip(bytes_per_s=bytes_per_second),
        options={"bytes_per_second": _positive},
        endpoints=frozenset({Endpoint.FILE}),
        places=API | {Endpoint.FILE},
    ),
}

COMMON: Mapping[str, Callable[[object], Any]] = {
    "at": _duration_s,
    "for": _duration_s,
    "endpoint": _endpoints,
    "ids": _ids,
    "times": _count,
}


def parse_fault_script(content: bytes) -> FaultScript:
    """Read a script, YAML or JSON. Raises FaultScriptError with everything that is wrong with it."""
    if len(content) > MAX_SCRIPT_BYTES:
        raise FaultScriptError((f"is longer than {MAX_SCRIPT_BYTES:,} bytes",))
    try:
        document = yaml.safe_load(content.decode("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise FaultScriptError((f"{line}is not YAML: {error.problem or 'it cannot be read'}",)) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise FaultScriptError(("is neither YAML nor JSON",)) from None
    return _script(document)


def _script(document: object) -> FaultScript:
    if document is None:
        return FaultScript()
    fields: dict[object, Any] = document if isinstance(document, dict) else {"faults": document}
    listed, seed = fields.get("faults") or [], fields.get("seed", 1)
    if not isinstance(listed, list):
        raise FaultScriptError(("faults must be a list",))
    problems = [
        f"{name} is not known: a script has faults and seed" for name in fields if name not in {"faults", "seed"}
    ]
    if type(seed) is not int:
        problems.append("seed must be a whole number")
    faults = []
    for number, each in enumerate(listed, start=1):
        reading = _Reading(each)
        if reading.fault is not None:
            faults.append(reading.fault)
        problems += [f"fault {number}: {problem}" for problem in reading.problems]
    if problems:
        raise FaultScriptError(tuple(problems))
    return FaultScript(faults=tuple(faults), seed=seed)


class _Reading:
    """One entry of a script: the fault it describes, or why it describes none."""

    def __init__(self, entry: object) -> None:
        self.problems: list[str] = []
        self.fault: Fault | None = None
        if not isinstance(entry, dict):
            self.problems.append("must be words with values, such as {endpoint: project, fail: 0.3}")
            return
        kinds = [kind for kind in FaultKind if kind.value in entry]
        if len(kinds) != 1:
            words = ", ".join(kind.value for kind in FaultKind)
            self.problems.append(f"needs {'just ' if kinds else ''}one of {words}")
            return
        self._read(kinds[0], FORMS[kinds[0]], entry)

    def _read(self, kind: FaultKind, form: Form, entry: Mapping[object, object]) -> None:
        readers = {**COMMON, **form.options, kind.value: form.value}
        said: dict[str, Any] = {}
        for word, value in entry.items():
            if not isinstance(word, str) or word not in readers:
                known = ", ".join((*form.options, *COMMON))
                self.problems.append(f"{word} is not known beside {kind.value}: {known} are")
                continue
            try:
                said[word] = readers[word](value)
            except _NotUsableError as error:
                self.problems.append(f"{word} {error}")
        endpoints = said.get("endpoint", form.endpoints)
        self.problems += _misplaced(kind, form, endpoints, entry)
        if self.problems:
            return
        made = {word: said[word] for word in form.options if word in said}
        share = 1.0
        if form.value is _share:
            share = said[kind.value]
        else:
            made["value"] = said[kind.value]
        self.fault = Fault(
            effect=form.make(**made),
            endpoints=endpoints,
            ids=said.get("ids", frozenset()),
            start_s=said.get("at", 0.0),
            duration_s=said.get("for", math.inf),
            share=share,
            times=said.get("times"),
        )


def _misplaced(
    kind: FaultKind, form: Form, endpoints: frozenset[Endpoint], entry: Mapping[object, object]
) -> Iterator[str]:
    """Tell what cannot be at the place it is wanted."""
    if not endpoints <= form.places:
        yield f"{kind.value} can be at {', '.join(each.value for each in Endpoint if each in form.places)} alone"
    if kind is FaultKind.OUTAGE and entry[kind.value] == _REFUSE:
        if endpoints not in _PORTS:
            yield "outage: refuse closes a port: endpoint must be api (with the file service), file or all"
        if "ids" in entry or "times" in entry:
            yield "outage: refuse closes a port: it knows no ids and no times"
