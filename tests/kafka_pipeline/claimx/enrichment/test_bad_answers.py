"""Whatever the service answers, each event has a category and a reason, and a later sound answer mends everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry
from kafka_pipeline.simulator.feed import FeedItem
from kafka_pipeline.simulator.vocabulary import MEDIA_TYPES, TASK_TYPES, VIDEO_TYPES

TRANSIENT, AUTH, PERMANENT = Category.TRANSIENT.value, Category.AUTH.value, Category.PERMANENT.value
LIMIT_BYTES = 200_000
SECRET = "pat.secret@example.com"

ENDPOINTS = {
    "project": ("PROJECT_CREATED", "/export/project/{project}"),
    "pre-flight": ("PROJECT_FILE_ADDED", "/export/project/{project}"),
    "media": ("PROJECT_FILE_ADDED", "/export/project/{project}/media"),
    "task": ("CUSTOM_TASK_ASSIGNED", "/customTasks/assignment/{task}"),
    "report": ("VIDEO_COLLABORATION_INVITE_SENT", "/data/{project}"),
}

HTML = f"<html><body>Please sign in, {SECRET}</body></html>".encode()
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "html": ({"body": HTML, "content_type": "text/html"}, TRANSIENT),
    "html that says it is json": ({"body": HTML}, TRANSIENT),
    "truncated json": ({"body": f'{{"data":{{"email":"{SECRET}","project":{{"projectId":9000'.encode()}, TRANSIENT),
    "a cut connection": ({"body": b'{"data":', "cut": True}, TRANSIENT),
    "nothing": ({"body": b""}, TRANSIENT),
    "text": ({"body": json.dumps(SECRET).encode()}, TRANSIENT),
    "a number": ({"body": b"7"}, TRANSIENT),
    "no utf-8": ({"body": b'{"data":"\xff\xfe"}'}, TRANSIENT),
    "a pit of brackets": ({"body": b"[" * 100_000}, TRANSIENT),
    "more than may be": ({"body": b'{"data":"' + b"x" * LIMIT_BYTES + b'"}'}, PERMANENT),
    "an error": ({"body": HTML, "status": 500}, TRANSIENT),
    "too many requests": ({"status": 429}, TRANSIENT),
    "the login page": ({"body": HTML, "status": 302}, AUTH),
    "a refused token": ({"status": 401}, AUTH),
    "no right": ({"status": 403}, PERMANENT),
    "a bad request": ({"body": HTML, "status": 400}, PERMANENT),
    "nobody": ({"status": 404}, "not_found"),
}
"""What is answered, and the reason by which its events are set aside."""


def reason(outcome: Outcome) -> str:
    """Return why an event was set aside."""
    match outcome:
        case Retry():
            assert outcome.error_text
            return outcome.reason or outcome.category.value
        case Dead():
            assert outcome.error_text
            return outcome.reason
        case _:
            return "done"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_answer_has_a_reason_fails_nobody_else_and_leaves_nothing_behind(
    tale: Any, crooked: Any, enricher: Callable[..., Any], said: Any, endpoint: str, bad: str
) -> None:
    """Its event is set aside, its neighbour is done; the same event later, answered soundly, completes the tables.

    Nothing of the answer is in the reason, nor in the log.
    """
    worker, tables = await enricher(crooked.url, in_memory=True, max_body_bytes=LIMIT_BYTES)
    event_type, path = ENDPOINTS[endpoint]
    item, other = _two(tale.feed, event_type)
    crooked.says[path.format(project=item.event.project_id, task=item.event.task_assignment_id)] = said(**BAD[bad][0])
    expected = BAD[bad][1]
    if endpoint == "report" and expected == "not_found":
        expected = PERMANENT  # 404 has a name of its own for projects and tasks alone [7.2]
    with capture_logs() as logs:
        outcomes = await worker.process(tale.records([item, other]))
    assert [reason(outcome) for outcome in outcomes] == [expected, "done"]
    assert SECRET not in f"{outcomes} {logs}"
    if endpoint in {"project", "pre-flight"}:
        assert {row["project_id"] for row in tables.rows("projects")} == {other.event.project_id}
    crooked.says.clear()
    assert [reason(outcome) for outcome in await worker.process(tale.records([item]))] == ["done"]
    assert tale.differences([item, other], tables.tables()) == []


async def test_an_event_of_another_kind_is_not_failed_by_an_answer_that_it_does_not_need(
    tale: Any, crooked: Any, enricher: Callable[..., Any], said: Any
) -> None:
    """[HND-10] A project's media list is broken: its task and its call are enriched all the same."""
    worker, lake = await enricher(crooked.url)
    project = next(each for each in tale.world.projects.values() if each.tasks and each.calls and each.media)
    crooked.says[f"/export/project/{project.project_id}/media"] = said(body=HTML)
    call, task = project.calls[0].video_collaboration_id, project.tasks[0].assignment_id
    outcomes = await worker.process(
        [
            tale.record("PROJECT_FILE_ADDED", project.project_id),
            tale.record("CUSTOM_TASK_ASSIGNED", project.project_id, task_assignment_id=str(task)),
            tale.record("VIDEO_COLLABORATION_COMPLETED", project.project_id, video_collaboration_id=str(call)),
            tale.record("PROJECT_MFN_ADDED", project.project_id, master_file_name="MFN"),
        ]
    )
    assert [reason(outcome) for outcome in outcomes] == [TRANSIENT, "done", "done", TRANSIENT]
    assert [len(lake.rows(name)) for name in ("projects", "tasks", "video_collab", "media")] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("event_type", "ids", "expected"),
    [
        ("CUSTOM_TASK_COMPLETED", {}, PERMANENT),
        ("VIDEO_COLLABORATION_COMPLETED", {}, PERMANENT),
        ("CUSTOM_TASK_COMPLETED", {"task_assignment_id": "../8200001"}, PERMANENT),
        ("PROJECT_FILE_ADDED", {"project_id": "90/0001"}, PERMANENT),
        ("PROJECT_FILE_ADDED", {"media_id": "71\n"}, TRANSIENT),
        ("PROJECT_FILE_ADDED", {}, "done"),
    ],
)
async def test_an_id_that_is_missing_or_none_has_a_reason(
    tale: Any, crooked: Any, enricher: Callable[..., Any], event_type: str, ids: dict[str, str], expected: str
) -> None:
    """[EVT-7, API-4] And what cannot be asked for is not asked for."""
    worker, _ = await enricher(crooked.url)
    fields = {"project_id": next(iter(tale.world.projects)), **ids}
    [outcome] = await worker.process([tale.record(event_type, **fields)])
    assert reason(outcome) == expected
    assert not any(".." in path or "%" in path or "90/0001" in path for path in crooked.calls)


async def test_odd_items_of_a_media_list_cost_only_themselves(
    tale: Any, crooked: Any, enricher: Callable[..., Any], said: Any
) -> None:
    """Items without an id, that are none, twice, without a link, or with an id that no path may hold."""
    items: list[Any] = [
        {"mediaID": 71, "mediaName": {"x": 1}, "latitude": "north", "fullDownloadLink": "https://example.com/71.jpg"},
        {"mediaID": None, "fullDownloadLink": "https://example.com/none.jpg"},
        *(None, 7, "text", [], [[]], {}, True),
        {"mediaID": 72, "fullDownloadLink": None},
        {"mediaID": "../73", "fullDownloadLink": "https://example.com/73.jpg"},
        {"mediaID": 74, "mediaName": "old.jpg", "fullDownloadLink": "https://example.com/74.jpg"},
        {"mediaID": "74.0", "mediaName": "other.jpg", "fullDownloadLink": ["https://example.com/74.jpg"]},
        {"mediaID": 74.0, "mediaName": "new.jpg", "fullDownloadLink": "https://example.com/74.jpg", "expiresAt": "x"},
    ]
    project_id = next(iter(tale.world.projects))
    crooked.says[f"/export/project/{project_id}/media"] = said(body=json.dumps({"data": items}).encode())
    worker, lake = await enricher(crooked.url)
    named = ["71", "72", "../73", "74", "75"]
    outcomes = await worker.process(
        [tale.record("PROJECT_FILE_ADDED", project_id, media_id=media_id) for media_id in named]
    )
    assert [reason(outcome) for outcome in outcomes] == ["done", TRANSIENT, PERMANENT, "done", TRANSIENT]
    rows = {row["media_id"]: row for row in lake.rows("media")}
    assert rows["74"]["file_name"] == "new.jpg"
    assert (rows["71"]["file_name"], rows["71"]["latitude"]) == (None, None)
    paths = sorted(
        ClaimXDownloadTask.from_bytes(message.value).blob_path
        for outcome in outcomes
        if isinstance(outcome, Done | Retry | Dead)
        for message in outcome.messages
    )
    assert paths == [f"claimx/{project_id}/71/71.jpg", f"claimx/{project_id}/74/new.jpg"]


ABSENT: tuple[Any, ...] = (None, {}, [])
"""The ways to leave a field out [API-10]."""
WRONG: tuple[Any, ...] = ([[]], {"a": {"b": 1}}, [None, {"a": 1}])
"""What no field of an answer can be."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a body, the body itself first."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """Return the body with something wrong in one place."""
    if not path:
        return wrong
    head, *rest = path
    if isinstance(value, dict):
        return {**value, head: replaced(value[head], tuple(rest), wrong)}
    return [replaced(part, tuple(rest), wrong) if at == head else part for at, part in enumerate(value)]


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_what_a_spoiled_answer_leaves_a_sound_one_repairs(tale: Any, memory: Any, data: st.DataObject) -> None:
    """Any field of any answer may be missing or of a wrong type: no event fails for good because of it.

    The same reads again, answered soundly, bring every row to what it must be. (A project that has a row is read again
    by the events that are about it, such as its creation, not by those about its files [HND-1].) A person whose e-mail
    was spoiled was another person then: that contact stays, as the reference has it [CON-2]. A field that a form leaves
    out is its value: forms are inserted and never changed [9.1].
    """
    items: list[Any] = data.draw(st.lists(st.sampled_from(tale.feed), min_size=1, max_size=6))
    api, tables = tale.api(), memory()
    worker = tale.worker(tables, api)

    def spoil(endpoint: str, body: Any) -> Any:
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.sampled_from(list(places(body))))
            of_a_form = "customTask" in place[:-1]
            body = replaced(body, place, data.draw(st.sampled_from(WRONG if of_a_form else ABSENT + WRONG)))
        return body

    async def work(records: Sequence[Record]) -> list[str]:
        return [reason(outcome) for outcome in await worker.process(records)]

    api.send, sound = spoil, api.send
    assert set(asyncio.run(work(tale.records(items)))) <= {"done", TRANSIENT}
    api.send = sound
    projects = {item.event.project_id: item.event.event_id for item in items}
    again = [tale.record("PROJECT_CREATED", project_id, event_id=cause) for project_id, cause in projects.items()]
    assert set(asyncio.run(work([*tale.records(items), *again]))) == {"done"}
    told = tale.differences(items, tables.tables())
    assert [line for line in told if not (line.startswith("claimx_contacts") and line.endswith("extra"))] == []


def _two(feed: Sequence[FeedItem], event_type: str) -> tuple[Any, Any]:
    """Return two events of that type, of different projects; the first names nothing that is not there yet."""
    found: dict[str, FeedItem] = {}
    for item in feed:
        if item.event is not None and item.event_type == event_type:
            found.setdefault(item.event.project_id, item)
    first, second, *_ = found.values()
    return first, second


def test_every_endpoint_is_spoiled() -> None:
    """The events above need every answer that there is."""
    types = {event_type for event_type, _ in ENDPOINTS.values()}
    assert all(types & some for some in (MEDIA_TYPES, TASK_TYPES, VIDEO_TYPES, {"PROJECT_CREATED"}))
