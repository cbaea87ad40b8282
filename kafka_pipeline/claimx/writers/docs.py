"""Writes `docs/tables.md` from the table declarations: `python -m kafka_pipeline.claimx.writers.docs [--write]`.

What a column's type, null and merge rule are stands in `tables.py` alone; here stands where its value comes from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic.alias_generators import to_camel

from kafka_pipeline.claimx.writers.tables import TABLES
from kafka_pipeline.common.lake import tables as types
from kafka_pipeline.common.lake.rules import (
    ClockOf,
    Earliest,
    Guarded,
    Kept,
    Latest,
    Newest,
    OwnClock,
    Rule,
    Weak,
    Winner,
)
from kafka_pipeline.common.lake.tables import Column, Mode, TableSpec

PAGE: Final = Path(__file__).parents[3] / "docs" / "tables.md"

_TYPES: Final = (
    (types.STRING, "text"),
    (types.INT, "integer (64 bit)"),
    (types.BOOL, "boolean"),
    (types.DOUBLE, "double"),
    (types.DATE, "date"),
    (types.TIMESTAMP, "timestamp (µs, UTC)"),
    (types.STRINGS, "list of text"),
)

ROWS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "events": "One event, once, however often it was delivered.",
        "projects": "One claim workspace, as its export told last.",
        "contacts": "One person of a project: the policyholder, who got a form, or who works for the carrier.",
        "media": "One file of a project, as the media list describes it. Whether it is stored: `claimx_attachments`.",
        "tasks": "One assignment of a form.",
        "task_templates": "One form, as it was when a project first used it.",
        "external_links": "One link by which somebody outside fills in a form.",
        "video_collab": "One video call.",
        "attachments": "One file of the lake: where it lies, how large it is, and whether it arrived.",
    }
)
"""What a row is, per table."""

_AUDIT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "source_event_id": "event that caused the last accepted change",
        "created_at": "time of the first write",
        "updated_at": "time of the last write",
        "last_enriched_at": "time the API was asked, or the event's own time where no API was asked",
        "created_date": "UTC date of created_at",
    }
)

_OBJECT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "events": "payload",
        "projects": "project",
        "contacts": "",
        "media": "media item",
        "tasks": "task",
        "task_templates": "customTask",
        "external_links": "externalLinkData",
        "video_collab": "video report",
        "attachments": "",
    }
)
"""The API object whose field of the same name in camelCase fills a column, unless `SOURCES` says otherwise."""

_RESERVED: Final = "reserved, never filled"

SOURCES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "events": {
            "event_id": "payload eventId, else made of the content",
            "media_ids": "payload mediaIds, as JSON text",
            "raw_data": "the whole payload, as JSON text; links without their query",
            "ingested_at": "payload IngestionTime, else the record's timestamp",
            "created_at": "time of the write",
            "event_date": "UTC date of ingested_at",
        },
        "projects": {
            "master_file_name": "project mfn, else masterFileName, else first teamMembers mfn; or the event's",
            "master_file_name_observed_at": "when that name was observed",
            "created_date": "project createdDate",
            "customer_first_name": "customerInformation firstName",
            "customer_last_name": "customerInformation lastName",
            "custom_business_name": "customerInformation customBusinessName",
            "business_line_type": "customerInformation businessLineType",
            "primary_email": "customerInformation emails: the primary one, else the first",
            "primary_phone": "customerInformation phones: the first one's phoneNumber",
            "primary_phone_country_code": "customerInformation phones: the first one's phoneCountryCode",
            "company_name": "companyName, beside project",
            "policyholder_invited_at": "payload invitedAt, else the event's ingested_at",
            "policyholder_joined_at": "payload joinedAt, else the event's ingested_at",
            **{
                name: f"address {to_camel(name)}"
                for name in ("street1", "street2", "city", "state_province", "zip_postcode", "county", "country")
            },
            **dict.fromkeys(
                ("coverages", "contents_task_sent", "contents_task_at", "xa_autolink_fail", "xa_autolink_fail_at"),
                _RESERVED,
            ),
        },
        "contacts": {
            "contact_id": "UUIDv5 of project, type and e-mail (else phone, else name)",
            "project_id": "the project",
            "contact_type": "POLICYHOLDER or CLAIM_REP",
            "contact_email": "customer, teamMembers userName, form recipient or invitation",
            "first_name": "customer, form recipient or invitation",
            "last_name": "customer, form recipient or invitation",
            "phone_number": "customer, form recipient or invitation, as received",
            "phone_country_code": "customer, form recipient or invitation",
            "is_primary_contact": "true for the customer; teamMembers primaryContact; false for a form recipient",
            "invite_status": "INVITED or JOINED, by the events",
            "master_file_name": "teamMembers mfn",
            "task_assignment_id": "task assignmentId, for a form recipient",
            "video_collaboration_id": _RESERVED,
        },
        "media": {
            "media_id": "media item mediaID",
            "project_id": "the project whose list was read",
            "file_type": "media item mediaType",
            "file_name": "media item mediaName",
            "full_download_link": "media item fullDownloadLink, without query and fragment",
            "expires_at": "expiry of the link",
        },
        "tasks": {
            "task_id": "task assignmentId",
            "assignment_id": "the same as task_id",
            "template_id": "task taskId",
            "project_id": "task projectId, else the event's",
            "assignor_email": "task assignor",
            "task_url": "task url, without query and fragment",
        },
        "task_templates": {
            "template_id": "customTask taskId, else task taskId",
            "project_id": "project of the task",
            "is_default": "customTask default",
            "allow_resubmit": "customTask allowReSubmit",
        },
        "external_links": {
            "assignment_id": "task assignmentId",
            "project_id": "project of the task",
            "url": "externalLinkData url, without query and fragment",
            "created_date": _RESERVED,
            "last_accessed": _RESERVED,
            "accessed_count": "0; nothing counts it yet",
        },
        "video_collab": {
            "collaboration_id": "the event's videoCollaborationId",
            "video_collaboration_id": "the same as collaboration_id",
            "project_id": "the event",
            "created_date": "video report createdDate",
            "claim_rep_full_name": "video report claimRepFullName, else first and last name",
            "total_time_seconds": "video report totalTimeSeconds, as decimal text",
            "status": "video report status, else INVITED or COMPLETED by the event",
            "recording_urls": "video report recordingUrls, recordingUrl or recordings, without query and fragment",
        },
        "attachments": {
            "media_id": "download task",
            "project_id": "download task",
            "blob_path": "claimx/{project_id}/{media_id}/{file_name}, below Files/",
            "file_name": "safe form of media_name",
            "file_type": "media item mediaType",
            "media_type": "the same as file_type",
            "media_name": "media item mediaName, as received",
            "bytes_downloaded": "counted while downloading",
            "content_type": "the storage's answer",
            "content_sha256": "hash of the bytes, hex",
            "download_url": "the link, without query and fragment",
            "status": "uploaded, completed, failed or failed_permanent",
            "error_category": "of the last failure; null once the file is stored",
            "error_message": "of the last failure, redacted; null once the file is stored",
            "downloaded_at": "when the download ended; null for failures",
        },
    }
)
"""Where a column's value comes from, where its name does not say it."""

_LEGEND: Final[tuple[tuple[type[Rule], str, str], ...]] = (
    (Newest, "newest", "The later observation wins; a null never replaces a value."),
    (Guarded, "newest, no filling", "The later observation wins; an older one changes nothing."),
    (Winner, "with its row", "Taken from the later observation, null or not."),
    (Kept, "first", "Set once, then kept."),
    (Earliest, "earliest", "The earliest value."),
    (Latest, "latest", "The latest value."),
    (Weak, "never back", "The weak value named never replaces another one; else as newest."),
    (OwnClock, "own time", "Ordered by its own time of observation instead of the row's; a null never competes."),
    (ClockOf, "time of", "The time of observation of the column named."),
)

_HEAD: Final = """\
# Tables

Generated from the code by `make docs`; do not edit. Every table is a Delta table under `{lake_url}/Tables/`, with plain
features only, so that Fabric, Spark, Power BI and DuckDB read it.

- Ids are text, also where ClaimX sends numbers. Times are UTC. Business dates of ClaimX are kept as the text received.
- Link columns hold no query: a signed link is a credential.
- Join a task to its form on `template_id` **and** `project_id`; a task's own id is its assignment's.
- Columns may be added in later versions; none is renamed or dropped. Select the columns you use.

## How two observations of one thing become one row

| rule | meaning |
|---|---|
"""


def tables_markdown() -> str:
    """Return the page."""
    legend = "".join(f"| {word} | {meaning} |\n" for _, word, meaning in _LEGEND)
    return _HEAD + legend + "".join(_section(name, spec) for name, spec in TABLES.items())


def source_of(table: str, column: str) -> str:
    """Return where a column's value comes from."""
    said = SOURCES[table].get(column) or _AUDIT.get(column)
    return said or f"{_OBJECT[table]} {to_camel(column)}".strip()


def _section(name: str, spec: TableSpec) -> str:
    return "\n".join(["", f"## {spec.name}", "", *_facts(name, spec), "", *_columns(name, spec), ""])


def _facts(name: str, spec: TableSpec) -> Iterator[str]:
    yield ROWS[name]
    mode = "inserted once, never changed" if spec.mode is Mode.INSERT_ONLY else "upserted"
    facts = [f"Key: {_listed(spec.keys)}", mode]
    if spec.clock is not None and spec.mode is Mode.UPSERT:
        facts.append(f"observations ordered by `{spec.clock}`")
    if spec.partition_by:
        facts.append(f"partitioned by {_listed(spec.partition_by)}")
    yield "; ".join(facts) + "."


def _columns(name: str, spec: TableSpec) -> Iterator[str]:
    yield "| column | type | null | merge | source |"
    yield "|---|---|---|---|---|"
    for column in spec.columns:
        kind = next(word for known, word in _TYPES if known == column.type)
        null = "yes" if column.nullable else "no"
        yield f"| {column.name} | {kind} | {null} | {_rule(spec, column)} | {source_of(name, column.name)} |"


def _rule(spec: TableSpec, column: Column) -> str:
    if column.name in spec.keys:
        return "key"
    if spec.mode is Mode.INSERT_ONLY:
        return "first"
    word = next(word for kind, word, _ in _LEGEND if type(column.rule) is kind)
    match column.rule:
        case Weak(values=values):
            return f"{word} to {', '.join(str(value).lower() if value is False else str(value) for value in values)}"
        case ClockOf(value=other):
            return f"{word} {other}"
        case _:
            return word


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description="Describe the tables of the lake, from their declarations.")
    parser.add_argument("--write", action="store_true", help="write docs/tables.md instead of printing")
    if parser.parse_args().write:
        PAGE.write_text(tables_markdown(), encoding="utf-8")
    else:
        sys.stdout.write(tables_markdown())


if __name__ == "__main__":
    main()
