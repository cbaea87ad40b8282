"""Every shape in which ClaimX was seen to answer is read; anything else is dropped or refused, never a crash."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.shapes import (
    ShapeError,
    read_media_list,
    read_project_export,
    read_task_assignment,
    read_video_report,
)
from kafka_pipeline.common.failures import Category

PROJECT: dict[str, Any] = {"projectId": 900001, "mfn": "M-1"}
ITEM: dict[str, Any] = {"mediaID": 7100001, "mediaName": "a.jpg"}
OTHER: dict[str, Any] = {"mediaId": "7100002", "mediaName": "b.jpg"}

KEYS = st.sampled_from(
    [
        *("data", "project", "projectId", "teamMembers", "companyName", "customerInformation", "address", "emails"),
        *("phones", "emailAddress", "primary", "phoneNumber", "userName", "mfn", "media", "mediaID", "media_id"),
        *("fullDownloadLink", "expiresAt", "assignmentId", "customTask", "externalLinkData", "collaborations"),
        *("videoCollaboration", "videoCollaborationId", "id", "recordingUrls", "recordings", "url", "unknown"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(body=JSON)
@settings(deadline=None, max_examples=400)
def test_any_json_is_read_or_refused_as_transient(body: object) -> None:
    """No value makes a reader fail otherwise, and what is read holds ids as non-empty text."""
    for read in (read_project_export, read_media_list, read_task_assignment, read_video_report):
        try:
            value: Any = read(body)
        except ShapeError as error:
            assert error.category is Category.TRANSIENT  # noqa: PT017 - most examples raise nothing
            assert not isinstance(body, dict | list | None)
            continue
        ids = [item.media_id for item in getattr(value, "items", ())]
        ids += [call.video_collaboration_id for call in (value if isinstance(value, tuple) else ())]
        assert all(isinstance(name, str) and name for name in ids)
        assert len(set(ids)) == len(ids) or isinstance(value, tuple)


@pytest.mark.parametrize("nothing", [None, {}, [], {"data": None}, {"data": {}}, {"data": []}, [{}], {"data": [None]}])
def test_missing_null_and_empty_are_the_same(nothing: object) -> None:
    """[API-10] At every level: no project, no media, no task, no calls."""
    assert read_project_export(nothing).project == {}
    assert read_media_list(nothing).items == ()
    assert read_media_list(nothing).dropped == 0
    assert read_task_assignment(nothing).task == {}
    assert read_video_report(nothing) == ()


@pytest.mark.parametrize("scalar", ["please log in", 1, 1.5, True, False])
def test_a_bare_scalar_is_no_answer(scalar: object) -> None:
    """Neither object nor list nor null: the service did not say that."""
    for read in (read_project_export, read_media_list, read_task_assignment, read_video_report):
        with pytest.raises(ShapeError):
            read(scalar)


def test_results_do_not_show_what_they_hold() -> None:
    """[SEC-10] A repr in a log tells no name and no link."""
    shown = repr(read_project_export({"project": {"projectId": 1, "customerInformation": {"firstName": "Pat"}}}))
    shown += repr(read_media_list([{"mediaID": 1, "fullDownloadLink": "https://example.com/?sig=secret"}]).items)
    shown += repr(read_task_assignment({"assignmentId": 1, "url": "secret"}))
    shown += repr(read_video_report([{"id": 1, "recordingUrl": "secret"}]))
    assert "Pat" not in shown
    assert "secret" not in shown


# --- project -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"project": PROJECT, "teamMembers": [{"userName": "a@example.com"}], "companyName": "Example"}},
        {"project": PROJECT, "teamMembers": [{"userName": "a@example.com"}], "companyName": "Example"},
        {**PROJECT, "teamMembers": [{"userName": "a@example.com"}], "companyName": "Example"},
        [{"project": PROJECT, "teamMembers": {"userName": "a@example.com"}, "companyName": "Example"}],
    ],
)
def test_a_project_is_found_in_every_envelope(body: object) -> None:
    """(5.3) Wrapped, plain or bare."""
    export = read_project_export(body)
    assert (
        export.project_id,
        export.master_file_name,
        export.company_name,
        export.team[0].user_name,
    ) == ("900001", "M-1", "Example", "a@example.com")


@pytest.mark.parametrize(
    ("project", "team", "expected"),
    [
        ({"mfn": "A", "masterFileName": "B"}, [{"mfn": "C"}], "A"),
        ({"mfn": " ", "masterFileName": "B"}, [{"mfn": "C"}], "B"),
        ({}, [{"mfn": None}, {"mfn": "C"}, {"mfn": "D"}], "C"),
        ({}, [], None),
    ],
)
def test_the_master_file_name_has_three_sources_in_order(
    project: dict[str, Any], team: list[dict[str, Any]], expected: str | None
) -> None:
    """(9.3) P.mfn, P.masterFileName, the first of the team."""
    project["projectId"] = 1
    assert read_project_export({"project": project, "teamMembers": team}).master_file_name == expected


@pytest.mark.parametrize(
    ("emails", "expected"),
    [
        ([{"emailAddress": "a@example.com"}, {"emailAddress": " b@example.com ", "primary": True}], "b@example.com"),
        ([{"emailAddress": "a@example.com"}, {"emailAddress": "b@example.com", "primary": "true"}], "b@example.com"),
        ([{"emailAddress": " ", "primary": True}, {"emailAddress": "b@example.com"}], "b@example.com"),
        ([{"emailAddress": "a@example.com", "primary": False}, {"emailAddress": "b@example.com"}], "a@example.com"),
        ({"emailAddress": "a@example.com"}, "a@example.com"),
        ([], None),
        ("a@example.com", None),
    ],
)
def test_the_primary_email_is_the_one_marked_else_the_first(emails: object, expected: str | None) -> None:
    """(9.3) Blank entries are no entries."""
    export = read_project_export({"project": {"projectId": 1, "customerInformation": {"emails": emails}}})
    assert export.primary_email == expected


def test_the_first_phone_with_a_number_counts_with_its_own_country_code() -> None:
    """(9.3) An empty first entry does not lend its code to another's number."""
    phones = [{"phoneNumber": "", "phoneCountryCode": 9}, {"phoneNumber": "555 0100", "phoneCountryCode": 1}]
    export = read_project_export({"project": {"projectId": 1, "customerInformation": {"phones": phones}}})
    assert (export.primary_phone, export.primary_phone_country_code) == ("555 0100", 1)


def test_an_envelope_without_a_project_is_not_taken_for_one() -> None:
    """A status beside an empty envelope is not the project's status."""
    export = read_project_export({"status": "ok", "project": None, "companyName": "Example"})
    assert (export.project, export.company_name) == ({}, "Example")


# --- media -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"data": [ITEM, OTHER]},
        [ITEM, OTHER],
        {"media": [ITEM, OTHER]},
        {"data": {"media": [ITEM, OTHER]}},
        [{"data": [ITEM, OTHER]}],
        [{"data": [ITEM]}, {"data": [OTHER]}],
    ],
)
def test_media_are_found_in_every_envelope(body: object) -> None:
    """(5.4) All shapes hold the same items, in order."""
    media = read_media_list(body)
    assert [item.media_id for item in media.items] == ["7100001", "7100002"]
    assert media.get("7100002") is media.items[1]
    assert media.get("1") is None


@pytest.mark.parametrize("body", [ITEM, {"data": ITEM}, {"mediaID": 7100001.0}, {"media_id": " 7100001 "}])
def test_a_single_item_is_a_list_of_one(body: object) -> None:
    """(5.4) Whatever its id is called."""
    assert [item.media_id for item in read_media_list(body).items] == ["7100001"]


@pytest.mark.parametrize("name", ["taskAssignmentId", "taskAssignmentID"])
def test_both_spellings_of_the_task_id_are_read(name: str) -> None:
    """(5.4) Seen in one and the same answer."""
    assert read_media_list([{**ITEM, name: 5}]).items[0].task_assignment_id == "5"


def test_items_without_a_usable_id_are_dropped_and_counted() -> None:
    """(5.4) They cost nothing but themselves."""
    entries: list[object] = [ITEM, {"mediaName": "x"}, {"mediaID": True}, {"mediaID": 1.5}, "text", 7]
    media = read_media_list({"data": entries})
    assert ([item.media_id for item in media.items], media.dropped) == (["7100001"], 5)


def test_of_two_items_with_one_id_the_later_counts_whole() -> None:
    """Settled point 22: no field of the earlier one is left."""
    media = read_media_list([{**ITEM, "mediaComment": "old"}, OTHER, {"mediaID": "7100001", "mediaName": "new.jpg"}])
    first = media.items[0]
    assert (first.media_id, first.media_name, first.media_comment, media.replaced) == ("7100001", "new.jpg", None, 1)


# --- task --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda task: task, lambda task: {"data": task}, lambda task: [task]])
def test_a_task_is_found_bare_or_wrapped(wrap: Any) -> None:
    """(5.5) With its template and link."""
    task = {"assignmentId": 8200001, "customTask": {"taskId": 4300}, "externalLinkData": {"linkId": 5500}}
    answer = read_task_assignment(wrap(task))
    assert (answer.task["assignmentId"], answer.template["taskId"], answer.link["linkId"]) == (8200001, 4300, 5500)


def test_of_several_tasks_only_the_one_asked_for_is_read() -> None:
    """A wrong task would be stored under a right id."""
    tasks = [{"assignmentId": 1, "status": "a"}, {"assignmentId": 2, "status": "b"}]
    assert read_task_assignment(tasks, "2").task["status"] == "b"
    assert read_task_assignment(tasks, "3").task == {}


# --- video -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda calls: calls,
        lambda calls: {"data": calls},
        lambda calls: {"collaborations": calls},
        lambda calls: {"videoCollaboration": calls},
        lambda calls: {"data": {"collaborations": calls}},
        lambda calls: {"id": 1, "data": calls},
    ],
)
def test_calls_are_found_in_every_envelope(wrap: Any) -> None:
    """(5.6) Under either name of their id; an envelope's own id is not a call's."""
    calls = [{"videoCollaborationId": 9300001}, {"id": "9300002"}, {"guid": "without an id"}]
    assert [call.video_collaboration_id for call in read_video_report(wrap(calls))] == ["9300001", "9300002"]


def test_a_single_call_is_a_report_of_one() -> None:
    """(5.6) The bare object."""
    assert [call.video_collaboration_id for call in read_video_report({"id": 5, "mfn": "M"})] == ["5"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"recordingUrls": ["https://example.com/a", "https://example.com/b"]},
            ("https://example.com/a", "https://example.com/b"),
        ),
        ({"recordingUrl": "https://example.com/a"}, ("https://example.com/a",)),
        (
            {"recordings": [{"url": "https://example.com/a"}, "https://example.com/b", {"x": 1}, None]},
            ("https://example.com/a", "https://example.com/b"),
        ),
        (
            {"recordingUrl": "https://example.com/a", "recordings": ["https://example.com/a"]},
            ("https://example.com/a",),
        ),
        ({"recordingUrls": [], "recordings": None}, ()),
    ],
)
def test_recordings_are_read_in_every_form_once_each(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    """(5.6) They are not guaranteed; none is none."""
    assert read_video_report({"videoCollaborationId": 1, **fields})[0].recording_urls == expected
