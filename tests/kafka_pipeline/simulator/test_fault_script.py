"""Fault scripts: what they may say, and what is said of those that say something else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_pipeline.simulator.fault_script import (
    COMMON,
    FORMS,
    MAX_SCRIPT_BYTES,
    SCOPES,
    FaultScriptError,
    parse_fault_script,
)
from kafka_pipeline.simulator.faults import (
    API,
    FILES,
    KIND_OF,
    NO_FAULTS,
    Cut,
    Drip,
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

EVERYTHING = b"""
seed: 7
faults:
  - {latency: 200ms, jitter: 0.1, endpoint: all}
  - {at: 5s, for: 2m, endpoint: project, fail: 0.3}
  - {fail: 1, status: [500, 404], ids: [900001, "900002"], times: 2}
  - {throttle: 0.5, retry_after: 2s, form: date, endpoint: [files, media]}
  - {at: 1, for: 20s, outage: refuse}
  - {outage: 503, endpoint: file}
  - {short_links: 0.25, lifetime: 3s}
  - {expired: 0.1}
  - {cut: 0.1}
  - {drip: 0.1, bytes_per_second: 5000}
"""


def test_every_word_is_understood() -> None:
    """Each kind of fault with all that may stand beside it, and with what counts where nothing does."""
    ids = frozenset({"900001", "900002"})
    body = API | {Endpoint.FILE}
    assert parse_fault_script(EVERYTHING) == FaultScript(
        seed=7,
        faults=(
            Fault(effect=Latency(delay_s=0.2, jitter_s=0.1), endpoints=API | FILES),
            Fault(effect=Fail(), endpoints=frozenset({Endpoint.PROJECT}), start_s=5, duration_s=120, share=0.3),
            Fault(effect=Fail(statuses=(500, 404)), endpoints=API, ids=ids, times=2),
            Fault(
                effect=Throttle(retry_after_s=2, form=RetryAfterForm.DATE),
                endpoints=FILES | {Endpoint.MEDIA},
                share=0.5,
            ),
            Fault(effect=Outage(), endpoints=API, start_s=1, duration_s=20),
            Fault(effect=Outage(status=503), endpoints=frozenset({Endpoint.FILE})),
            Fault(effect=ShortLinks(lifetime_s=3), endpoints=frozenset({Endpoint.MEDIA}), share=0.25),
            Fault(effect=Expired(), endpoints=frozenset({Endpoint.FILE}), share=0.1),
            Fault(effect=Cut(), endpoints=body, share=0.1),
            Fault(effect=Drip(bytes_per_s=5000), endpoints=frozenset({Endpoint.FILE}), share=0.1),
        ),
    )


def test_every_kind_has_its_word() -> None:
    """No effect without a kind, no kind without an effect."""
    assert set(KIND_OF.values()) == set(FaultKind)
    assert {fault.kind for fault in parse_fault_script(EVERYTHING).faults} == set(FaultKind)


@pytest.mark.parametrize("content", [b"", b"faults:", b"[]", b"{}", b"\xef\xbb\xbffaults: []"])
def test_a_script_may_be_empty(content: bytes) -> None:
    """Nothing goes wrong then."""
    assert parse_fault_script(content) == NO_FAULTS


def test_json_is_a_script_too() -> None:
    """A list of faults alone is one, and JSON may be written instead of YAML."""
    script = parse_fault_script(json.dumps([{"endpoint": "task", "cut": 1}]).encode())
    assert [fault.effect for fault in script.faults] == [Cut()]
    assert script.faults[0].duration_s == math.inf


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"faults: [", ["line 1: is not YAML: "]),
        (b"\xff\xfe", ["is neither YAML nor JSON"]),
        (b"faults: 3", ["faults must be a list"]),
        (b"{faults: [], speed: 3, seed: x}", ["speed is not known: a script has faults and seed", "seed must be"]),
        (b"[3]", ["fault 1: must be words with values"]),
        (b"[{endpoint: project}]", ["fault 1: needs one of latency, fail,"]),
        (b"[{fail: 0.1, cut: 0.1}]", ["fault 1: needs just one of latency, fail,"]),
        (b"[{cut: 0.1}, {fail: 3}]", ["fault 2: fail must be a share from 0 to 1"]),
        (b"[{fail: true}]", ["fault 1: fail must be a share"]),
        (b"[{fail: .nan}]", ["fault 1: fail must be a share"]),
        (b"[{fail: 1, endpont: task}]", ["fault 1: endpont is not known beside fail: status, at, for, endpoint,"]),
        (b"[{cut: 1, status: 500}]", ["fault 1: status is not known beside cut"]),
        (b"[{fail: 1, status: 200}]", ["fault 1: status must be a status from 400 to 599"]),
        (b"[{fail: 1, status: []}]", ["fault 1: status must be"]),
        (b"[{fail: 1, endpoint: []}]", ["fault 1: endpoint must be one or some of project, media,"]),
        (b"[{fail: 1, ids: []}]", ["fault 1: ids must be an id"]),
        (b"[{fail: 1, times: 0}]", ["fault 1: times must be a whole number above 0"]),
        (b"[{fail: 1, at: -1s, for: soon}]", ["fault 1: at must be a time such as 5s", "fault 1: for must be a time"]),
        (b"[{latency: .inf}]", ["fault 1: latency must be a time"]),
        (b"[{outage: 404}]", ["fault 1: outage must be refuse"]),
        (b"[{outage: refuse, endpoint: task}]", ["fault 1: outage: refuse closes a port"]),
        (b"[{outage: refuse, times: 2}]", ["fault 1: outage: refuse closes a port: it knows no ids"]),
        (b"[{expired: 1, endpoint: api}]", ["fault 1: expired can be at link, file alone"]),
        (b"[{short_links: 1, lifetime: 0.2s}]", ["fault 1: lifetime must be at least 1s"]),
        (b"[{drip: 1, bytes_per_second: 0}]", ["fault 1: bytes_per_second must be a number above 0"]),
        (b"[{throttle: 1, form: iso}]", ["fault 1: form must be seconds or date"]),
        (b"x" * (MAX_SCRIPT_BYTES + 1), ["is longer than"]),
        (b"[" * 100_000, ["is neither YAML nor JSON"]),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_is_wrong_is_told_at_once_in_one_line_each(content: bytes, problems: list[str]) -> None:
    """Every line names the fault and the word, and what would be right."""
    with pytest.raises(FaultScriptError) as raised:
        parse_fault_script(content)
    told = raised.value.problems
    assert len(told) == len(problems), told
    assert all(line.startswith(wanted) for line, wanted in zip(told, problems, strict=True)), told
    assert all("\n" not in line for line in told)


WORDS = ["at", "for", "endpoint", "ids", "times", "seed", "status", *(kind.value for kind in FaultKind)]
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
SCRIPTS = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | VALUES, inner, max_size=4),
    max_leaves=8,
)


@given(SCRIPTS)
def test_any_document_is_a_script_or_is_told_what_is_wrong(document: Any) -> None:
    """Nothing but FaultScriptError is ever raised, whatever the file holds."""
    try:
        script = parse_fault_script(json.dumps({"faults": [document]}, default=str, skipkeys=True).encode())
    except FaultScriptError as error:
        faults = len(error.problems)
    else:
        faults = len(script.faults)
    assert faults >= 1


def test_the_page_on_faults_has_every_word_and_its_script_is_one() -> None:
    """docs/faults.md can be followed: no word is missing, and what stands there is accepted."""
    page = (Path(__file__).parents[3] / "docs" / "faults.md").read_text(encoding="utf-8")
    script = page.partition("```yaml\n")[2].partition("```")[0]
    assert {fault.kind for fault in parse_fault_script(script.encode()).faults} == set(FaultKind)
    words = {kind.value for kind in FaultKind} | {word for form in FORMS.values() for word in form.options}
    assert {word for word in words | {*COMMON, *SCOPES} if f"`{word}`" not in page} == set()
