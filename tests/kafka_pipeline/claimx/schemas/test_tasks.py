"""Messages between workers: what they carry, what they never show, what they refuse."""

from __future__ import annotations

import logging
import pprint
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kafka_pipeline.claimx.schemas.events import parse_event
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult, ResultStatus
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask, ClaimXEnrichmentTask
from kafka_pipeline.claimx.schemas.types import MalformedTaskError, WireMessage
from kafka_pipeline.common.failures import Category

NOW = datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)
LINK = "https://media.s3.example.com/sample/7.mp4?X-Amz-Signature=SECRETSIGNATURE"


def enrichment(**changes: Any) -> ClaimXEnrichmentTask:
    """Return an enrichment task."""
    fields = {"event_id": "e-1", "event_type": "PROJECT_CREATED", "project_id": "900001", "created_at": NOW}
    return ClaimXEnrichmentTask(**(fields | changes))


def download(**changes: Any) -> ClaimXDownloadTask:
    """Return a download task."""
    fields = {"media_id": "7", "project_id": "900001", "download_url": LINK, "blob_path": "claimx/900001/7/Pat.mp4"}
    return ClaimXDownloadTask(**(fields | changes))


def cached(**changes: Any) -> ClaimXCachedDownload:
    """Return an upload task."""
    task = download(file_type="mp4", file_name="Pat.mp4", source_event_id="e-1", retry_count=2, expires_at=NOW)
    made = task.cached(
        local_cache_path="/cache/claimx/7/Pat.mp4",
        content_sha256="ab" * 32,
        bytes_downloaded=5,
        downloaded_at=NOW,
        content_type="video/mp4",
    )
    return made.model_copy(update=changes)


def result(**changes: Any) -> ClaimXUploadResult:
    """Return an upload result."""
    fields = {
        "media_id": "7",
        "project_id": "900001",
        "blob_path": "claimx/900001/7/Pat.mp4",
        "status": "completed",
        "created_at": NOW,
    }
    return ClaimXUploadResult(**(fields | changes))


MESSAGES: list[WireMessage] = [enrichment(), download(), cached(), result()]
IDS = [type(message).__name__ for message in MESSAGES]
REQUIRED = {
    ClaimXEnrichmentTask: ["event_id", "event_type", "project_id", "created_at"],
    ClaimXDownloadTask: ["media_id", "project_id", "download_url", "blob_path"],
    ClaimXCachedDownload: [
        "media_id", "project_id", "download_url", "blob_path", "local_cache_path", "content_sha256", "bytes_downloaded",
        "downloaded_at",
    ],
    ClaimXUploadResult: ["media_id", "project_id", "blob_path", "status", "created_at"],
}  # fmt: skip


class TestEveryMessage:
    """What all of them promise [CNV-4]."""

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_it_survives_the_round_trip(self, message: WireMessage) -> None:
        """What is written is what is read."""
        assert message == type(message).from_bytes(message.to_bytes())

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_it_says_which_version_it_is(self, message: WireMessage) -> None:
        """schema_version is 1 by default, and is kept where it is another."""
        assert orjson.loads(message.to_bytes())["schema_version"] == 1
        newer = orjson.dumps({**orjson.loads(message.to_bytes()), "schema_version": 2})
        assert type(message).from_bytes(newer).schema_version == 2

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_unknown_fields_change_nothing_that_is_known(self, message: WireMessage) -> None:
        """A newer writer may say more. It is kept for the next reader (`test_versions.py`), and shown to nobody."""
        newer = orjson.dumps({**orjson.loads(message.to_bytes()), "added_later": {"a": ["SECRET"]}})
        read = type(message).from_bytes(newer)
        assert all(getattr(read, name) == getattr(message, name) for name in type(message).model_fields)
        assert repr(read) == repr(message)

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_only_the_required_fields_are_required(self, message: WireMessage) -> None:
        """The table of section 3: each required one is missed, all others have a default."""
        whole = orjson.loads(message.to_bytes())
        required = REQUIRED[type(message)]
        type(message).from_bytes(orjson.dumps({name: whole[name] for name in required}))
        for name in required:
            with pytest.raises(MalformedTaskError, match=f"^{name}: "):
                type(message).from_bytes(orjson.dumps({k: v for k, v in whole.items() if k != name}))

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    @pytest.mark.parametrize("value", [None, b"", b"null", b"[]", b"{", b"{}", b"\xff", b"1", b"[" * 100_000])
    def test_what_is_no_message_is_malformed(self, message: WireMessage, value: bytes | None) -> None:
        """Permanent, with the reason for the dead letter."""
        with pytest.raises(MalformedTaskError) as caught:
            type(message).from_bytes(value)
        assert (caught.value.category, caught.value.reason) == (Category.PERMANENT, "malformed")
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    @pytest.mark.parametrize("value", ["", " ", None, True, 1.5, [], {}])
    def test_an_id_must_be_one(self, message: WireMessage, value: object) -> None:
        """Empty, boolean, fraction, container: no id [CNV-1]."""
        with pytest.raises(MalformedTaskError, match=r"^project_id: "):
            type(message).from_bytes(orjson.dumps({**orjson.loads(message.to_bytes()), "project_id": value}))

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_a_number_is_read_as_an_id(self, message: WireMessage) -> None:
        """Whoever wrote it by hand is understood [CNV-1]."""
        by_hand = orjson.dumps({**orjson.loads(message.to_bytes()), "project_id": 900001})
        assert message == type(message).from_bytes(by_hand)

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_counts_are_not_negative(self, message: WireMessage) -> None:
        """A negative count is malformed."""
        with pytest.raises(MalformedTaskError, match=r"^retry_count: "):
            type(message).from_bytes(orjson.dumps({**orjson.loads(message.to_bytes()), "retry_count": -1}))

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_it_cannot_be_changed(self, message: WireMessage) -> None:
        """Messages are values."""
        with pytest.raises(ValidationError, match="frozen"):
            message.schema_version = 2  # type: ignore[misc]  # the point of the test

    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_neither_link_nor_names_are_shown(self, message: WireMessage, caplog: pytest.LogCaptureFixture) -> None:
        """repr, str, format and pretty printing keep what is secret or personal [SEC-7, SEC-10]."""
        logging.getLogger("test").warning("%s %r", message, message)
        shown = f"{message} {message!r} {message!s} {[message]} {pprint.pformat(message)} {caplog.text}"
        assert "SECRETSIGNATURE" not in shown
        assert "Pat" not in shown

    @settings(deadline=None, max_examples=100)
    @given(value=st.binary(max_size=80))
    @pytest.mark.parametrize("message", MESSAGES, ids=IDS)
    def test_any_bytes_are_read_or_refused(self, message: WireMessage, value: bytes) -> None:
        """No other exception leaves the reader."""
        with pytest.raises(MalformedTaskError):
            type(message).from_bytes(value)

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("2026-03-04T12:00:00", datetime(2026, 3, 4, 12, tzinfo=UTC)),
            ("2026-03-04T12:00:00.1234567Z", datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC)),
            ("2026-03-04T14:00:00+02:00", datetime(2026, 3, 4, 12, tzinfo=UTC)),
        ],
    )
    def test_times_are_read_as_utc(self, written: str, read: datetime) -> None:
        """Naive is UTC, digits beyond microseconds are dropped [CNV-2]."""
        assert enrichment(created_at=written).created_at == read
        assert enrichment(created_at=written).created_at.tzinfo is UTC


class TestEnrichmentTask:
    """The event, on its way to the enricher."""

    def test_it_carries_what_the_event_carried(self, sample: Any) -> None:
        """Handlers cannot work without the optional ids [MSG-1]."""
        event = parse_event(sample.value, record_timestamp_ms=5, now=NOW)
        task = ClaimXEnrichmentTask.from_event(event, NOW)
        for name in ClaimXEnrichmentTask.model_fields.keys() & type(event).model_fields.keys():
            assert getattr(event, name) == getattr(task, name)
        assert (task.retry_count, task.created_at) == (0, NOW)
        assert task == ClaimXEnrichmentTask.from_bytes(task.to_bytes())

    def test_the_fast_way_makes_what_validation_makes(self, sample: Any) -> None:
        """An assembled task equals a validated one, also in types, order and set fields."""
        fast = ClaimXEnrichmentTask.from_event(parse_event(sample.value, record_timestamp_ms=5, now=NOW), NOW)
        slow = ClaimXEnrichmentTask(**{name: getattr(fast, name) for name in ClaimXEnrichmentTask.model_fields})
        assert slow == fast
        assert slow.model_fields_set == fast.model_fields_set
        assert list(slow.__dict__) == list(fast.__dict__)
        assert [type(value) for value in slow.__dict__.values()] == [type(v) for v in fast.__dict__.values()]

    def test_links_in_the_payload_lose_their_query(self) -> None:
        """Messages carry signed links only where they are needed [SEC-8]."""
        raw = orjson.dumps({"eventType": "X", "projectId": 1, "extra": {"link": LINK}})
        event = parse_event(raw, record_timestamp_ms=5, now=NOW)
        task = ClaimXEnrichmentTask.from_event(event, NOW)
        assert b"SECRETSIGNATURE" not in task.to_bytes()
        assert event.raw_data["extra"] == {"link": LINK}

    def test_a_retry_counts(self) -> None:
        """The copy carries one more, everything else stays [RTY-1]."""
        once = enrichment(media_ids=["1"], raw_data={"a": 1})
        twice = once.retried().retried()
        assert (once.retry_count, twice.retry_count) == (0, 2)
        assert twice == once.model_copy(update={"retry_count": 2})


class TestDownloadTask:
    """A file, on its way into the lake."""

    def test_a_retry_counts_as_an_attempt_only(self) -> None:
        """[RTY-1]: and not as a refresh."""
        again = download(refresh_count=1).retried()
        assert (again.retry_count, again.refresh_count, again.download_url) == (1, 1, LINK)

    def test_a_refresh_counts_as_a_refresh_only(self) -> None:
        """Fresh link and end, no attempt burnt [LNK-5]."""
        fresh = download(retry_count=3).refreshed(download_url="https://a.example.com/new?sig=1", expires_at=None)
        assert (fresh.retry_count, fresh.refresh_count) == (3, 1)
        assert (fresh.download_url, fresh.expires_at) == ("https://a.example.com/new?sig=1", None)

    def test_a_cached_file_can_become_a_download_again(self) -> None:
        """Nothing of the task is lost on the way to the uploader and back."""
        assert cached().download_task() == download(
            file_type="mp4", file_name="Pat.mp4", source_event_id="e-1", retry_count=2, expires_at=NOW
        )
        assert cached(retry_count=1).retried().retry_count == 2

    def test_a_cached_value_is_a_valid_download_task(self) -> None:
        """Replay sends it to the downloader as it is [DLQ-3, CNV-4]."""
        assert cached().download_task() == ClaimXDownloadTask.from_bytes(cached().to_bytes())

    def test_a_refused_task_does_not_show_its_link(self) -> None:
        """Neither the typed error nor pydantic's own text [SEC-7]."""
        value = orjson.dumps({**orjson.loads(download().to_bytes()), "expires_at": LINK})
        with pytest.raises(MalformedTaskError, match=r"^expires_at: ") as caught:
            ClaimXDownloadTask.from_bytes(value)
        assert "SECRET" not in str(caught.value)
        with pytest.raises(ValidationError) as direct:
            download(media_id=[LINK], expires_at=LINK)
        assert "SECRET" not in str(direct.value)

    def test_an_unknown_key_is_never_named(self) -> None:
        """Only our own field names appear in error texts."""
        value = orjson.dumps({**orjson.loads(enrichment().to_bytes()), "raw_data": ["Pat Sample"], "Pat Sample": 1})
        with pytest.raises(MalformedTaskError) as caught:
            ClaimXEnrichmentTask.from_bytes(value)
        assert caught.value.text == "raw_data: dict_type"


class TestUploadResult:
    """What became of a file."""

    @pytest.mark.parametrize("status", list(ResultStatus))
    def test_the_status_is_one_of_three(self, status: ResultStatus) -> None:
        """completed, failed, failed_permanent (section 3)."""
        sent = orjson.loads(result(status=status).to_bytes())
        assert sent["status"] == status.value
        assert ClaimXUploadResult.from_bytes(orjson.dumps(sent)).status is status

    def test_another_status_is_malformed(self) -> None:
        """`uploaded` is the inventory's word, not a result."""
        with pytest.raises(MalformedTaskError, match=r"^status: "):
            ClaimXUploadResult.from_bytes(orjson.dumps({**orjson.loads(result().to_bytes()), "status": "uploaded"}))

    def test_an_error_text_is_cut(self) -> None:
        """At most 500 characters."""
        assert result(error_message="x" * 501).error_message == "x" * 500

    def test_it_has_no_place_for_a_link(self) -> None:
        """Results never carry one [MSG-2]."""
        assert not [name for name in ClaimXUploadResult.model_fields if "url" in name or "link" in name]
