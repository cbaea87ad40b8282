"""How `claimx-dlq` tells what it found and did: tables for people, JSON for programs.

Texts from headers are somebody else's words: for a terminal they lose what could steer it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kafka_pipeline.claimx.dlq.desk import Found, Progress, Stock
from kafka_pipeline.claimx.dlq.masking import masked, masked_key, revealed
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.deadletter.selection import Verdict
from kafka_pipeline.common.deadletter.summary import Age
from kafka_pipeline.common.observability.redaction import redact

Row = dict[str, Any]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))

AGES = {Age.HOUR: "< 1 h", Age.DAY: "< 1 d", Age.WEEK: "< 7 d", Age.OLDER: "older"}

QUARANTINED = "quarantined, having come back too often: sent only by replay --force"

LEFT = {
    Verdict.QUARANTINED.value: QUARANTINED,
    Verdict.NO_VALUE.value: "kept without their value, which was too large: nothing to send",
    Verdict.ALREADY_REPLAYED.value: "replayed before; --again sends them once more",
    "too_large": "not sent: larger than the topic takes that they came from",
}
"""What a replay leaves where it is, and what to say of it."""


def print_json(rows: Sequence[Row]) -> None:
    """Print a JSON list."""
    typer.echo(json.dumps(rows, indent=2))


def counted(stocks: Mapping[DeadLetterKind, Stock]) -> list[Row]:
    """Return what waits by kind and reason, the most frequent reason of a kind first."""
    return [
        {
            "kind": kind.value,
            "reason": redact(reason),
            "count": each.count,
            "quarantined": each.quarantined,
            "ages": {age.value: each.ages[age] for age in Age},
            "oldest": _iso(each.oldest),
        }
        for kind, stock in sorted(stocks.items())
        for reason, each in sorted(stock.summary.reasons.items(), key=lambda item: (-item[1].count, item[0]))
    ]


def print_counted(rows: Sequence[Row], now: datetime) -> None:
    """Print the counts as a table, and what needs a word."""
    _print_table(
        [
            {
                **{name: row[name] for name in ("kind", "reason", "count")},
                **{title: row["ages"][age.value] for age, title in AGES.items()},
                "oldest": "unknown" if row["oldest"] is None else _span(now - datetime.fromisoformat(row["oldest"])),
            }
            for row in rows
        ]
    )
    if quarantined := sum(row["quarantined"] for row in rows):
        typer.echo(f"{quarantined} {QUARANTINED}")


def inspected(found: Iterable[Found], *, reveal: bool) -> list[Row]:
    """Return letters in full: where they are, what happened, and the value, masked unless `reveal`."""
    return [_inspected(each, reveal=reveal) for each in found]


def print_inspected(rows: Sequence[Row]) -> None:
    """Print letters one after the other."""
    for row in rows:
        state = "".join(f", {word}" for word in ("replayed", "quarantined") if row[word])
        typer.echo(_clean(f"{row['id']}: {row['reason'] or 'no reason given'}{state}"))
        typer.echo(_clean(f"  {row['error_class']}: {row['error_text']}"))
        typer.echo(
            f"  attempts {_or_unknown(row['attempts'])}, replays {row['replays']}, "
            f"failed first {_or_unknown(row['first_failed_at'])}, last {_or_unknown(row['last_failed_at'])}"
        )
        if row["edited_from"]:
            typer.echo(_clean(f"  edited from {row['edited_from']}"))
        value = json.dumps(row["value"], indent=2)
        typer.echo("\n".join(f"  {line}" for line in value.splitlines()))
        typer.echo()


def replays(progress: Progress, *, dry_run: bool) -> list[Row]:
    """Return by kind what a replay sent, or would send, and what it left where it is."""
    return [
        {
            "kind": kind.value,
            "dry_run": dry_run,
            "sent": tally.sent,
            "reasons": {redact(reason): count for reason, count in tally.reasons.most_common()},
            **{each.value: tally.verdicts[each] for each in Verdict if each.value in LEFT},
            "too_large": tally.too_large,
        }
        for kind, tally in progress.tallies.items()
    ]


def print_replays(rows: Sequence[Row], *, dry_run: bool, err: bool = False) -> None:
    """Print what a replay did as a histogram of reasons, and what stays with the reason why."""
    title = "would be sent" if dry_run else "sent"
    lines = [{"kind": row["kind"], "reason": why, title: n} for row in rows for why, n in row["reasons"].items()]
    if lines:
        _print_table(lines, err=err)
    else:
        typer.echo("nothing to send" if dry_run else "nothing was sent", err=err)
    for name, words in LEFT.items():
        if count := sum(row[name] for row in rows):
            typer.echo(f"{count} {words}", err=err)


def purged(stocks: Mapping[DeadLetterKind, Stock]) -> list[Row]:
    """Return by kind what a purge deletes."""
    return [
        {
            "kind": kind.value,
            "deleted": stock.summary.waiting + stock.summary.replayed,
            "waiting": stock.summary.waiting,
            "replayed": stock.summary.replayed,
        }
        for kind, stock in stocks.items()
    ]


def print_purged(rows: Sequence[Row], title: str, *, err: bool = False) -> None:
    """Print what a purge deletes, under the words for the sum."""
    lines = [{"kind": row["kind"], title: row["deleted"], **_parts(row)} for row in rows if row["deleted"]]
    if lines:
        _print_table(lines, err=err)
    else:
        typer.echo("no dead letters", err=err)


def _parts(row: Row) -> Row:
    return {"of these waiting": row["waiting"], "of these replayed": row["replayed"]}


def _inspected(found: Found, *, reveal: bool) -> Row:
    letter = found.letter
    record = letter.record
    if reveal:
        key, value = (
            None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
            revealed(record.value),
        )
    else:
        key, value = masked_key(record.key), masked(record.value)
    return {
        "id": found.name,
        "kind": found.kind.value,
        "reason": redact(letter.reason),
        "attempts": letter.attempts,
        "key": key,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "value": value,
        "error_class": redact(letter.error_class),
        "error_text": letter.error_text,
        "first_failed_at": _iso(letter.first_failed_at),
        "last_failed_at": _iso(letter.last_failed_at),
        "original_topic": letter.original_topic,
        "original_partition": letter.original_partition,
        "original_offset": letter.original_offset,
        "replays": letter.replays,
        "edited_from": letter.edited_from,
        "replayed": found.replayed,
        "quarantined": found.quarantined,
    }


def _print_table(rows: Sequence[Row], *, err: bool = False) -> None:
    table = Table(box=None)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_clean(_or_unknown(value))) for value in row.values()))
    Console(stderr=err).print(table)


def _span(age: timedelta) -> str:
    """Return a span in its largest unit: `3 d`."""
    seconds = max(int(age.total_seconds()), 0)
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds // size} {unit}"


def _clean(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _or_unknown(value: object) -> str:
    return "unknown" if value is None else str(value)


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
