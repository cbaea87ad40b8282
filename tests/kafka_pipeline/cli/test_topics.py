"""`claimx-topics`: are the topics there, and if not, make them; on both brokers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafka_pipeline.common.messaging import NewTopic

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
    assert [(line.split()[0], line.split()[1], line.split()[-1]) for line in table] == [
        (name, "3", "present") for name in site.topics.all
    ]


@pytest.mark.kafka
async def test_topics_that_somebody_else_made_are_told_and_never_changed(
    kafka_bootstrap: str, program: Any, new_site: Any
) -> None:
    """Too few partitions differ, too short a retention is wrong and code 1, each with its remedy; nothing changes."""
    site = await new_site(kafka_bootstrap, bare=True)
    topics = site.topics
    await site.admin.create_topics(
        [
            NewTopic(name=topics.events, partitions=1),
            NewTopic(name=topics.downloads_cached, partitions=3, config={"retention.ms": "3600000"}),
        ]
    )
    told = await program.run("claimx-topics", **site.environ)
    assert told.code == 1
    assert f"{topics.events}: 1 partitions instead of 3" in told.out
    assert f"{topics.downloads_cached}: keeps records for 1 h, and they may have to wait for 24 h" in told.out
    states = {line.split()[0]: line.split()[-1] for line in told.out.splitlines() if line.startswith(" ")}
    found = [states[name] for name in (topics.events, topics.downloads_cached, topics.enrichment_pending)]
    assert found == ["differs", "wrong", "created"]
    facts = await site.admin.describe([topics.events, topics.downloads_cached])
    assert facts[topics.events].partitions == 1
    assert facts[topics.downloads_cached].config["retention.ms"] == "3600000"


def test_the_compact_layout_has_ten_topics_and_says_what_to_set(inside: Any) -> None:
    """For brokers that hold ten; workers need the same setting."""
    code, out, err = inside("claimx-topics", "--compact", "--json")
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 10
    assert "claimx.downloads.retry.20m" in {row["topic"] for row in rows}
    assert "CLAIMX_RETRY_DELAYS_SECONDS=1200" in err
    code, out, err = inside("claimx-topics", "--compact", "--check", "--json", CLAIMX_RETRY_DELAYS_SECONDS="600")
    assert code == 1
    assert "claimx.downloads.retry.10m" in {row["topic"] for row in json.loads(out)}
    assert "CLAIMX_RETRY_DELAYS_SECONDS=600" in err


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
