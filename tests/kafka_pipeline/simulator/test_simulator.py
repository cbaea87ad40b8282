"""Over real HTTP: who is let in, what is answered, and how a file is fetched."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from kafka_pipeline.simulator.simulator import Simulator
from kafka_pipeline.simulator.world import LinkForm, MediaItem

pytestmark = pytest.mark.timeout(30)


async def _get(http: aiohttp.ClientSession, claimx: Simulator, path: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Basic {claimx.token}"}
    async with http.get(f"{claimx.api_url}{path}", headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.json()


async def _fetch(http: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, bytes, aiohttp.ClientResponse]:
    async with http.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.read(), answer


def _items(body: Any) -> list[dict[str, Any]]:
    """Read a media list in whatever frame it comes."""
    if isinstance(body, list):
        return [item for part in body for item in (_items(part) if "data" in part else [part])]
    if not body:
        return []
    if "data" in body or "media" in body:
        return _items(body.get("data", body.get("media")))
    return [body]


async def _link(http: aiohttp.ClientSession, claimx: Simulator, item: MediaItem) -> str:
    _, body = await _get(http, claimx, f"/export/project/{item.project_id}/media")
    for found in reversed(_items(body)):
        media_id = found.get("mediaID") or found.get("mediaId") or found.get("media_id") or 0
        if int(float(media_id)) == item.media_id:
            return str(found["fullDownloadLink"])
    raise AssertionError("not listed")


def _item(claimx: Simulator, form: LinkForm) -> MediaItem:
    return next(item for item in claimx.world.media.values() if item.link is form)


async def _storage_link(http: aiohttp.ClientSession, claimx: Simulator) -> tuple[MediaItem, str]:
    item = _item(claimx, LinkForm.FILE_SERVICE)
    _, _, answer = await _fetch(http, await _link(http, claimx, item))
    return item, answer.headers["Location"]


@pytest.mark.parametrize("token", [None, "Basic d3Jvbmc6a2V5", "Bearer x", "Basic Basic c2lt"])
async def test_the_api_answers_nobody_without_its_token(start: Any, http: Any, token: str | None) -> None:
    """A missing or other token gets 401 at every endpoint."""
    claimx = await start()
    headers = {"Authorization": token} if token else {}
    for path in ("/export/project/900001", "/export/project/900001/media", "/customTasks/assignment/8200001", "/data"):
        status, _, _ = await _fetch(http, f"{claimx.api_url}{path}", **headers)
        assert status == 401, path


async def test_every_project_and_its_media_are_answered(start: Any, http: Any) -> None:
    """Every project is there with its own number, and every one of its media is listed once or, stale, before."""
    claimx = await start()
    for project in claimx.world.projects.values():
        status, body = await _get(http, claimx, f"/export/project/{project.project_id}")
        inner = body.get("data", body)
        inner = inner.get("project", inner)
        assert (status, project.project_number) == (200, inner["projectNumber"])
        status, body = await _get(http, claimx, f"/export/project/{project.project_id}/media")
        names = [item.get("mediaName") for item in _items(body)][-len(project.media) or None :]
        assert (status, [item.name.media_name for item in project.media]) == (200, names)


@pytest.mark.parametrize(
    "path", ["/export/project/1", "/export/project/1/media", "/export/project/x", "/customTasks/assignment/1"]
)
async def test_what_is_not_there_is_404(start: Any, http: Any, path: str) -> None:
    """An unknown id is not found, and neither is one that is no number."""
    claimx = await start()
    status, _ = await _get(http, claimx, path)
    assert status == 404


async def test_a_task_tells_form_and_link_only_when_asked_in_full(start: Any, http: Any) -> None:
    """`full=true` adds template, link and response."""
    claimx = await start()
    task = next(task for task in claimx.world.tasks.values() if task.template)
    for query, full in (("?full=true", True), ("", False)):
        _, body = await _get(http, claimx, f"/customTasks/assignment/{task.assignment_id}{query}")
        body = body.get("data", body)
        assert (task.assignment_id, full) == (body["assignmentId"], "customTask" in body)


async def test_a_video_report_names_all_calls_of_its_project(start: Any, http: Any) -> None:
    """POST /data answers with the calls of the project, and with 400 to a body it cannot use."""
    claimx = await start()
    project = next(project for project in claimx.world.projects.values() if len(project.calls) > 1)
    headers = {"Authorization": f"Basic {claimx.token}"}
    body = {
        "reportType": "VIDEO_COLLABORATION",
        "projectId": project.project_id,
        "senderUsername": "integration@example.com",
    }
    async with http.post(f"{claimx.api_url}/data", json=body, headers=headers) as answer:
        rows = await answer.json()
    rows = rows if isinstance(rows, list) else rows.get("data") or rows.get("collaborations")
    assert [call.video_collaboration_id for call in project.calls] == [
        row.get("videoCollaborationId", row.get("id")) for row in rows
    ]
    for change in ({"reportType": "OTHER"}, {"projectId": str(project.project_id)}, {"senderUsername": None}):
        async with http.post(f"{claimx.api_url}/data", json=body | change, headers=headers) as answer:
            assert answer.status == 400
    async with http.post(f"{claimx.api_url}/data", data=b"{", headers=headers) as answer:
        assert answer.status == 400


async def test_the_file_service_redirects_to_a_signed_link_that_gives_the_true_bytes(start: Any, http: Any) -> None:
    """Every file that has a link comes out with the size, hash and type of the truth, over both kinds of links."""
    claimx = await start(seed=3)
    truth = claimx.truth()
    forms = set()
    for item in claimx.world.media.values():
        if item.link is LinkForm.NONE:
            continue
        row = truth.tables["claimx_attachments"].rows.get((str(item.media_id),))
        url = await _link(http, claimx, item)
        forms.add(item.link)
        if item.link is LinkForm.FILE_SERVICE:
            status, _, answer = await _fetch(http, url)
            assert status == 302
            url = answer.headers["Location"]
        assert urlsplit(url).netloc == claimx.download_hosts[1]
        status, data, answer = await _fetch(http, url)
        assert (200, item.size_bytes, item.content_type) == (status, len(data), answer.headers["Content-Type"])
        assert str(len(data)) == answer.headers["Content-Length"]
        assert row is None or hashlib.sha256(data).hexdigest() == row["content_sha256"]
    assert {LinkForm.FILE_SERVICE, LinkForm.STORAGE} == forms


async def test_an_expired_file_service_link_is_refused(start: Any, http: Any, clock: Any) -> None:
    """After its lifetime the link gives 403; a fresh one from the list works."""
    claimx = await start(link_lifetime_s=60)
    item = _item(claimx, LinkForm.FILE_SERVICE)
    link = await _link(http, claimx, item)
    clock.advance(61)
    assert (await _fetch(http, link))[0] == 403
    assert (await _fetch(http, await _link(http, claimx, item)))[0] == 302


async def test_an_expired_storage_link_is_refused_as_s3_does(start: Any, http: Any, clock: Any) -> None:
    """The answer is 403 with the XML that says the request has expired."""
    claimx = await start(link_lifetime_s=60)
    _, link = await _storage_link(http, claimx)
    clock.advance(59)
    assert (await _fetch(http, link))[0] == 200
    clock.advance(1)
    status, body, _ = await _fetch(http, link)
    assert status == 403
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in body


async def test_a_forged_or_unsigned_request_is_refused_as_s3_does(start: Any, http: Any) -> None:
    """Another object under the same signature is 403 SignatureDoesNotMatch, no signature is 403 AccessDenied."""
    claimx = await start()
    item, link = await _storage_link(http, claimx)
    other = next(path for path in claimx.world.objects if path != item.storage_path)
    status, body, _ = await _fetch(http, link.replace(item.storage_path, other))
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)
    status, body, _ = await _fetch(http, link.split("?", maxsplit=1)[0])
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
    async with http.head(link) as answer:
        assert answer.status == 403


async def test_a_presigned_request_with_a_token_is_refused(start: Any, http: Any) -> None:
    """S3 takes one way of signing at a time: whoever sends the API token along gets 400."""
    claimx = await start()
    _, link = await _storage_link(http, claimx)
    status, body, _ = await _fetch(http, link, Authorization=f"Basic {claimx.token}")
    assert (status, b"Only one auth mechanism allowed" in body) == (400, True)


@pytest.mark.parametrize(
    ("header", "start_at", "stop_at"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, None), ("bytes=-10", -10, None), ("bytes=5-99999999", 5, None)],
)
async def test_a_range_gives_that_part(start: Any, http: Any, header: str, start_at: int, stop_at: int | None) -> None:
    """206 with the bytes asked for and their place in the whole."""
    claimx = await start()
    item, link = await _storage_link(http, claimx)
    _, whole, first = await _fetch(http, link)
    status, part, answer = await _fetch(http, link, Range=header, **{"If-Range": first.headers["ETag"]})
    expected = whole[start_at:stop_at]
    assert (206, expected) == (status, part)
    at = whole.index(expected) if header == "bytes=0-0" else item.size_bytes - len(expected)
    assert f"bytes {at}-{at + len(expected) - 1}/{item.size_bytes}" == answer.headers["Content-Range"]


async def test_a_range_of_another_version_gives_the_whole(start: Any, http: Any) -> None:
    """If-Range with a validator that is not the file's gets everything, as does a header that is no range."""
    claimx = await start()
    item, link = await _storage_link(http, claimx)
    status, data, _ = await _fetch(http, link, Range="bytes=5-9", **{"If-Range": '"another"'})
    assert (200, item.size_bytes) == (status, len(data))
    for header in ("bytes=9-5", "bytes=-", "lines=1-2"):
        status, data, _ = await _fetch(http, link, Range=header)
        assert (200, item.size_bytes) == (status, len(data)), header


async def test_a_range_behind_the_end_is_refused(start: Any, http: Any) -> None:
    """416 tells the true size."""
    claimx = await start()
    item, link = await _storage_link(http, claimx)
    status, _, answer = await _fetch(http, link, Range=f"bytes={item.size_bytes}-")
    assert (416, f"bytes */{item.size_bytes}") == (status, answer.headers["Content-Range"])


async def test_the_link_names_the_file_only_where_it_has_a_name(start: Any, http: Any) -> None:
    """`filename` is the media name as it is, hostile or not; a null name leaves it out."""
    claimx = await start(projects=60, media_per_project=6, events=400)
    for item in claimx.world.media.values():
        if item.link is LinkForm.FILE_SERVICE and item.media_id % 3 == 0:
            query = parse_qs(urlsplit(await _link(http, claimx, item)).query, keep_blank_values=True)
            name = item.name.link_name or item.name.media_name
            assert query.get("filename") == (None if name is None else [name])


async def test_calls_are_counted_by_template_and_bytes_as_they_are_sent(start: Any, http: Any) -> None:
    """No id is in a counter's name, and only file bytes count."""
    claimx = await start()
    _, link = await _storage_link(http, claimx)
    await _fetch(http, link, Range="bytes=0-99")
    await _get(http, claimx, "/export/project/1")
    assert dict(claimx.calls) == {
        "GET /service/cxedirest/export/project/{id}/media": 1,
        "GET /service/cxfileservice/file/{id}": 1,
        "GET /claimx-media/{key}": 1,
        "GET /service/cxedirest/export/project/{id}": 1,
    }
    assert claimx.bytes_served == 100


async def test_an_answer_waits_as_long_as_the_settings_say(start: Any, http: Any) -> None:
    """With a mean of 40 ms no answer begins before 20 ms."""
    claimx = await start(latency_ms=40)
    loop = asyncio.get_running_loop()
    for _ in range(5):
        began = loop.time()
        await _get(http, claimx, "/export/project/900001")
        assert loop.time() - began >= 0.02


async def test_what_needs_the_ports_says_so_before_they_are_there(small_settings: Any) -> None:
    """The feed is there before the start; addresses and truth are not."""
    claimx = Simulator(small_settings)
    assert len(claimx.feed()) == small_settings.events
    for read in (lambda: claimx.api_url, lambda: claimx.download_hosts, claimx.truth):
        with pytest.raises(RuntimeError, match="not been started"):
            read()


async def test_a_port_in_use_leaves_nothing_behind(start: Any, http: Any, small_settings: Any) -> None:
    """Where the second server cannot start, the first one is stopped again."""
    claimx = await start()
    api_port = int(claimx.download_hosts[0].split(":")[1])
    failing = Simulator(type(small_settings)(projects=2, events=10, api_port=api_port))
    with pytest.raises(OSError, match="address already in use"):
        await failing.__aenter__()
    with pytest.raises(aiohttp.ClientConnectorError):
        await _fetch(http, f"http://{failing._storage_host}/")
