"""`claimx-topics`: are the topics there, and if not, make them; on both brokers."""

from __future__ import annotations

import json
from typing import Any

import pytest

COUNT = 16
"""Topics by default [TOP-1]."""


async def test_check_creates_nothing_and_tells_what_is_missing(bare_site: Any, program: Any) -> None:
    """Code 1 while a topic is missing; create makes them all; then check is content, with code 0."""
    site = bare_site
    checked = await program.run("claimx-topics", "--check", "--json", **site.environ)
    assert (checked.code, checked.err) == (1, "")
    rows = json.loads(checked.out)
    assert [row["topic"] for row in rows] == list(site.topics.all)
    assert len(rows) == COUNT
    assert {(row["partitions"], row["state"]) for row in rows} == {(0, "missing")}
    assert not set(site.topics.all) & set(await site.admin.topics())

    created = await program.run("claimx-topics", "--json", **site.environ)
    assert (created.code, created.err) == (0, "")
    assert {(row["partitions"], row["state"]) for row in json.loads(created.out)} == {(3, "created")}
    there = await site.admin.topics()
    assert {there.get(name) for name in site.topics.all} == {3}

    again = await program.run("claimx-topics", "--json", **site.environ)
    assert {row["state"] for row in json.loads(again.out)} == {"present"}
    content = await program.run("claimx-topics", "--check", **site.environ)
    assert (content.code, content.err) == (0, "")
    first, _, *table = content.out.splitlines()
    assert first == f"Topics on {site.broker.description}:"
    assert [line.split() for line in table] == [[name, "3", "present"] for name in site.topics.all]


@pytest.mark.kafka
async def test_a_worker_says_which_topics_are_missing_and_how_to_make_them(
    kafka_bootstrap: str, program: Any, unique: Any
) -> None:
    """On a real cluster, where making them is the operator's decision: one line, code 2."""
    environ = {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "CLAIMX_DLQ_TOPIC": unique("nobody-made-this")}
    ended = await program.run("claimx-ingester", **environ)
    assert ended.code == 2
    assert "topics are missing on Kafka at" in ended.problem
    assert "run `kafka-pipeline claimx-topics` to create them" in ended.problem


def test_a_broker_that_does_not_answer_is_one_line_and_code_2(inside: Any) -> None:
    """Nothing on stdout, so that whoever reads the JSON gets none rather than half of it."""
    code, out, err = inside("claimx-topics", "--json", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "Kafka at 127.0.0.1:1 does not answer" in err
