"""Events of the feed: what they become, what is malformed, and what never depends on luck."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.schemas.events import ClaimXEventMessage, EventType, MalformedEventError, parse_event
from kafka_pipeline.claimx.schemas.types import MalformedTaskError
from kafka_pipeline.common.failures import Category
from kafka_pipeline.common.messaging import NO_TIMESTAMP

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
RECORD_MS = 1772460310250
RECORD_TIME = datetime(2026, 3, 2, 14, 5, 10, 250000, tzinfo=UTC)


def parsed(value: dict[str, Any] | bytes, *, record_timestamp_ms: int = RECORD_MS) -> ClaimXEventMessage:
    """Parse a payload."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_event(data, record_timestamp_ms=record_timestamp_ms, now=NOW)


def event(**changes: object) -> dict[str, Any]:
    """Return a small payload with some keys changed; a key that is given as `...` is left out."""
    payload: dict[str, Any] = {"eventType": "PROJECT_CREATED", "projectId": 900001, **changes}
    return {key: value for key, value in payload.items() if value is not ...}


def refusal(value: dict[str, Any] | bytes | None) -> MalformedEventError:
    """Return the error that a malformed record raises."""
    data = json.dumps(value).encode() if isinstance(value, dict) else value
    with pytest.raises(MalformedEventError) as caught:
        parse_event(data, record_timestamp_ms=RECORD_MS, now=NOW)
    return caught.value


class TestWhatAnEventBecomes:
    """The nine types, their ids and times."""

    def test_every_sample_gets_the_id_of_the_reference(self, sample: Any) -> None:
        """The ids are those of appendix B [EID-2]."""
        assert sample.event_id == parsed(sample.value).event_id

    def test_every_sample_keeps_its_whole_payload(self, sample: Any) -> None:
        """raw_data is the decoded object, nothing added, nothing lost [EVT-4]."""
        assert sample.raw == parsed(sample.value).raw_data

    def test_every_sample_has_a_routed_type(self, sample: Any) -> None:
        """The nine types are the routing enum [EVT-1]."""
        assert EventType(sample.event_type) is parsed(sample.value).routed_type

    def test_every_sample_survives_the_round_trip(self, sample: Any) -> None:
        """What is written is what is read."""
        message = parsed(sample.value)
        assert message == ClaimXEventMessage.from_bytes(message.to_bytes())

    def test_the_fast_way_makes_what_validation_makes(self, sample: Any) -> None:
        """A message assembled of checked fields equals a validated one, also in its types and its set fields."""
        fast = parsed(sample.value)
        slow = ClaimXEventMessage(**{name: getattr(fast, name) for name in ClaimXEventMessage.model_fields})
        assert slow == fast
        assert slow.model_fields_set == fast.model_fields_set
        assert list(slow.__dict__) == list(fast.__dict__)
        assert [type(value) for value in slow.__dict__.values()] == [type(v) for v in fast.__dict__.values()]
        assert slow.model_dump() == fast.model_dump()
        assert slow.model_copy(update={"media_id": "1"}) == fast.model_copy(update={"media_id": "1"})

    def test_ids_are_text(self, samples: Any) -> None:
        """Numbers of the feed become their digits [CNV-1]."""
        completed = parsed(samples[4].value)
        assert (
            completed.project_id,
            completed.task_assignment_id,
            completed.media_ids,
        ) == ("900001", "8200001", ["7100002", "7100001"])

    def test_an_unknown_type_is_an_event_without_route(self) -> None:
        """Types outside the enum pass the schema [EVT-1, EVT-2]."""
        message = parsed(event(eventType=" PROJECT_CONTACT_ADDED "))
        assert message.event_type == "PROJECT_CONTACT_ADDED"
        assert message.routed_type is None

    def test_a_message_cannot_be_changed(self, samples: Any) -> None:
        """Messages are values."""
        with pytest.raises(ValueError, match="frozen"):
            parsed(samples[0].value).event_id = "other"  # type: ignore[misc]  # the point of the test

    def test_repr_does_not_show_the_payload(self) -> None:
        """A payload may hold personal data [SEC-10]."""
        assert "Pat" not in repr(parsed(event(name="Pat")))


class TestKeys:
    """Where a field is looked for."""

    def test_snake_case_comes_first(self) -> None:
        """snake_case is looked up before camelCase [EVT-4]."""
        message = parsed(event(event_type="POLICYHOLDER_JOINED", project_id="7", media_id=1, mediaId=2))
        assert (message.event_type, message.project_id, message.media_id) == ("POLICYHOLDER_JOINED", "7", "1")

    @pytest.mark.parametrize("nothing", [None, "", "  "])
    def test_an_empty_snake_case_key_gives_way(self, nothing: str | None) -> None:
        """Missing, null and empty are one thing."""
        message = parsed(event(event_type=nothing, project_id=nothing, media_id=nothing, mediaId=2))
        assert (message.event_type, message.project_id, message.media_id) == ("PROJECT_CREATED", "900001", "2")

    @pytest.mark.parametrize("key", ["IngestionTime", "ingested_at", "ingestedAt", "ingestion_time", "$IngestionTime"])
    def test_the_time_has_five_names(self, key: str) -> None:
        """Every documented spelling of the ingestion time is read (2.2)."""
        expected = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
        assert expected == parsed(event(**{key: "2026-03-02T14:00:00Z"})).ingested_at

    @pytest.mark.parametrize("key", ["eventId", "event_id"])
    @pytest.mark.parametrize(("given_id", "expected"), [(" abc-1 ", "abc-1"), (4711, "4711"), (4711.0, "4711")])
    def test_an_id_of_the_feed_is_kept(self, key: str, given_id: object, expected: str) -> None:
        """The feed's own id, trimmed, as text [EID-1]."""
        assert expected == parsed(event(**{key: given_id})).event_id

    @pytest.mark.parametrize("given_id", [None, "", "  ", True, [], 1.5])
    def test_an_unusable_id_of_the_feed_is_derived_instead(self, given_id: object) -> None:
        """Nothing usable given: the deterministic id [EID-2]."""
        assert parsed(event()).event_id == parsed(event(eventId=given_id)).event_id

    @pytest.mark.parametrize("ids", [[7, " 8 ", 9.0], '[7,"8",9.0]', [7, None, "", "8", 9]])
    def test_media_ids_come_as_a_list_or_as_its_text(self, ids: object) -> None:
        """JSON text of a list is a list (2.2)."""
        assert parsed(event(mediaIds=ids)).media_ids == ["7", "8", "9"]

    @pytest.mark.parametrize("ids", [None, [], "[]", "", " ", "null", "[null]", [""]])
    def test_no_media_ids_is_null(self, ids: object) -> None:
        """An empty list is null (2.2), without a word about it."""
        with capture_logs() as logs:
            assert parsed(event(mediaIds=ids)).media_ids is None
        assert logs == []

    @pytest.mark.parametrize("ids", ["7,8", "{}", '"7"', "[7", 7, {"a": 1}, True, [True], [[1]], [1.5]])
    def test_unusable_media_ids_are_null_with_a_warning(self, ids: object) -> None:
        """Optional ids never cost the event [settled point 14]."""
        with capture_logs() as logs:
            assert parsed(event(mediaIds=ids)).media_ids is None
        assert [entry["field"] for entry in logs] == ["media_ids"]

    @pytest.mark.parametrize(
        ("key", "field"),
        [
            ("mediaId", "media_id"),
            ("taskAssignmentId", "task_assignment_id"),
            ("videoCollaborationId", "video_collaboration_id"),
            ("masterFileName", "master_file_name"),
        ],
    )
    @pytest.mark.parametrize("value", [True, False, 1.5, [], {}, [1]])
    def test_an_unusable_optional_id_is_null_with_a_warning(self, key: str, field: str, value: object) -> None:
        """The warning names the field, and the event goes on [settled point 14]."""
        with capture_logs() as logs:
            assert getattr(parsed(event(**{key: value})), field) is None
        assert [(entry["log_level"], entry["field"]) for entry in logs] == [("warning", field)]

    @pytest.mark.parametrize("digits", ["18446744073709551616", "1234567890123456789012345678901234567890"])
    def test_long_ids_keep_their_digits(self, digits: str) -> None:
        """No id goes through a float, also deep inside raw_data, also on the way out [CNV-1]."""
        raw = b'{"eventType":"X","projectId":%b,"mediaIds":[%b],"other":{"deep":[%b]}}' % ((digits.encode(),) * 3)
        message = parsed(raw)
        assert digits == message.project_id
        assert [digits] == message.media_ids
        assert {"deep": [int(digits)]} == message.raw_data["other"]
        assert message == ClaimXEventMessage.from_bytes(message.to_bytes())

    def test_integral_floats_are_ids(self) -> None:
        """7100001.0 is 7100001 [CNV-1]."""
        message = parsed(b'{"eventType":"X","projectId":900001.0,"mediaId":7.1e6}')
        assert (message.project_id, message.media_id) == ("900001", "7100000")


class TestTimes:
    """When an event was ingested."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2026-03-02T14:00:00Z", datetime(2026, 3, 2, 14, tzinfo=UTC)),
            ("2026-03-02T14:00:00+00:00", datetime(2026, 3, 2, 14, tzinfo=UTC)),
            ("2026-03-02T14:00:00", datetime(2026, 3, 2, 14, tzinfo=UTC)),
            ("2026-03-02 14:00:00", datetime(2026, 3, 2, 14, tzinfo=UTC)),
            ("2026-03-02T14:00:00.1234567Z", datetime(2026, 3, 2, 14, 0, 0, 123456, tzinfo=UTC)),
            ("2026-03-02T14:00:00.9999999Z", datetime(2026, 3, 2, 14, 0, 0, 999999, tzinfo=UTC)),
            ("2026-03-02T14:00:00.5+05:30", datetime(2026, 3, 2, 8, 30, 0, 500000, tzinfo=UTC)),
            ("2026-03-08T02:30:00-05:00", datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),
            ("2026-03-08T02:30:00", datetime(2026, 3, 8, 2, 30, tzinfo=UTC)),
            ("2026-11-01T01:30:00-04:00", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
            ("2026-11-01T01:30:00-05:00", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
            ("2028-02-29T23:59:59Z", datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)),
            (" 2026-03-02T14:00:00Z ", datetime(2026, 3, 2, 14, tzinfo=UTC)),
            ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
            ("1969-12-31T23:59:59.999Z", datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
            (1772460310250, RECORD_TIME),
            ("1772460310250", RECORD_TIME),
            (1772460310250.5, datetime(2026, 3, 2, 14, 5, 10, 250500, tzinfo=UTC)),
            (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_a_time_is_read_as_utc(self, text: object, expected: datetime) -> None:
        """Zones are converted, naive is UTC, the seventh digit is dropped, a number is milliseconds [CNV-2]."""
        message = parsed(event(IngestionTime=text))
        assert expected == message.ingested_at
        assert message.ingested_at.tzinfo is UTC
        assert message == ClaimXEventMessage.from_bytes(message.to_bytes())

    @pytest.mark.parametrize(
        "text",
        [
            "2026-02-30T00:00:00Z",
            "2026-03-02T24:00:01Z",
            "2026-03-02T14:00:60Z",
            "2027-02-29",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-01:00",
            "yesterday",
            "12:00",
            True,
            [],
            {},
            10**30,
            -(10**30),
            1e300,
        ],
    )
    def test_an_impossible_time_is_malformed(self, text: object) -> None:
        """It is there, and means nothing: the event does not pass [settled point 14]."""
        assert "ingested_at" in refusal(event(IngestionTime=text)).text

    @pytest.mark.parametrize("nothing", [None, ..., "", " "])
    def test_without_a_time_the_record_tells_it(self, nothing: object) -> None:
        """The broker's time stands in [EVT-6]."""
        assert parsed(event(IngestionTime=nothing)).ingested_at == RECORD_TIME

    @pytest.mark.parametrize("timestamp_ms", [NO_TIMESTAMP, -2, 2**62])
    def test_without_any_time_the_clock_tells_it(self, timestamp_ms: int) -> None:
        """The record has none (or none that a calendar holds): the worker's clock [EVT-6]."""
        assert parsed(event(), record_timestamp_ms=timestamp_ms).ingested_at == NOW

    def test_no_clock_enters_the_id(self) -> None:
        """A redelivered event without time keeps its id [EID-3, EID-4]."""
        one = parse_event(json.dumps(event()).encode(), record_timestamp_ms=1, now=NOW)
        two = parse_event(json.dumps(event()).encode(), record_timestamp_ms=NO_TIMESTAMP, now=RECORD_TIME)
        assert one.event_id == two.event_id
        assert one.event_id.startswith("00000000-0000-8")

    def test_an_id_tells_whether_it_carries_the_time(self, samples: Any) -> None:
        """Ours with a time do; the one without time and those of the feed do not [EVW-1]."""
        assert [parsed(sample.value).has_time for sample in samples] == [
            sample.ingestion_time is not None for sample in samples
        ]
        feed = parsed(event(eventId="019caed9-437b-8174-b846-d8d316361618", IngestionTime="2026-03-05T00:00:00Z"))
        assert not feed.has_time
        assert not parsed(event(eventId="x", IngestionTime="2026-03-05T00:00:00Z")).has_time


class TestMalformed:
    """Records that are no events."""

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b" ",
            b"null",
            b"[]",
            b"1",
            b'"text"',
            b"{",
            b"{}{}",
            b"\xff\xfe",
            b'{"eventType":"\xff","projectId":1}',
            b'{"eventType":"X","projectId":1,"a":NaN}',
            b'{"eventType":"X","projectId":1,"a":Infinity}',
            b'{"eventType":"X","projectId":1,"a":1e999}',
            b'{"eventType":"X","projectId":1,"a":"\\ud800"}',
            b'{"eventType":"X","projectId":1,"a":' + b"9" * 5000 + b"}",
            b'{"eventType":"X","projectId":1,"a":' + b"[" * 200 + b"]" * 200 + b"}",
            b"[" * 100_000,
            b'{"a":' * 50_000,
        ],
    )
    def test_what_is_no_json_object_is_malformed(self, value: bytes | None) -> None:
        """One error for everything that cannot be read, permanent, with the reason for the dead letter [EVT-5]."""
        error = refusal(value)
        assert (error.category, error.reason) == (Category.PERMANENT, "malformed")

    @pytest.mark.parametrize("value", [..., None, "", " \t\n", 5, True, [], {}])
    def test_an_event_needs_a_type(self, value: object) -> None:
        """event_type is text, not empty after trimming [EVT-5]."""
        assert "event_type" in refusal(event(eventType=value)).text

    @pytest.mark.parametrize("value", [..., None, "", " ", True, False, 1.5, [], {}, [1]])
    def test_an_event_needs_a_project(self, value: object) -> None:
        """A boolean, a container or a fraction is no id [settled point 14]."""
        assert "project_id" in refusal(event(projectId=value)).text

    def test_the_error_never_holds_content(self) -> None:
        """Neither its text nor what it came from shows the payload (I10)."""
        error = refusal(b'{"eventType":"X","projectId":["Pat Sample"],"e":"pat@example.com"}')
        assert "Pat" not in str(error)
        assert "pat" not in repr(error)
        assert error.__cause__ is None
        refused = refusal(b'{"eventType":"X","projectId":"1","IngestionTime":"Pat Sample"}')
        assert "Pat" not in str(refused)

    def test_depth_that_can_be_written_again_is_kept(self) -> None:
        """Nesting within the limit passes, and survives the round trip."""
        nested: object = None
        for _ in range(120):
            nested = [nested]
        message = parsed(event(a=nested))
        assert nested == message.raw_data["a"]
        assert message == ClaimXEventMessage.from_bytes(message.to_bytes())

    def test_a_flat_payload_of_many_containers_passes(self) -> None:
        """It is depth that is refused, not number."""
        assert parsed(event(a=[{} for _ in range(1000)])).raw_data["a"] == [{}] * 1000


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**18, max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "eventType", "event_type", "projectId", "project_id", "mediaId", "mediaIds", "media_ids", "taskAssignmentId",
        "videoCollaborationId", "masterFileName", "IngestionTime", "ingested_at", "eventId", "event_id", "other",
    ]
)  # fmt: skip
PAYLOADS = st.dictionaries(KEYS, JSON_VALUES | st.sampled_from(["X", "2026-03-02T14:00:00Z", " 7 ", "[1,2]"]))
TIMESTAMPS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


class TestAnything:
    """Whatever arrives, the outcome is a message or MalformedEventError."""

    @settings(deadline=None, max_examples=200)
    @given(value=st.none() | st.binary(max_size=200), timestamp_ms=TIMESTAMPS)
    def test_any_bytes_are_read_or_refused(self, value: bytes | None, timestamp_ms: int) -> None:
        """No other exception leaves the parser."""
        try:
            message = parse_event(value, record_timestamp_ms=timestamp_ms, now=NOW)
        except MalformedEventError:
            return
        assert message.event_type

    @settings(deadline=None, max_examples=300)
    @given(payload=PAYLOADS, timestamp_ms=TIMESTAMPS)
    def test_any_object_is_read_or_refused_and_what_is_read_can_be_sent(
        self, payload: dict[str, Any], timestamp_ms: int
    ) -> None:
        """What passes is complete, typed, and equal after its way through the wire."""
        value = json.dumps(payload).encode()
        try:
            message = parse_event(value, record_timestamp_ms=timestamp_ms, now=NOW)
        except MalformedEventError:
            return
        assert message.event_type == message.event_type.strip() != ""
        assert message.project_id == message.project_id.strip() != ""
        assert message.ingested_at.tzinfo is UTC
        assert payload == message.raw_data
        assert message == ClaimXEventMessage.from_bytes(message.to_bytes())
        assert message.event_id == parse_event(value, record_timestamp_ms=0, now=RECORD_TIME).event_id


class TestReadingBack:
    """The message as others read it."""

    def test_unknown_fields_change_nothing_that_is_known(self, samples: Any) -> None:
        """A newer writer may send more [CNV-4]; it is kept beside what this version knows."""
        message = parsed(samples[0].value)
        newer = orjson.dumps({**orjson.loads(message.to_bytes()), "schema_version": 1, "shiny": True})
        read = ClaimXEventMessage.from_bytes(newer)
        assert read.unknown_fields == {"shiny": True}
        assert all(getattr(read, name) == getattr(message, name) for name in ClaimXEventMessage.model_fields)

    def test_a_wrong_message_names_its_field_only(self) -> None:
        """The text is safe to log (I10)."""
        with pytest.raises(MalformedTaskError, match=r"^project_id: missing$"):
            ClaimXEventMessage.from_bytes(b'{"event_id":"Pat","event_type":"X","ingested_at":"2026-03-02T14:00:00Z"}')
