"""The feed has exactly the items asked for, in every spelling, and each means what it says."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.builder import HISTORY, build_world
from kafka_pipeline.simulator.feed import FeedItem, FeedKind, build_feed
from kafka_pipeline.simulator.identity import event_id
from kafka_pipeline.simulator.invitee import snake_case
from kafka_pipeline.simulator.malformed import MALFORMED, malformed_value
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.spelling import EXACT_STYLES, TimeStyle, write_time
from kafka_pipeline.simulator.world import LinkForm

DEFAULT = SimulatorSettings()

IDENTITY = (
    *("event_type", "project_id", "ingested_at", "media_id", "task_assignment_id", "video_collaboration_id"),
    *("master_file_name", "media_ids"),
)
"""What an event's id is made of [EID-2]."""


@pytest.fixture(scope="module")
def feed() -> tuple[FeedItem, ...]:
    """Give the feed of the default settings."""
    return build_feed(DEFAULT, build_world(DEFAULT))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    projects=st.integers(1, 12),
    events=st.integers(40, 120),
    duplicate_share=st.floats(0, 0.3),
    malformed_share=st.floats(0, 0.3),
)
def test_the_feed_has_exactly_the_items_asked_for(
    seed: int, projects: int, events: int, duplicate_share: float, malformed_share: float
) -> None:
    """Events, duplicates and malformed items together are `events`, each kind as many as its share says."""
    asked = SimulatorSettings(
        seed=seed,
        projects=projects,
        events=events,
        duplicate_share=duplicate_share,
        malformed_share=malformed_share,
    )
    kinds = Counter(item.kind for item in build_feed(asked, build_world(asked)))
    assert events == kinds.total()
    assert (asked.duplicates, asked.malformed) == (kinds[FeedKind.DUPLICATE], kinds[FeedKind.MALFORMED])


def test_equal_settings_give_equal_bytes_and_another_seed_gives_others(feed: tuple[FeedItem, ...]) -> None:
    """Feed and world depend on the settings and on nothing else."""
    assert feed == build_feed(SimulatorSettings(), build_world(SimulatorSettings()))
    other = SimulatorSettings(seed=2)
    assert [item.value for item in feed] != [item.value for item in build_feed(other, build_world(other))]


def test_no_two_events_share_an_id(feed: tuple[FeedItem, ...]) -> None:
    """Equal content without a time never occurs twice, so that each event is a row of its own."""
    ids = [item.event.event_id for item in feed if item.kind is FeedKind.EVENT and item.event]
    assert len(ids) == len(set(ids))


def test_every_project_is_created_before_anything_else_happens_to_it(feed: tuple[FeedItem, ...]) -> None:
    """The first event of each project is its creation, and each has one."""
    first: dict[str, str] = {}
    for item in feed:
        if item.event:
            first.setdefault(item.event.project_id, item.event_type)
    assert (DEFAULT.projects, {words.PROJECT_CREATED}) == (len(first), set(first.values()))


def test_a_duplicate_is_a_later_copy_byte_for_byte(feed: tuple[FeedItem, ...]) -> None:
    """Each duplicate has the key, the value and the meaning of an event before it."""
    seen = set()
    for item in feed:
        if item.kind is FeedKind.EVENT:
            seen.add((item.key, item.value))
        elif item.kind is FeedKind.DUPLICATE:
            assert (item.key, item.value) in seen


def test_what_an_event_means_is_what_its_bytes_say(feed: tuple[FeedItem, ...]) -> None:
    """Type, ids and time read from the bytes give the same event, and its id unless the feed gave one."""
    given_ids = 0
    for item in feed:
        if item.kind is not FeedKind.EVENT or item.event is None:
            continue
        body = {key.replace("_", "").lower(): value for key, value in json.loads(item.value).items()}
        event = item.event
        assert event.event_type == body["eventtype"].strip() == item.event_type
        assert event.project_id == str(int(float(body["projectid"])))
        assert event.master_file_name == body["masterfilename"]
        if event.media_id is not None:
            assert event.media_id == str(int(float(body["mediaid"])))
        elif event.event_type == words.PROJECT_FILE_ADDED:
            assert not isinstance(body["mediaid"], int | float) or body["mediaid"] is True
        facts = {name: getattr(event, name) for name in IDENTITY}
        computed = event_id(**facts)
        if "eventid" in body:
            given_ids += 1
            assert event.event_id == body["eventid"].strip()
        else:
            assert event.event_id == computed
        if event.ingested_at is not None:
            assert DEFAULT.epoch - HISTORY <= event.ingested_at <= DEFAULT.epoch
    assert given_ids


def test_a_file_event_names_a_file_that_can_be_fetched(feed: tuple[FeedItem, ...]) -> None:
    """No event names an item without a link: it would wait for ever for one."""
    world = build_world(DEFAULT)
    named = [world.media[int(item.event.media_id)] for item in feed if item.event and item.event.media_id]
    assert named
    assert all(item.link is not LinkForm.NONE for item in named)


def test_a_default_feed_has_every_flaw_and_every_spelling(feed: tuple[FeedItem, ...]) -> None:
    """Unrouted types, snake_case, given ids, padded and textual ids, times in all ways, links, null and odd ids."""
    text = b"\n".join(item.value for item in feed if item.kind is FeedKind.EVENT)
    for mark in (
        *(name.encode() for name in DEFAULT.event_types),
        *(b'"event_type"', b'"eventId"', b'"$IngestionTime"', b'"ingestedAt"', b'"ingestion_time"', b'" 9000'),
        *(b".0,", b"+02:00", b"-08:00", b'"mediaId":true', b"?token=INVENTED", b'" PROJECT_FILE_ADDED "'),
    ):
        assert mark in text, mark


PERSON = {
    "email": {"email", "email_address", "invitee_email", "user_email", "policyholder_email"},
    "first_name": {"first_name", "name"},
    "last_name": {"last_name"},
    "phone_number": {"phone", "phone_number"},
    "phone_country_code": {"phone_country_code"},
    "said_at": {"invited_at", "joined_at"},
}
"""The keys that a person is told by [CON-3], in snake_case."""


def test_an_invitation_names_people_in_every_spelling() -> None:
    """[CON-3] In part of the feed; what is meant is what the bytes say, and the order in time is never open."""
    asked = SimulatorSettings(projects=60, events=4_000, event_types=tuple(words.POLICYHOLDER_TYPES))
    feed = build_feed(asked, build_world(asked))
    invitations = [item for item in feed if item.kind is FeedKind.EVENT and item.event]
    named = [item for item in invitations if item.event and item.event.invitee]
    assert 0.3 < len(named) / len(invitations) < 0.5
    places: set[str] = set()
    for item in named:
        body = json.loads(item.value)
        assert item.event is not None
        assert item.event.ingested_at is not None
        inner = {name: body[name] for name in ("policyholder", "contact", "invitee") if name in body}
        said = {**body, **next(iter(inner.values()), {})}
        places |= {*(inner or {"top"}), *said}
        found = {
            column: next((said[key] for key in said if snake_case(key) in keys and said[key] is not None), None)
            for column, keys in PERSON.items()
        }
        for column, value in found.items():
            meant = getattr(item.event.invitee, column)
            assert value == (meant.isoformat() if isinstance(meant, datetime) else meant) or value == str(meant)
    spelled = {key for keys in PERSON.values() for key in keys}
    assert {"top", "policyholder", "contact", "invitee"} | spelled | {to_camel(key) for key in spelled} <= places


def test_every_type_can_be_asked_for() -> None:
    """With all types, tasks and calls are reported by their ids, and form media as a list or as text of one."""
    asked = SimulatorSettings(projects=20, events=2000, event_types=words.EVENT_TYPES)
    world = build_world(asked)
    told = [item.event for item in build_feed(asked, world) if item.event]
    assert set(words.EVENT_TYPES) == {event.event_type for event in told}
    assert {int(event.task_assignment_id) for event in told if event.task_assignment_id} <= set(world.tasks)
    assert all(event.video_collaboration_id for event in told if event.event_type in words.VIDEO_TYPES)
    assert any(event.media_ids for event in told if event.event_type == words.CUSTOM_TASK_COMPLETED)


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_a_malformed_value_is_no_event(kind: str) -> None:
    """No reading of the rules makes an event of it."""
    value = MALFORMED[kind]("900001")
    try:
        body = json.loads(value.decode("utf-8"))
    except ValueError:
        return
    if not isinstance(body, dict):
        return
    project, moment = body.get("projectId"), body.get("IngestionTime")
    named = isinstance(body.get("eventType"), str) and body["eventType"].strip()
    identified = type(project) is int or (isinstance(project, str) and project.strip())
    timed = moment is None or _is_moment(moment)
    assert not (named and identified and timed)


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_a_long_feed_has_every_kind_of_malformed_value() -> None:
    """Successive malformed items go through all kinds."""
    made = {malformed_value(Random(7), "900001", number) for number in range(len(MALFORMED))}
    assert {make("900001") for make in MALFORMED.values()} == made


@given(micros=st.integers(0, 10**15), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_a_written_time_means_what_it_says(micros: int, seed: int) -> None:
    """Read back, each way of writing gives the moment that goes with it; the exact ones give the very moment."""
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    for style in TimeStyle:
        written, meant = write_time(Random(seed), moment, style)
        if isinstance(written, int):
            read = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=written)
            assert meant == read
        elif written is not None:
            read = datetime.fromisoformat(written)
            read = read if read.tzinfo else read.replace(tzinfo=timezone.utc)  # noqa: UP017 - as a reader would
            assert meant == read, style
        if style in EXACT_STYLES:
            assert meant == moment


@pytest.mark.parametrize(
    ("changes", "words_of_error"),
    [
        ({"event_types": ("PROJECT_EATEN",)}, "not known on the feed: PROJECT_EATEN"),
        ({"projects": -1}, "projects"),
        ({"media_per_project": 0}, "media_per_project"),
        ({"duplicate_share": -0.1}, "must not be negative"),
        ({"malformed_share": 1.5}, "leave no proper events"),
        ({"duplicate_share": 0.5, "malformed_share": 0.5}, "need a proper event"),
        ({"epoch": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "epoch"),
        ({"epoch": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "epoch"),
        ({"link_lifetime_s": 0}, "link_lifetime_s"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(changes: dict[str, object], words_of_error: str) -> None:
    """The error names the setting."""
    with pytest.raises(ValueError, match=words_of_error):
        SimulatorSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "words_of_error"),
    [
        (SimulatorSettings(projects=20, events=10), "leave no room"),
        (SimulatorSettings(projects=2, events=10, event_types=(words.PROJECT_CREATED,)), "nothing to tell"),
    ],
)
def test_a_feed_that_the_world_cannot_fill_is_refused(asked: SimulatorSettings, words_of_error: str) -> None:
    """Too few events for the creations, or nothing else to tell, is an error and not a shorter feed."""
    with pytest.raises(ValueError, match=words_of_error):
        build_feed(asked, build_world(asked))
