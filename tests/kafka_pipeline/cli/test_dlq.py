"""`claimx-dlq list`: what was set aside, counted by stage and reason."""

from __future__ import annotations

import json
from typing import Any

from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message

LETTERS = {
    (DeadLetterKind.EVENTS, "malformed"): 3,
    (DeadLetterKind.EVENTS, "too_large"): 1,
    (DeadLetterKind.ENRICHMENT, "not_found"): 2,
}


async def fill(site: Any) -> None:
    """Write dead letters, and one that somebody else wrote without any header."""
    for (kind, reason), count in LETTERS.items():
        topic = site.topics.dead_letters(kind)
        letter = Message(topic=topic, value=b"CANARY", headers=(("dlq-reason", reason.encode()),))
        await site.put(topic, *[letter] * count)
    await site.put(site.topics.dead_letters(DeadLetterKind.DOWNLOADS), b"CANARY")


async def test_dead_letters_are_counted_by_kind_and_reason(site: Any, program: Any) -> None:
    """As JSON and as a table, the most frequent reason of a kind first; what they hold is not shown."""
    await fill(site)
    listed = await program.run("claimx-dlq", "list", "--json", **site.environ)
    assert (listed.code, listed.err) == (0, "")
    assert json.loads(listed.out) == [
        {"kind": "downloads", "reason": "", "count": 1},
        {"kind": "enrichment", "reason": "not_found", "count": 2},
        {"kind": "events", "reason": "malformed", "count": 3},
        {"kind": "events", "reason": "too_large", "count": 1},
    ]
    shown = await program.run("claimx-dlq", "list", "--kind", "events", **site.environ)
    assert (shown.code, shown.err) == (0, "")
    heading, *lines = shown.out.splitlines()
    assert heading.split() == ["kind", "reason", "count"]
    assert [line.split() for line in lines] == [["events", "malformed", "3"], ["events", "too_large", "1"]]
    assert "CANARY" not in listed.out + shown.out


async def test_where_there_are_none_it_says_so_and_where_it_looked(embedded_site: Any, program: Any) -> None:
    """Whoever looks in the wrong place can see it; for machines it is an empty list."""
    shown = await program.run("claimx-dlq", "list", **embedded_site.environ)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"no dead letters on {embedded_site.broker.description}\n"
    listed = await program.run("claimx-dlq", "list", "--json", **embedded_site.environ)
    assert (listed.code, json.loads(listed.out)) == (0, [])
