"""Bad input, through the real ingester in a process of its own: set aside as it was, told once, and passed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message

CANARY = "CANARY-5550142"
"""Stands for what must not be told: it is in every bad record, and in its key."""
KEY = f"{CANARY}-key".encode()
MAX_EVENT_BYTES = 2_048

TYPED = '{"eventType":"PROJECT_CREATED","note":"' + CANARY + '"'


def timed(moment: str) -> bytes:
    """Return an event with this ingestion time, written as JSON."""
    return f'{TYPED},"projectId":900001,"IngestionTime":{moment}}}'.encode()


MALFORMED: dict[str, bytes | None] = {
    "no value": None,
    "no bytes": b"",
    "not JSON": f"{CANARY} happened".encode(),
    "cut short": f'{TYPED},"projectId":90000'.encode(),
    "two documents": f'{TYPED},"projectId":900001}}{{}}'.encode(),
    "not a number of JSON": f'{TYPED},"projectId":NaN}}'.encode(),
    "a list": f'[{TYPED},"projectId":900001}}]'.encode(),
    "text": f'"{CANARY}"'.encode(),
    "a number": b"5550142",
    "null": b"null",
    "true": b"true",
    "nested without end": b"[" * 1_000 + b"]" * 1_000,
    "no project": f"{TYPED}}}".encode(),
    "null for a project": f'{TYPED},"projectId":null}}'.encode(),
    "a blank project": f'{TYPED},"projectId":" \\t "}}'.encode(),
    "a boolean for a project": f'{TYPED},"projectId":true}}'.encode(),
    "an object for a project": f'{TYPED},"projectId":{{"id":900001}}}}'.encode(),
    "a fraction for a project": f'{TYPED},"projectId":900001.5}}'.encode(),
    "no type": f'{{"projectId":900001,"note":"{CANARY}"}}'.encode(),
    "a blank type": f'{{"eventType":"  ","projectId":900001,"note":"{CANARY}"}}'.encode(),
    "a number for a type": f'{{"eventType":7,"projectId":900001,"note":"{CANARY}"}}'.encode(),
    "a day that is none": timed('"2026-02-30T00:00:00Z"'),
    "a month that is none": timed('"2026-13-01T00:00:00Z"'),
    "an hour that is none": timed('"2026-02-03T25:61:00Z"'),
    "a year that is none": timed('"0000-01-01T00:00:00Z"'),
    "a time in words": timed(f'"{CANARY}"'),
    "a time beyond all calendars": timed("99999999999999999999"),
    "wrong UTF-8": f'{TYPED},"projectId":900001,"x":"'.encode() + b'\xff\xfe"}',
    "UTF-16": f'{TYPED},"projectId":900001}}'.encode("utf-16"),
    "a lone surrogate": f'{TYPED},"projectId":900001,"x":"\\ud800"}}'.encode(),
}
TOO_LARGE = {
    "over the limit": f'{TYPED},"projectId":900001,"x":"{"x" * MAX_EVENT_BYTES}"}}'.encode(),
    "far over the limit": f'{TYPED},"projectId":900001,"x":"{"x" * 300_000}"}}'.encode(),
}
BAD: dict[str, bytes | None] = {**MALFORMED, **TOO_LARGE}


def good_event(number: int) -> bytes:
    """Return an event that nothing is wrong with."""
    return json.dumps({"eventType": "SOMETHING_NEW", "projectId": 900_000 + number}).encode()


async def test_bad_records_are_set_aside_as_they_were_and_those_behind_them_go_on(site: Any, program: Any) -> None:
    """Each is in claimx.dlq.events with reason, bytes, key and position; the log tells of it once, not what it holds.

    A good event stands behind each bad one in the same partition; every one of them has its row and its task.
    """
    ingester = await program.start("claimx-ingester", **site.environ | {"MAX_EVENT_BYTES": str(MAX_EVENT_BYTES)})
    values = [each for number, bad in enumerate(BAD.values()) for each in (bad, good_event(number))]
    await site.put(site.topics.events, *(Message(topic=site.topics.events, key=KEY, value=value) for value in values))
    await site.drained(site.topics.events)
    ended = await ingester.stop()
    assert ended.code == 0

    written = [record for record in await site.read(site.topics.events) if record.value in set(BAD.values())]
    letters = await site.dead_letters(DeadLetterKind.EVENTS)
    assert {letter.record.value for letter in letters} == set(BAD.values())
    assert [(letter.original_partition, letter.original_offset, letter.record.value) for letter in letters] == [
        (record.partition, record.offset, record.value) for record in written
    ]
    assert {letter.original_topic for letter in letters} == {site.topics.events}
    assert {letter.original_key for letter in letters} == {KEY}
    assert {letter.attempts for letter in letters} == {1}
    name_of = {value: name for name, value in BAD.items()}
    reasons = {name_of[letter.record.value]: letter.reason for letter in letters}
    assert reasons == dict.fromkeys(MALFORMED, "malformed") | dict.fromkeys(TOO_LARGE, "too_large")

    stored = {row["project_id"] for row in site.rows("claimx_events")}
    assert stored == {str(900_000 + number) for number in range(len(BAD))}
    assert await site.count(site.topics.enrichment_pending) == len(BAD)

    said = [json.loads(line) for line in ended.err.splitlines()]
    about = Counter((line["partition"], line["offset"]) for line in said if line["event"] == "record_set_aside")
    assert about == Counter((record.partition, record.offset) for record in written)
    told = ended.out + ended.err + "".join(letter.error_text for letter in letters)
    assert CANARY not in told
    assert "5550142" not in told
    assert not [line for line in said if line["level"] in {"error", "critical"}]
