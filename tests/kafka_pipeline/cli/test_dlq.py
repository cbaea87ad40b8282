"""`claimx-dlq` from outside: what people type, what they see, how it ends; the same on every broker."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message

SECRET = "CANARY"
MANY = 6_000

LETTERS = {
    (DeadLetterKind.EVENTS, "malformed"): 3,
    (DeadLetterKind.EVENTS, "too_large"): 1,
    (DeadLetterKind.ENRICHMENT, "not_found"): 2,
}


def download(number: int = 1) -> bytes:
    """Return a download task that holds what nobody should see."""
    task = {
        "media_id": f"{7_100_000 + number}",
        "project_id": "900001",
        "download_url": f"https://files.example.com/a?X-Amz-Signature={SECRET}",
        "blob_path": f"claimx/900001/{7_100_000 + number}/{SECRET}.jpg",
        "file_name": f"{SECRET}.jpg",
        "retry_count": 4,
    }
    return json.dumps(task).encode()


def headers(reason: str, **more: str) -> tuple[tuple[str, bytes], ...]:
    """Return what a dead letter says of its failure."""
    told = {
        "dlq-reason": reason,
        "dlq-error-class": "ApiError",
        "dlq-error-text": "GET /export/project/{id} answered 404",
        "dlq-attempts": "5",
        "dlq-last-failed-at": "2026-03-01T12:00:00+00:00",
    }
    pairs = {**told, **{f"dlq-{name.replace('_', '-')}": word for name, word in more.items()}}
    return tuple((name, word.encode()) for name, word in pairs.items())


async def fill(site: Any) -> None:
    """Write dead letters, and one that somebody else wrote without any header."""
    for (kind, reason), count in LETTERS.items():
        topic = site.topics.dead_letters(kind)
        letter = Message(topic=topic, value=SECRET.encode(), headers=(("dlq-reason", reason.encode()),))
        await site.put(topic, *[letter] * count)
    await site.put(site.topics.dead_letters(DeadLetterKind.DOWNLOADS), SECRET.encode())


def counts(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the counts that `list --json` tells."""
    return [(row["kind"], row["reason"], row["count"]) for row in rows]


async def listed(site: Any, program: Any, *options: str) -> list[tuple[Any, ...]]:
    """Return the counts as the command tells them."""
    ended = await program.run("claimx-dlq", "list", "--json", *options, **site.environ)
    assert (ended.code, ended.err) == (0, "")
    return counts(json.loads(ended.out))


def audited(err: str) -> list[Mapping[str, Any]]:
    """Return the audit lines among what was told on standard error."""
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("audit")]


async def test_dead_letters_are_counted_by_kind_reason_and_age(site: Any, program: Any) -> None:
    """As JSON and as a table, the most frequent reason of a kind first; what they hold is not shown."""
    await fill(site)
    ended = await program.run("claimx-dlq", "list", "--json", **site.environ)
    assert (ended.code, ended.err) == (0, "")
    rows = json.loads(ended.out)
    assert counts(rows) == [
        ("downloads", "", 1),
        ("enrichment", "not_found", 2),
        ("events", "malformed", 3),
        ("events", "too_large", 1),
    ]
    assert rows[2]["ages"] == {"hour": 3, "day": 0, "week": 0, "older": 0}
    shown = await program.run("claimx-dlq", "list", "--kind", "events", **site.environ)
    assert (shown.code, shown.err) == (0, "")
    heading, *lines = shown.out.splitlines()
    assert heading.split()[:3] == ["kind", "reason", "count"]
    assert [line.split()[:4] for line in lines] == [
        ["events", "malformed", "3", "3"],
        ["events", "too_large", "1", "1"],
    ]
    assert SECRET not in ended.out + shown.out


async def test_where_there_are_none_it_says_so_and_where_it_looked(embedded_site: Any, program: Any) -> None:
    """Whoever looks in the wrong place can see it; for machines it is an empty list."""
    shown = await program.run("claimx-dlq", "list", **embedded_site.environ)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"no dead letters on {embedded_site.broker.description}\n"
    assert await listed(embedded_site, program) == []
    for command in (("replay", "--all", "--yes"), ("purge", "--yes")):
        ended = await program.run("claimx-dlq", *command, **embedded_site.environ)
        assert ended.code == 0


@pytest.mark.kafka
async def test_without_topics_it_says_in_one_sentence_what_to_do(
    kafka_bootstrap: str, new_site: Any, program: Any
) -> None:
    """On a cluster, topics are the operator's decision."""
    site = await new_site(kafka_bootstrap, bare=True)
    ended = await program.run("claimx-dlq", "list", **site.environ)
    assert ended.code == 2
    assert "run `kafka-pipeline claimx-topics` to create them" in ended.problem


async def test_inspect_shows_what_happened_and_hides_whom_it_happened_to(embedded_site: Any, program: Any) -> None:
    """Masked unless somebody asks, and who did is on record."""
    topic = embedded_site.topics.dead_letters(DeadLetterKind.DOWNLOADS)
    more = {"original_topic": "claimx.downloads.pending", "original_partition": "1", "original_offset": "7"}
    letter = Message(topic=topic, key=b"7100001", value=download(), headers=headers("url_expired", **more))
    await embedded_site.put(topic, letter, Message(topic=topic, key=b"7100001", value=b"\xff" + SECRET.encode()))
    command = ("claimx-dlq", "inspect", "--kind", "downloads")

    masked = await program.run(*command, "--json", "--reason", "url_expired", **embedded_site.environ)
    [row] = json.loads(masked.out)
    assert (row["kind"], row["reason"], row["attempts"], row["key"]) == ("downloads", "url_expired", 5, "7100001")
    assert (row["topic"], row["id"]) == (topic, f"downloads-{row['partition']}-{row['offset']}")
    assert (row["original_topic"], row["original_offset"]) == ("claimx.downloads.pending", 7)
    assert row["value"]["download_url"] == "https://files.example.com/<redacted>"
    shown = await program.run(*command, **embedded_site.environ)
    assert '"hint": "not JSON"' in shown.out
    assert SECRET not in masked.out + masked.err + shown.out + shown.err

    revealed = await program.run(*command, "--reveal", "--id", row["id"], "--json", **embedded_site.environ)
    assert SECRET in revealed.out
    assert SECRET not in revealed.err
    [line] = audited(revealed.err)
    assert (line["event"], line["count"]) == ("dead_letters_revealed", 1)


async def test_texts_of_others_cannot_steer_a_terminal(embedded_site: Any, program: Any) -> None:
    """Escape sequences and markup in headers are shown as what they are."""
    topic = embedded_site.topics.dead_letters(DeadLetterKind.EVENTS)
    evil = headers("\x1b[2J[red]", error_class="\x1b]0;title\x07", error_text="\x1b[31mred")
    await embedded_site.put(topic, Message(topic=topic, value=b"{}", headers=evil))
    for command in (("list",), ("inspect",), ("replay", "--all", "--dry-run")):
        ended = await program.run("claimx-dlq", *command, **embedded_site.environ)
        assert ended.code == 0
        assert "\x1b" not in ended.out
        assert "[red]" in ended.out


async def test_a_replay_by_filter_sends_what_fits_and_says_so(site: Any, program: Any) -> None:
    """Previewed, sent, counted, audited; the rest waits, and a second run sends nothing twice."""
    topic = site.topics.dead_letters(DeadLetterKind.DOWNLOADS)
    for number, reason in enumerate(["url_expired", "permanent", "url_expired"]):
        key = b"%d" % (7_100_000 + number)
        await site.put(topic, Message(topic=topic, key=key, value=download(number), headers=headers(reason)))
    chosen = ("claimx-dlq", "replay", "--reason", "url_expired", "--project", "900001")

    dry = await program.run(*chosen, "--dry-run", "--json", **site.environ)
    assert [(row["kind"], row["sent"], row["reasons"]) for row in json.loads(dry.out) if row["sent"]] == [
        ("downloads", 2, {"url_expired": 2})
    ]
    assert await site.count(site.topics.downloads_pending) == 0

    ended = await program.run(*chosen, "--yes", **site.environ)
    assert ended.code == 0, ended.err
    assert [line.split() for line in ended.out.splitlines()][1] == ["downloads", "url_expired", "2"]
    begun, done = audited(ended.err)
    assert begun["event"] == "dead_letters_replay_begins"
    assert (done["event"], done["sent"]["downloads"]) == ("dead_letters_replayed", 2)
    assert done["filter"] == {"project": ["900001"], "reason": ["url_expired"]}
    assert done["user"]
    sent = await site.read(site.topics.downloads_pending)
    assert {(record.key, record.header("dlq-replays")) for record in sent} == {(b"7100000", b"1"), (b"7100002", b"1")}
    assert {json.loads(record.value)["retry_count"] for record in sent} == {0}
    assert await listed(site, program) == [("downloads", "permanent", 1)]
    inspected = await program.run("claimx-dlq", "inspect", "--json", **site.environ)
    assert [row["reason"] for row in json.loads(inspected.out)] == ["permanent"]

    again = await program.run("claimx-dlq", "replay", "--all", "--yes", "--json", **site.environ)
    rows = {row["kind"]: row for row in json.loads(again.out)}
    assert (rows["downloads"]["sent"], rows["downloads"]["already_replayed"]) == (1, 2)
    assert await site.count(site.topics.downloads_pending) == 3
    assert await listed(site, program) == []


async def test_an_edited_letter_goes_back_and_keeps_its_original(site: Any, program: Any, tmp_path: Path) -> None:
    """The changed value is checked, sent and marked; the letter stays with what it was."""
    topic = site.topics.dead_letters(DeadLetterKind.EVENTS)
    broken = b'{"eventType":"PROJECT_CREATED"}'
    await site.put(topic, Message(topic=topic, value=broken, headers=headers("malformed")))
    [record] = await site.read(topic)
    name = f"events-{record.partition}-{record.offset}"
    file = tmp_path / "value.json"

    file.write_bytes(broken)
    refused = await program.run("claimx-dlq", "edit", name, "--file", str(file), **site.environ)
    assert refused.code == 2
    assert refused.problem.endswith("the changed value is not valid: project_id is missing or empty")

    mended = b'{"eventType":"PROJECT_CREATED","projectId":900001}'
    edited = await program.run("claimx-dlq", "edit", name, "--file", "-", "--json", stdin=mended, **site.environ)
    assert edited.code == 0, edited.err
    assert json.loads(edited.out) == [{"id": name, "kind": "events", "topic": site.topics.events, "sent": 1}]
    assert [line["letter"] for line in audited(edited.err)] == [name]
    [sent] = await site.read(site.topics.events)
    assert sent.value == mended
    assert sent.header("dlq-edited-from") == f"{topic}-{record.partition}-{record.offset}".encode()
    assert await listed(site, program) == []
    assert next(each.value for each in await site.read(topic) if each.offset == record.offset) == broken
    twice = await program.run("claimx-dlq", "edit", name, "--file", "-", stdin=mended, **site.environ)
    assert "was replayed before; --again sends it once more" in twice.problem


async def test_the_editor_gets_the_value_and_leaves_no_copy(embedded_site: Any, program: Any, tmp_path: Path) -> None:
    """A file for the user's eyes alone, gone afterwards; unchanged means nothing is sent."""
    topic = embedded_site.topics.dead_letters(DeadLetterKind.DOWNLOADS)
    await embedded_site.put(topic, Message(topic=topic, value=download(), headers=headers("permanent")))
    [record] = await embedded_site.read(topic)
    name = f"downloads-{record.partition}-{record.offset}"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = embedded_site.environ | {"TMPDIR": str(temporary)}
    same = await program.run("claimx-dlq", "edit", name, **environ, EDITOR="true")
    assert same.problem.endswith("nothing was changed, and nothing was sent")
    failed = await program.run("claimx-dlq", "edit", name, **environ, EDITOR="false")
    assert "ended with code 1" in failed.problem
    none = await program.run("claimx-dlq", "edit", name, **environ, EDITOR="", VISUAL="")
    assert "no editor is set" in none.problem

    changed = await program.run("claimx-dlq", "edit", name, **environ, EDITOR="sed -i s/900001/900002/g")
    assert changed.code == 0, changed.err
    [sent] = await embedded_site.read(embedded_site.topics.downloads_pending)
    assert json.loads(sent.value)["project_id"] == "900002"
    assert list(temporary.iterdir()) == []
    assert SECRET not in changed.out + changed.err


async def test_a_purge_deletes_what_it_shows(site: Any, program: Any) -> None:
    """It says what is gone, by kind, and leaves the other kinds alone."""
    await fill(site)
    ended = await program.run("claimx-dlq", "purge", "--kind", "events", "--yes", "--json", **site.environ)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == [{"kind": "events", "deleted": 4, "waiting": 4, "replayed": 0}]
    [line] = audited(ended.err)
    assert (line["event"], line["kind"], line["waiting"]) == ("dead_letters_purged", "events", 4)
    assert [row[0] for row in await listed(site, program)] == ["downloads", "enrichment"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("replay", "--yes"), "choose what to replay: either --all, or filters such as --reason"),
        (("replay", "--all", "--reason", "x"), "choose what to replay"),
        (("replay", "--all"), "there is no terminal to ask on: add --yes"),
        (("purge",), "there is no terminal to ask on: add --yes"),
        (("inspect", "--since", "yesterday"), "--since takes a span such as 90m, 2h or 3d"),
        (("edit", "nonsense"), "a dead letter is named KIND-PARTITION-OFFSET"),
        (("edit", "events-0-99"), "there is no such dead letter on"),
        (("edit", "events-²-x"), "there is no such dead letter on"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_nonsense_is_refused_in_one_sentence(
    embedded_site: Any, program: Any, arguments: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, and nothing was done."""
    ended = await program.run("claimx-dlq", *arguments, **embedded_site.environ)
    assert ended.code == 2
    assert sentence in ended.problem


async def test_a_record_that_fails_again_is_quarantined_in_the_end(site: Any, program: Any) -> None:
    """Beside a running pipeline: each failure counts its replays, until only force sends it."""
    environ = site.environ | {"CLAIMX_DLQ_MAX_REPLAYS": "2"}
    letters = site.topics.dead_letters(DeadLetterKind.EVENTS)
    command = ("claimx-dlq", "replay", "--kind", "events", "--all", "--yes", "--json")
    async with site.working(WorkerKind.INGESTER):
        await site.publish(b"no event")
        for replays in range(3):
            await site.filled(letters, replays + 1)
            assert max(letter.replays for letter in await site.dead_letters(DeadLetterKind.EVENTS)) == replays
            ended = await program.run(*command, **environ)
            [row] = json.loads(ended.out)
            assert (row["sent"], row["quarantined"]) == ((1, 0) if replays < 2 else (0, 1))
    ended = await program.run("claimx-dlq", "list", **environ)
    assert "1 quarantined, having come back too often" in ended.out


async def many(site: Any, count: int = MANY) -> str:
    """Write many letters of one kind, and return the topic they go back to."""
    topic = site.topics.dead_letters(DeadLetterKind.ENRICHMENT)
    letters = [
        Message(topic=topic, key=b"%d" % number, value=b"%d" % number, headers=headers("broken" if number % 5 else "x"))
        for number in range(count)
    ]
    await site.put(topic, *letters)
    target: str = site.topics.enrichment_pending
    return target


async def test_interrupted_it_has_marked_what_it_sent_and_goes_on_when_run_again(site: Any, program: Any) -> None:
    """Ctrl-C: exit code 130, and in the end each letter was sent exactly once."""
    command = ("claimx-dlq", "replay", "--kind", "enrichment", "--yes", "--json", "--all")
    expected: Counter[int] = Counter()
    for count in (MANY, 3 * MANY, 9 * MANY):
        before = expected.total()
        target = await many(site, count)
        expected.update(range(count))
        running = await program.start(*command, **site.environ)
        await site.filled(target, before + 1)
        ended = await running.stop(signal.SIGINT)
        if ended.code != 0:
            break  # else it was through before it could be interrupted: once more, with more to do
    assert ended.code == 130, ended.err
    [row] = json.loads(ended.out)
    assert before + row["sent"] == await site.count(target)
    ended = await program.run(*command, **site.environ)
    assert ended.code == 0, ended.err
    assert Counter(int(record.value) for record in await site.read(target)) == expected


@pytest.mark.crash
async def test_killed_it_loses_nothing_and_repeats_no_more_than_a_batch(site: Any, program: Any) -> None:
    """Killed with -9 in the middle: the next run waits for the dead one's session, and sends what is missing."""
    target = await many(site)
    command = ("claimx-dlq", "replay", "--kind", "enrichment", "--yes", "--json", "--reason", "broken")
    running = await program.start(*command, **site.environ)
    await site.filled(target, 1)
    await running.stop(signal.SIGKILL)
    ended = await program.run(*command, **site.environ)
    assert ended.code == 0, ended.err
    arrivals = Counter(int(record.value) for record in await site.read(target))
    wanted = [number for number in range(MANY) if number % 5]
    assert sorted(arrivals) == wanted
    assert sum(arrivals.values()) - len(wanted) <= 500
    assert max(arrivals.values()) <= 2
