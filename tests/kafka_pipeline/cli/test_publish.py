"""`claimx-publish`: every line of JSON is sent as it is, the others are told by number (settled point 15)."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

LINES = [
    b'{"eventType":"PROJECT_CREATED","projectId":1}',
    b'  {"eventType" : "SOMETHING_NEW", "projectId": "2"}  ',
    b"PROJECT_CREATED happened",
    b"",
    b" \t ",
    b"[1, 2]",
    b'"text"',
    b'{"eventType":"PROJECT_CREATED","projectId":3',
    b'{"a":NaN}',
    b'{"a":"\xff\xfe"}',
    b'{"a":1}{"b":2}',
    '{"note":"über 文"}'.encode(),
]
VALID = [line.strip() for line in (LINES[0], LINES[1], LINES[5], LINES[6], LINES[11])]
TOLD = "not JSON, not sent: lines 3, 8, 9, 10, 11\n"


async def test_lines_of_json_are_sent_unchanged_and_the_others_told_by_number(
    site: Any, program: Any, tmp_path: Path
) -> None:
    """Content is not judged, only whether it is JSON; blank lines are no lines. The code is 1, the rest is sent."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(LINES))
    ended = await program.run("claimx-publish", str(file), **site.environ)
    assert (ended.code, ended.err) == (1, TOLD)
    assert ended.out == f"5 events sent to {site.topics.events}\n"
    assert sorted(record.value for record in await site.read(site.topics.events)) == sorted(VALID)


async def test_standard_input_is_a_file_too(embedded_site: Any, program: Any) -> None:
    """With `-`; where every line is JSON the code is 0 and nothing is complained about."""
    ended = await program.run("claimx-publish", "-", stdin=b"\r\n".join(VALID), **embedded_site.environ)
    assert (ended.code, ended.err) == (0, "")
    assert len(await embedded_site.read(embedded_site.topics.events)) == len(VALID)


async def test_what_the_broker_does_not_admit_is_told_and_the_rest_sent(
    kafka_site: Any, program: Any, tmp_path: Path
) -> None:
    """One line too large does not keep back those around it."""
    file = tmp_path / "events.jsonl"
    lines = [b'{"n":%d}' % number for number in range(6)]
    incompressible = base64.b64encode(os.urandom(2_400_000))  # what counts is the size on the wire
    lines.insert(3, b'{"x":"' + incompressible + b'"}')
    file.write_bytes(b"\n".join(lines))
    ended = await program.run("claimx-publish", str(file), **kafka_site.environ)
    assert (ended.code, ended.err) == (1, "too large for the broker, not sent: line 4\n")
    assert ended.out == f"6 events sent to {kafka_site.topics.events}\n"
    values = {record.value for record in await kafka_site.read(kafka_site.topics.events)}
    assert values == {line for line in lines if len(line) < 100}


async def test_many_wrong_lines_are_not_all_listed(embedded_site: Any, program: Any) -> None:
    """The first twenty are, and how many more there are; numbers count all lines, across batches."""
    lines = [b"{}"] * 2_500 + [b"x"] * 30
    ended = await program.run("claimx-publish", "-", stdin=b"\n".join(lines), **embedded_site.environ)
    assert ended.code == 1
    assert ended.err.startswith("not JSON, not sent: lines 2501, 2502, ")
    assert ended.err.endswith(", 2520 and 10 more\n")
    assert await embedded_site.count(embedded_site.topics.events) == 2_500


async def test_a_file_that_cannot_be_read_is_one_line_and_code_2(embedded_site: Any, program: Any) -> None:
    """The path is named; nothing was sent."""
    ended = await program.run("claimx-publish", "nowhere.jsonl", **embedded_site.environ)
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem == "kafka-pipeline: claimx-publish: nowhere.jsonl: No such file or directory"


async def test_what_is_published_is_worked_off(embedded_site: Any, program: Any, tmp_path: Path) -> None:
    """The three commands of a try-out: write the feed of the simulator, publish it, ingest it until idle."""
    site = embedded_site
    feed = tmp_path / "feed.jsonl"
    written = await program.run("simulate", "--events", "50", "--projects", "5", "--write-feed", str(feed))
    assert (written.code, written.err) == (0, "")
    proper = len(feed.read_bytes().splitlines())
    assert written.out == f"{proper} events written to {feed}\n"
    published = await program.run("claimx-publish", str(feed), **site.environ)
    assert (published.code, published.out) == (0, f"{proper} events sent to {site.topics.events}\n")
    # The feed tells of another world than the API: what is not there is tried again, once and soon.
    environ = site.environ | {"CLAIMX_RETRY_DELAYS_SECONDS": "1"}
    worked = await program.run("claimx-all", "--exit-when-idle", "0.2", **environ)
    assert worked.code == 0
    assert len({row["event_id"] for row in site.rows("claimx_events")}) == len(set(feed.read_bytes().splitlines()))
