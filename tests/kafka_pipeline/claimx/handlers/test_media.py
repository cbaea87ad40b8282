"""A project's file list becomes rows and downloads once, however many events ask for it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.handlers.base import HandlerResult, Origin
from kafka_pipeline.claimx.handlers.media import MediaHandler
from kafka_pipeline.claimx.handlers.media_rows import download_task, media_results, media_row
from kafka_pipeline.claimx.schemas.entities import ProjectRow
from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.shapes import MediaItem, read_media_list
from kafka_pipeline.common.failures import Category

INGESTED = datetime(2026, 3, 2, 14, 5, 10, tzinfo=UTC)
ASKED = INGESTED + timedelta(seconds=2)
NOW = INGESTED + timedelta(seconds=3)
EXPIRES = datetime(2026, 3, 3, 14, 5, 10, tzinfo=UTC)
ORIGIN = Origin(event_id="e-1", project_id="900001", requested_at=ASKED)
AUDIT = {"source_event_id": "e-1", "created_at": None, "updated_at": None, "last_enriched_at": ASKED}


def category_of(result: HandlerResult) -> Category | None:
    """Return the category of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.category


def reason_of(result: HandlerResult) -> str | None:
    """Return the reason of a result's failure, None for a success."""
    return None if result.failed is None else result.failed.reason


def named(result: Any) -> list[str]:
    """Return the media ids of a result's rows."""
    return [row.media_id for row in result.rows.media]


def test_every_column_of_a_file_comes_from_its_field(api: Any) -> None:
    """(9.5) Both samples; the stored link has no query [SEC-8], the time it ends is kept."""
    first, second = read_media_list(api.media).items
    assert media_row(first, ORIGIN).to_row() == {
        **AUDIT,
        "media_id": "7100001",
        "project_id": "900001",
        "task_assignment_id": None,
        "file_type": "jpg",
        "file_name": "front door.jpg",
        "media_description": "Front",
        "media_comment": "Wet",
        "gps_source": "DEVICE",
        "taken_date": "2026-03-02T14:04:00.000+00:00",
        "latitude": 12.5,
        "longitude": -45.25,
        "full_download_link": "https://claimx.example.com/service/cxfileservice/file/7100001",
        "expires_at": EXPIRES,
    }
    assert media_row(second, ORIGIN).to_row() == {
        **AUDIT,
        "media_id": "7100002",
        "project_id": "900001",
        "task_assignment_id": "8200001",
        "file_type": "mp4",
        "file_name": "roof/view:1*.mp4",
        "media_description": None,
        "media_comment": None,
        "gps_source": None,
        "taken_date": None,
        "latitude": None,
        "longitude": None,
        "full_download_link": "https://media.s3.example.com/sample/7100002.mp4",
        "expires_at": EXPIRES,
    }


def test_signed_links_are_stored_only_on_demand(api: Any) -> None:
    """[SEC-8] claimx_store_signed_links keeps them whole."""
    item = read_media_list(api.media).items[0]
    assert media_row(item, ORIGIN, store_signed_links=True).full_download_link == item.full_download_link


def test_a_download_task_has_the_whole_link_its_end_and_its_place(api: Any) -> None:
    """(3, BLB-1, LNK-1) Everything that the downloader needs, the odd name made safe."""
    item = read_media_list(api.media).items[1]
    assert download_task(item, ORIGIN) == ClaimXDownloadTask(
        media_id="7100002",
        project_id="900001",
        download_url=api.media["data"][1]["fullDownloadLink"],
        blob_path="claimx/900001/7100002/view_1_.mp4",
        file_type="mp4",
        file_name="roof/view:1*.mp4",
        source_event_id="e-1",
        retry_count=0,
        refresh_count=0,
        expires_at=EXPIRES,
    )


@pytest.mark.parametrize(
    ("item", "expires_at"),
    [
        (
            MediaItem(media_id="1", full_download_link="https://x.example.com/a", expires_at="2026-03-03T14:05:10Z"),
            EXPIRES,
        ),
        (MediaItem(media_id="1", full_download_link="https://x.example.com/a"), None),
        (MediaItem(media_id="1", full_download_link="https://x.example.com/a", expires_at={"odd": 1}), None),
        (MediaItem(media_id="1", full_download_link="https://x.example.com/a?expires=5"), None),
    ],
)
def test_the_item_s_own_end_counts_where_the_link_names_none(item: MediaItem, expires_at: datetime | None) -> None:
    """[LNK-1, LNK-2] And nothing readable means unknown."""
    task = download_task(item, ORIGIN)
    assert task is not None
    assert (expires_at, expires_at) == (task.expires_at, media_row(item, ORIGIN).expires_at)


def test_no_name_and_no_type_still_make_a_place() -> None:
    """[BLB-2] The link's last segment names the file."""
    task = download_task(MediaItem(media_id="1", full_download_link="https://x.example.com/a/b.png?sig=1"), ORIGIN)
    assert task is not None
    assert (task.blob_path, task.file_type, task.file_name) == ("claimx/900001/1/b.png", "", "")


async def test_ten_events_of_one_project_cost_one_call_and_queue_each_file_once(
    api: Any, context: Any, event: Any
) -> None:
    """[HND-4] Each file is with the event that names it, the others with the last event."""
    api.media = [{"mediaID": number, "fullDownloadLink": f"https://x.example.com/{number}"} for number in range(1, 13)]
    tasks = [event("PROJECT_FILE_ADDED", event_id=f"e{number}", media_id=str(number)) for number in range(1, 11)]
    results = await MediaHandler(context).handle_batch(tasks, api)
    assert api.calls == [("media", "900001")]
    assert [[str(number)] for number in range(1, 10)] + [["10", "11", "12"]] == [named(result) for result in results]
    assert [f"e{number}" for number in range(1, 11)] == [result.downloads[0].source_event_id for result in results]
    assert {None} == {result.failed for result in results}
    assert (sum(len(result.rows) for result in results), sum(len(result.downloads) for result in results)) == (12, 12)


async def test_events_of_several_projects_keep_their_order_and_their_project(
    api: Any, context: Any, event: Any
) -> None:
    """Groups are asked side by side, results come back in the order of the events."""
    api.media = {"1": [{"mediaID": 11}], "2": [{"mediaID": 22, "fullDownloadLink": "https://x.example.com/"}]}
    tasks = [
        event("PROJECT_FILE_ADDED", event_id=str(index), project_id=project)
        for index, project in enumerate(["1", "2", "1", "2"])
    ]
    results = await MediaHandler(context).handle_batch(tasks, api)
    assert [result.task for result in results] == tasks
    assert [named(result) for result in results] == [[], [], ["11"], ["22"]]
    assert {("media", "1"), ("media", "2")} == set(api.calls)
    assert results[3].downloads[0].project_id == results[3].rows.media[0].project_id == "2"


async def test_an_event_whose_file_is_missing_or_without_link_is_retried_alone(
    api: Any, context: Any, event: Any
) -> None:
    """[HND-4, settled point 8] The others succeed, and every row and file is there, also of the failed ones."""
    api.media["data"].append({"mediaID": 7100003, "mediaName": "late.jpg"})
    tasks = [event("PROJECT_FILE_ADDED", event_id=name, media_id=name) for name in ("7100001", "5", "7100003")]
    good, absent, linkless = await MediaHandler(context).handle_batch(tasks, api)
    assert (
        good.failed,
        category_of(absent),
        category_of(linkless),
    ) == (None, Category.TRANSIENT, Category.TRANSIENT)
    assert (named(good), named(absent), named(linkless)) == (["7100001", "7100002"], [], ["7100003"])
    assert (len(good.downloads), len(absent.downloads), len(linkless.downloads)) == (2, 0, 0)


async def test_the_other_files_are_not_lost_when_every_event_fails(api: Any, context: Any, event: Any) -> None:
    """What the list says is true, whether or not the one file is there."""
    [result] = await MediaHandler(context).handle_batch([event("PROJECT_FILE_ADDED", media_id="5")], api)
    assert (category_of(result), len(result.rows), len(result.downloads)) == (Category.TRANSIENT, 2, 2)


@pytest.mark.parametrize("media", [[], {"data": []}, {"data": None}, {}])
async def test_a_project_without_media_is_a_success_unless_a_file_was_named(
    api: Any, context: Any, event: Any, media: object
) -> None:
    """(5.4) Empty means no media."""
    api.media = media
    unnamed, file_name, absent = await MediaHandler(context).handle_batch(
        [
            event("PROJECT_FILE_ADDED"),
            event("PROJECT_MFN_ADDED", master_file_name="M"),
            event("PROJECT_FILE_ADDED", media_id="1"),
        ],
        api,
    )
    assert (unnamed.failed, file_name.failed, category_of(absent)) == (None, None, Category.TRANSIENT)
    assert len(unnamed.rows + file_name.rows + absent.rows) == 1


async def test_an_mfn_event_reads_the_list_and_says_the_name_at_its_own_time(
    api: Any, context: Any, event: Any
) -> None:
    """[HND-6] The name is observed at the event's time, the media at the request's; the row observes nothing else.

    With a time of the row an event whose clock goes ahead would shut out the next answers of the API (I4).
    """
    [result] = await MediaHandler(context).handle_batch([event("PROJECT_MFN_ADDED", master_file_name="M-2")], api)
    assert result.rows.projects == (
        ProjectRow(
            project_id="900001",
            master_file_name="M-2",
            master_file_name_observed_at=INGESTED,
            source_event_id="event-PROJECT_MFN_ADDED",
        ),
    )
    assert {ASKED} == {row.last_enriched_at for row in result.rows.media}
    assert len(result.downloads) == 2


@pytest.mark.parametrize(
    ("ingested_at", "observed_at"),
    [
        (None, INGESTED + timedelta(seconds=1)),
        (NOW + timedelta(minutes=4), NOW + timedelta(minutes=4)),
        (NOW + timedelta(minutes=6), NOW),
    ],
)
async def test_an_mfn_is_observed_at_creation_or_now_where_its_time_is_missing_or_absurd(
    api: Any, context: Any, event: Any, ingested_at: datetime | None, observed_at: datetime
) -> None:
    """[HND-6, settled point 24] A time far ahead would shut out every later name."""
    task = event("PROJECT_MFN_ADDED", master_file_name="M-2", ingested_at=ingested_at)
    [result] = await MediaHandler(context).handle_batch([task], api)
    assert observed_at == result.rows.projects[0].master_file_name_observed_at


async def test_an_mfn_event_without_a_name_still_reads_the_list(api: Any, context: Any, event: Any) -> None:
    """Nothing to say about the project, but the files are fetched."""
    [result] = await MediaHandler(context).handle_batch([event("PROJECT_MFN_ADDED")], api)
    assert (result.rows.projects, len(result.rows.media), result.failed) == ((), 2, None)


@pytest.mark.parametrize("category", [Category.TRANSIENT, Category.AUTH, Category.PERMANENT])
async def test_a_list_that_cannot_be_read_fails_its_project_only(
    api: Any, context: Any, event: Any, api_error: Any, category: Category
) -> None:
    """[HND-10] With the call's own category; another project's events do not notice."""
    api.media = {"1": api_error(category), "2": []}
    failed, fine = await MediaHandler(context).handle_batch(
        [event("PROJECT_FILE_ADDED", project_id="1"), event("PROJECT_FILE_ADDED", project_id="2")], api
    )
    assert (category, None) == (category_of(failed), fine.failed)


async def test_an_unknown_project_is_not_found(api: Any, context: Any, event: Any) -> None:
    """[7.2] 404 on the list."""
    api.media = None
    [result] = await MediaHandler(context).handle_batch([event("PROJECT_FILE_ADDED")], api)
    assert (category_of(result), reason_of(result)) == (Category.PERMANENT, "not_found")


async def test_an_id_that_no_path_may_hold_is_not_downloaded(api: Any, context: Any, event: Any) -> None:
    """(7.3) Its row is written; naming it is permanent, being listed beside others harms none."""
    evil = {"mediaID": "../../etc", "fullDownloadLink": "https://x.example.com/a"}
    api.media["data"].append(evil)
    naming, fine = await MediaHandler(context).handle_batch(
        [event("PROJECT_FILE_ADDED", media_id="../../etc"), event("PROJECT_FILE_ADDED", media_id="7100001")], api
    )
    assert (category_of(naming), naming.downloads, len(fine.downloads)) == (Category.PERMANENT, (), 2)


IDS = st.sampled_from(["1", "2", "3", "4"])


@given(
    listed=st.dictionaries(IDS, st.booleans()),
    events=st.lists(
        st.tuples(st.sampled_from(["PROJECT_FILE_ADDED", "PROJECT_MFN_ADDED"]), st.none() | IDS), min_size=1, max_size=8
    ),
)
@settings(deadline=None, max_examples=200)
def test_each_file_is_shared_out_exactly_once(listed: dict[str, bool], events: list[tuple[str, str | None]]) -> None:
    """Whatever the list and the events: a row per file, a download per link, a failure per named file without one.

    And no file goes with an event that fails while another succeeds, unless that event names it.
    """
    media = read_media_list(
        [
            {"mediaID": name, "fullDownloadLink": f"https://x.example.com/{name}" if link else None}
            for name, link in listed.items()
        ]
    )
    counter = itertools.count()
    tasks = [
        ClaimXEnrichmentTask(
            event_id=f"e{next(counter)}", event_type=kind, project_id="9", created_at=INGESTED, media_id=media_id
        )
        for kind, media_id in events
    ]
    results = media_results(tasks, media, requested_at=ASKED, now=NOW, store_signed_links=False)
    assert [result.task for result in results] == tasks
    assert sorted(listed) == sorted(row.media_id for result in results for row in result.rows.media)
    assert sorted(name for name, link in listed.items() if link) == sorted(
        task.media_id for result in results for task in result.downloads
    )
    for result, (kind, media_id) in zip(results, events, strict=True):
        names = kind == "PROJECT_FILE_ADDED" and media_id is not None
        assert (result.failed is not None) == (names and not listed.get(media_id or "", False))
        others = {task.media_id for task in result.downloads} - {media_id}
        assert not (result.failed and others and any(other.failed is None for other in results))
