"""Names and links come from outside: each leads into its own folder and to an allowed host, or nowhere."""

from __future__ import annotations

import tempfile
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from kafka_pipeline.claimx import links
from kafka_pipeline.claimx.blob_path import blob_path, is_blob_path, safe_file_name
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.http.answers import continuation, fault_of_status, is_page, strong_validator
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.guard import Allowed, DownloadPolicy, Link, check_url, parse_link
from kafka_pipeline.common.http.retry_after import retry_after_seconds
from kafka_pipeline.common.observability.redaction import redact
from tests.kafka_pipeline.fuzz.hostile import CANARY, TEXTS, often

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
POLICY = DownloadPolicy(allowed_hosts=frozenset({"files.example.com"}))
SCHEMES = st.sampled_from(["https://", "http://", "HTTPS://", "https:", "//", "file://", "https:\\\\", " https://"])
HOSTS = st.sampled_from(
    [
        *("files.example.com", "files.example.com.", "FILES.EXAMPLE.COM", "files.example.com:443", "[::1]", "0", ""),
        *("files.example.com:444", "files.example.com@evil.example.net", "evil.example.net#files.example.com"),
        *("files.example.com\\@evil.example.net", "files.example.com%2eevil.example.net", "files\u3002example.com"),
    ]
)
LINKS = st.builds("{}{}/{}?{}".format, SCHEMES, HOSTS, TEXTS, TEXTS) | TEXTS
NAMES = st.none() | TEXTS
TYPES = st.sampled_from([None, "", "jpg", "JPG", "../x", "a" * 11, "\u00e9", "tar.gz", "."])


@often(400)
@example(name="..%2f..%2fx", file_type="jpg", link=None)
@example(name=None, file_type=None, link="https://h/%2e%2e/%2e%2e?filename=..%2fa")
@example(name="\u0130" * 300, file_type="jpg", link=None)
@given(name=NAMES, file_type=TYPES, link=st.none() | LINKS)
def test_any_name_stays_in_its_folder(name: str | None, file_type: str | None, link: str | None) -> None:
    """One part, at most 255 bytes, no control or direction characters; the path is known again as one of ours."""
    safe = safe_file_name(name, file_type, link)
    assert PurePosixPath(safe).name == safe
    assert 0 < len(safe.encode()) <= 255
    assert not any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in safe)
    assert safe_file_name(safe, file_type) == safe
    path = blob_path(project_id="900001", media_id="7100001", file_name=safe)
    assert is_blob_path(path, project_id="900001", media_id="7100001")


@often(400)
@example(path="claimx/1/2/../../../Tables/x.json", project="1", media="2")
@example(path="claimx/1/3/a.jpg", project="1", media="2")
@example(path="claimx/1/2//a.jpg", project="1", media="2")
@example(path="claimx/../2/a.jpg", project="..", media="2")
@given(
    path=TEXTS | st.builds("claimx/{}/{}/{}".format, TEXTS, TEXTS, TEXTS) | TEXTS.map("claimx/1/2/{}".format),
    project=st.just("1") | TEXTS,
    media=st.just("2") | TEXTS,
)
def test_only_a_task_s_own_place_is_its_place(path: str, project: str, media: str) -> None:
    """What a poisoned task asks for is a file below the folder of its ids, or refused."""
    if is_blob_path(path, project_id=project, media_id=media):
        assert path.startswith(f"claimx/{project}/{media}/")
        assert ".." not in PurePosixPath(path).parts
        assert len(PurePosixPath(path).parts) == 4


@often(150)
@example(relative="a/../../b")
@given(relative=TEXTS | st.lists(TEXTS, max_size=4).map("/".join))
def test_any_path_in_the_cache_is_inside_it_or_refused(relative: str) -> None:
    """A poisoned upload task reads and deletes nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        cache = FileCache(Path(folder), max_bytes=0)
        try:
            found = cache.path_for(relative)
        except PipelineError as error:
            assert CANARY not in str(error)  # noqa: PT017 - many examples raise nothing
            return
        assert found.is_relative_to(folder)
        assert found != Path(folder)


@often(600)
@example(link="https://files.example.com\\@evil.example.net/")
@example(link="https://files.example.com#@evil.example.net/")
@example(link="https://files.example.com:443:80/")
@given(link=LINKS)
def test_any_link_leads_to_an_allowed_host_or_nowhere(link: str) -> None:
    """What would be connected to is on the list; what people are shown of any link is its host alone."""
    decision = check_url(link, POLICY)
    if isinstance(decision, Allowed):
        url = decision.link.url
        assert (url.scheme, (url.host or "").lower().removesuffix("."), url.port) == ("https", "files.example.com", 443)
        assert url.user is None
    parsed = parse_link(link)
    if isinstance(parsed, Link):
        assert CANARY not in parsed.origin.shown.lower().replace(CANARY.lower(), "") + f"{parsed!r}"
    host = links.host_of(link) or ""
    assert links.shown(link) == f"https://{host or 'unknown'}/<redacted>"
    assert "?" not in links.without_query(link)
    end = links.link_expiry(link, link)
    assert end is None or end.tzinfo is not None
    links.is_expired(end, now=NOW, margin=timedelta(seconds=60))
    if "://" in link:
        assert f"Signature={CANARY}" not in redact(link)


@often(300)
@example(text="bytes 5-4/3", status=206)
@example(text="\u0661", status=429)
@given(text=TEXTS | st.text("bytes 0123456789-/*", max_size=30), status=st.integers(0, 999))
def test_any_answer_of_a_file_server_is_decided(text: str, status: int) -> None:
    """Status, length, range, type, date and error body are of its choosing."""
    fault_of_status(status, text.encode())
    is_page(text, text)
    names = ("Content-Range", "ETag", "Last-Modified", "Content-Length", "Retry-After")
    strong_validator(dict.fromkeys(names, text))
    found = continuation(dict.fromkeys(names, text))
    assert found is None or found.start >= 0
    waited_s = retry_after_seconds(text, NOW)
    assert waited_s is None or 0 < waited_s <= 86_400
