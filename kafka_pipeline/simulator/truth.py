"""What the lake must hold at the end, worked out from the world and the feed by sections 8 to 11 and 15 alone.

Nothing of the pipeline is used: a mistake it shares with itself would be no mistake. Each table has one function from
`Story` to its rows; `_TABLES` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.expectation import DayOf, ExpectedFile, ExpectedTable, JsonText, Key, Matcher, Truth
from kafka_pipeline.simulator.feed import FeedItem, FeedKind
from kafka_pipeline.simulator.spelling import FeedEvent
from kafka_pipeline.simulator.story import ASKED, AUDIT, Row, Story
from kafka_pipeline.simulator.truth_calls import video_collab
from kafka_pipeline.simulator.truth_forms import external_links, task_templates, tasks
from kafka_pipeline.simulator.truth_people import contacts, primary_email
from kafka_pipeline.simulator.world import LinkForm, MediaItem, World

_FROM_EXPORT = (
    *("project_number", "secondary_number", "status", "created_date", "date_of_loss", "type_of_loss", "cause_of_loss"),
    *("loss_description", "date_received", "date_contacted", "planned_inspection_date", "date_inspected"),
    *("appointment_date", "custom_attribute1", "custom_attribute2", "custom_attribute3", "custom_external_unique_id"),
    *("year_built", "square_footage", "company_name"),
)
_FROM_CUSTOMER = ("custom_business_name", "business_line_type")
_FROM_ADDRESS = ("street1", "street2", "city", "state_province", "zip_postcode", "county", "country")
_RESERVED = ("coverages", "contents_task_sent", "xa_autolink_fail", "contents_task_at", "xa_autolink_fail_at")
_FROM_ITEM = ("media_description", "media_comment", "gps_source", "taken_date", "latitude", "longitude")


def build_truth(world: World, feed: Iterable[FeedItem], *, api_origin: str, storage_origin: str) -> Truth:
    """Return what the lake must hold. Origins are `http://host:port`.

    Reads every expected file once, to know its hash.
    """
    items = tuple(feed)
    events = tuple(item.event for item in items if item.kind is FeedKind.EVENT and item.event is not None)
    touched = {event.project_id for event in events if event.event_type in words.ROUTED_TYPES}
    listed = {event.project_id for event in events if event.event_type in words.MEDIA_TYPES}
    assigned = {event.task_assignment_id for event in events if event.event_type in words.TASK_TYPES}
    held = {event.video_collaboration_id for event in events if event.event_type in words.VIDEO_TYPES}
    projects = tuple(project for project in world.projects.values() if str(project.project_id) in touched)
    story = Story(
        events=events,
        projects=projects,
        media=tuple(item for project in projects if str(project.project_id) in listed for item in project.media),
        tasks=tuple(task for project in projects for task in project.tasks if str(task.assignment_id) in assigned),
        calls=tuple(call for project in projects for call in project.calls if str(call.video_collaboration_id) in held),
        api_origin=api_origin,
        storage_origin=storage_origin,
    )
    hashes = {item.media_id: item.file().sha256() for item in story.stored_media()}
    tables = [_table(name, keys, rows(story)) for name, keys, rows in _TABLES]
    tables.append(_table("claimx_attachments", ("media_id",), _attachments(story, hashes)))
    return Truth(
        tables={table.name: table for table in tables},
        files={
            blob_path(item): ExpectedFile(size_bytes=item.size_bytes, sha256=hashes[item.media_id])
            for item in story.stored_media()
        },
        dead_events=sum(item.kind is FeedKind.MALFORMED for item in items),
    )


def blob_path(item: MediaItem) -> str:
    """Return where an item's file lies under Files/ [BLB-1]."""
    return f"claimx/{item.project_id}/{item.media_id}/{item.safe_file_name}"


def _table(name: str, key_columns: tuple[str, ...], rows: Iterable[Row]) -> ExpectedTable:
    by_key: dict[Key, Mapping[str, object]] = {}
    for row in rows:
        key = tuple(row[column] for column in key_columns)
        if key in by_key:
            raise ValueError(f"{name}: two rows are expected for one key")
        by_key[key] = row
    return ExpectedTable(name=name, key_columns=key_columns, rows=by_key)


def _events(story: Story) -> Iterator[Row]:
    """claimx_events, section 9.2."""
    for event in story.events:
        yield {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "project_id": event.project_id,
            "media_id": event.media_id,
            "task_assignment_id": event.task_assignment_id,
            "video_collaboration_id": event.video_collaboration_id,
            "master_file_name": event.master_file_name,
            "media_ids": None if event.media_ids is None else JsonText(list(event.media_ids)),
            "raw_data": JsonText(event.raw_data),
            "ingested_at": Matcher.PRESENT if event.ingested_at is None else event.ingested_at,
            "created_at": Matcher.PRESENT,
            "event_date": DayOf("ingested_at"),
        }


def _projects(story: Story) -> Iterator[Row]:
    """claimx_projects, section 9.3. The API is read after every event of the feed, so what it says of the MFN wins."""
    told = _latest_mfn(story.events)
    for project in story.projects:
        project_id = str(project.project_id)
        customer, address = project.customer, project.address
        phone = customer.phones[0] if customer and customer.phones else None
        name, observed_at = told.get(project_id, (None, None))
        if project.master_file_name is not None:
            name, observed_at = project.master_file_name, Matcher.PRESENT
        row: Row = {
            "project_id": project_id,
            "master_file_name": name,
            "master_file_name_observed_at": observed_at,
            "customer_first_name": customer.first_name if customer else None,
            "customer_last_name": customer.last_name if customer else None,
            "primary_email": primary_email(customer),
            "primary_phone": phone.phone_number if phone else None,
            "primary_phone_country_code": phone.phone_country_code if phone else None,
            "policyholder_invited_at": story.earliest(words.POLICYHOLDER_INVITED, project_id),
            "policyholder_joined_at": story.earliest(words.POLICYHOLDER_JOINED, project_id),
            "source_event_id": story.caused_by(words.ROUTED_TYPES, "project_id", project_id),
        }
        row |= {column: getattr(project, column) for column in _FROM_EXPORT}
        row |= {column: getattr(customer, column, None) for column in _FROM_CUSTOMER}
        row |= {column: getattr(address, column, None) for column in _FROM_ADDRESS}
        yield row | dict.fromkeys(_RESERVED) | ASKED


def _latest_mfn(events: Iterable[FeedEvent]) -> dict[str, tuple[object, object]]:
    """Return by project the name that the latest event gives, by the event's own time, and that (settled point 2)."""
    latest: dict[str, tuple[object, str]] = {}
    for event in sorted(events, key=lambda event: str(event.ingested_at)):
        if event.master_file_name is None:
            continue
        before = latest.get(event.project_id)
        if event.ingested_at is None or (before and before[0] == event.ingested_at):
            raise ValueError("the feed leaves open which master file name is the latest")
        latest[event.project_id] = (event.ingested_at, event.master_file_name)
    return {project_id: (name, at) for project_id, (at, name) in latest.items()}


def _media(story: Story) -> Iterator[Row]:
    """claimx_media, section 9.5: when a link expires is the clock's, but that it does is known."""
    for item in story.media:
        row: Row = {
            "media_id": str(item.media_id),
            "project_id": str(item.project_id),
            "task_assignment_id": None if item.task_assignment_id is None else str(item.task_assignment_id),
            "file_type": item.name.media_type,
            "file_name": item.name.media_name or Matcher.BLANK,
            "full_download_link": story.stored_link(item),
            "expires_at": None if item.link is LinkForm.NONE else Matcher.PRESENT,
            "source_event_id": story.caused_by(words.MEDIA_TYPES, "project_id", str(item.project_id)),
        }
        yield row | {column: getattr(item, column) for column in _FROM_ITEM} | ASKED


def _attachments(story: Story, hashes: Mapping[int, str]) -> Iterator[Row]:
    """claimx_attachments, section 9.10: every file that has a link is fetched, stored and completed."""
    for item in story.stored_media():
        yield {
            "media_id": str(item.media_id),
            "project_id": str(item.project_id),
            "blob_path": blob_path(item),
            "file_name": item.safe_file_name,
            "file_type": item.name.media_type or Matcher.BLANK,
            "media_type": item.name.media_type or Matcher.BLANK,
            "media_name": item.name.media_name or Matcher.BLANK,
            "bytes_downloaded": item.size_bytes,
            "content_type": item.content_type,
            "content_sha256": hashes[item.media_id],
            "download_url": story.stored_link(item),
            "status": "completed",
            "error_category": None,
            "error_message": None,
            "downloaded_at": Matcher.PRESENT,
            "created_date": DayOf("created_at"),
            "source_event_id": story.caused_by(words.MEDIA_TYPES, "project_id", str(item.project_id)),
            **AUDIT,
        }


_TABLES: tuple[tuple[str, tuple[str, ...], Callable[[Story], Iterator[Row]]], ...] = (
    ("claimx_events", ("event_id",), _events),
    ("claimx_projects", ("project_id",), _projects),
    ("claimx_contacts", ("contact_id", "project_id"), contacts),
    ("claimx_media", ("media_id",), _media),
    ("claimx_tasks", ("task_id",), tasks),
    ("claimx_task_templates", ("template_id", "project_id"), task_templates),
    ("claimx_external_links", ("link_id",), external_links),
    ("claimx_video_collab", ("collaboration_id",), video_collab),
)
