"""Whatever is set, the answer is a configuration or lines that say what is wrong, without a secret in them."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kafka_pipeline._settings.problems import ConfigError
from kafka_pipeline.claimx.dlq import options
from kafka_pipeline.claimx.dlq.letters import facts
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.config import PipelineConfig, load_config
from tests.kafka_pipeline.fuzz.hostile import CANARY, TEXTS, VALUES, headers, often, spoiled_bytes

FIELDS = sorted(PipelineConfig.model_fields)
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
PLAIN = st.sampled_from(
    ["1", "0", "-1", "true", "a,b", '["a"]', "[", "SASL_SSL", "https://h.example.com", "1e400", "nan", "inf"]
)

SECRET_LINKS = [f"https://u:{CANARY}@h.example.com/?sig={CANARY}", f"SharedAccessKey={CANARY}", f"Basic {CANARY}=="]
"""What people put into the wrong setting. Elsewhere a value may be quoted back, so that they find their error."""


def told(path: Path | None, overrides: dict[str, str], environ: dict[str, str]) -> str:
    """Return what is said about settings; empty if nothing is."""
    try:
        config = load_config(path, overrides, environ)
    except ConfigError as error:
        said = str(error)
    else:
        return repr(config)[:0]
    assert said
    assert all(len(line) < 1_000 for line in said.splitlines())
    return said


@often(150)
@example(values={"claimx_retry_delays_seconds": "1e400"})
@example(values={"claimx_retry_delays_seconds": "9" * 5_000, "lake_url": "abfss://[::1"})
@example(values={"data_dir": "~nobody_of_that_name/x", "worker_batch_records": "\u0661"})
@given(values=st.dictionaries(st.sampled_from(FIELDS), PLAIN | TEXTS | st.sampled_from(SECRET_LINKS), max_size=6))
def test_any_text_in_the_environment_or_an_option_is_taken_or_explained(values: dict[str, str]) -> None:
    """No other error, and no credential that stands in the wrong place is quoted."""
    environ = {name.upper(): text for name, text in values.items() if "\0" not in text}
    for said in (told(None, {}, environ), told(None, values, {})):
        for secret in SECRET_LINKS:
            assert secret not in said


@often(150)
@example(content=b"? [a]\n: 1\n")
@example(content=b"a: &x [*x]\nkafka_group_prefix: *x\n")
@example(content=b"!!python/object/apply:os.system ['true']")
@example(content=b"worker_batch_records: !!int 0x\n")
@example(content=b"worker_batch_records: 2026-02-30\n")
@given(
    content=st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=5).map(
        lambda document: yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace")
    )
    | st.binary(max_size=60)
    | st.text("ab:-[]{}&*!|>?%@`'\"# \n\t", max_size=40).map(str.encode)
)
def test_any_file_is_taken_or_explained(content: bytes) -> None:
    """YAML that is none, that names no field, whose values are of any kind; nothing in it is ever run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        file.write_bytes(content)
        told(file, {}, {})


@often(300)
@example(text="999999w")
@example(text="0001-01-01T00:00:00+14:00")
@given(text=TEXTS | st.text("0123456789smhdwTZ:-+. ", max_size=20))
def test_any_since_is_a_time_or_refused(text: str) -> None:
    """`--since` takes a span or a time; the time is aware, and letters can be compared with it."""
    try:
        start = options.since(text, NOW)
    except ValueError as problem:
        assert CANARY not in str(problem)  # noqa: PT017 - many examples raise nothing
        return
    assert start.tzinfo is not None
    chosen = options.selection(reasons=None, event_types=None, projects=None, ids=None, since=start)
    chosen.described()
    chosen.covers(DeadLetter.parse(letter(b"{}", ())), dict)


def letter(value: bytes | None, more: Any) -> Record:
    """Return a record of a dead-letter topic."""
    return Record(topic="d", partition=0, offset=1, key=None, value=value, headers=more, timestamp_ms=2**62)


@often(200)
@given(
    value=spoiled_bytes([{"event_type": "X", "projectId": 1, "media_ids": [1, "2"], "eventId": "e"}]),
    more=headers(["dlq-reason", "dlq-last-failed-at"]),
    asked=st.lists(TEXTS, max_size=3),
)
def test_any_filter_is_answered_for_any_letter(value: bytes | None, more: Any, asked: list[str]) -> None:
    """Whoever asks for whatever: a letter is meant or not."""
    read = DeadLetter.parse(letter(value, more))
    for kind in DeadLetterKind:
        chosen = options.selection(reasons=asked[:1], event_types=asked, projects=asked[1:], ids=asked, since=NOW)
        assert chosen.covers(read, lambda kind=kind: facts(kind, read, NOW)) in {True, False}  # type: ignore[misc]
