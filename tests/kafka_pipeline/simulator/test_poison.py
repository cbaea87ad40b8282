"""What ClaimX denies for a while: chosen by the seed, set aside to the last event, and missed by the verifier."""

from __future__ import annotations

from typing import Any

from kafka_pipeline.simulator import vocabulary as words
from kafka_pipeline.simulator.builder import build_world
from kafka_pipeline.simulator.expectation import Matcher, Truth
from kafka_pipeline.simulator.faults import API, Endpoint
from kafka_pipeline.simulator.feed import FeedItem, build_feed
from kafka_pipeline.simulator.poison import Poison, choose_poison
from kafka_pipeline.simulator.settings import SimulatorSettings


def feed_of(settings: SimulatorSettings) -> tuple[FeedItem, ...]:
    """Return the feed of a world."""
    return build_feed(settings, build_world(settings))


def test_the_choice_follows_from_the_seed(small_settings: SimulatorSettings, small_truth: Truth) -> None:
    """The same seed denies the same; the files are of projects that are not denied.

    No project is denied of which an event may be enriched without asking the API.
    """
    feed = feed_of(small_settings)
    poison = choose_poison(1, feed, small_truth)
    assert poison == choose_poison(1, feed, small_truth)
    assert poison != choose_poison(2, feed, small_truth)
    assert poison.projects
    assert poison.files
    told = {item.event_type for item in feed if item.event and item.event.project_id in poison.projects}
    assert not told & words.POLICYHOLDER_TYPES
    rows = small_truth.tables["claimx_attachments"].rows
    assert not poison.projects & {str(rows[media_id,]["project_id"]) for media_id in poison.files}


def test_a_world_of_next_to_nothing_is_not_denied_anything(small_truth: Truth) -> None:
    """An empty feed has nothing to set aside."""
    assert choose_poison(1, (), small_truth).projects == frozenset()


def test_every_routed_event_of_a_denied_project_is_stopped_and_no_other(small_settings: Any, small_truth: Any) -> None:
    """Types without a handler ask the API for nothing, so nothing stops them."""
    feed = feed_of(small_settings)
    poison = choose_poison(1, feed, small_truth)
    stopped = poison.events(feed)
    for item in feed:
        if item.event is not None:
            denied = item.event.project_id in poison.projects and item.event_type in words.ROUTED_TYPES
            assert denied == (item.event.event_id in stopped)
    assert stopped


def test_the_lake_holds_no_row_of_a_denied_project_and_a_failure_of_a_denied_file(
    small_settings: Any, small_truth: Truth
) -> None:
    """Events are stored all the same; everything else is as in the whole truth."""
    poison = choose_poison(1, feed_of(small_settings), small_truth)
    held = poison.held_back(small_truth)
    assert held.tables["claimx_events"] is small_truth.tables["claimx_events"]
    for name, table in small_truth.tables.items():
        if name == "claimx_events":
            continue
        kept = {key for key, row in table.rows.items() if row["project_id"] not in poison.projects}
        assert kept == set(held.tables[name].rows)
        changed = {key for key in kept if table.rows[key] is not held.tables[name].rows[key]}
        assert changed == ({(media_id,) for media_id in poison.files} if name == "claimx_attachments" else set())
    for media_id in poison.files:
        row = held.tables["claimx_attachments"].rows[media_id,]
        assert (row["status"], row["error_category"]) == ("failed_permanent", Matcher.PRESENT)
    gone = set(small_truth.files) - set(held.files)
    assert {path.split("/")[1] for path in gone} & poison.projects
    assert {path.split("/")[2] for path in gone} >= poison.files
    assert all(path.split("/")[1] in poison.projects or path.split("/")[2] in poison.files for path in gone)
    assert held.dead_events == small_truth.dead_events


def test_its_faults_deny_what_was_chosen(small_settings: Any, small_truth: Truth) -> None:
    """Projects and tasks at the API, files at the storage, each by its id, always; and nothing where none was."""
    poison = Poison(projects=frozenset({"1"}), tasks=frozenset({"3"}), files=frozenset({"2"}))
    concerned = {
        (endpoint, id_)
        for fault in poison.faults()
        for endpoint in API | {Endpoint.FILE, Endpoint.LINK}
        for id_ in "123"
        if fault.concerns(endpoint, id_)
    }
    of_projects = {(endpoint, "1") for endpoint in (Endpoint.PROJECT, Endpoint.MEDIA, Endpoint.REPORT)}
    assert concerned == of_projects | {(Endpoint.TASK, "3"), (Endpoint.FILE, "2")}
    assert Poison(projects=frozenset(), tasks=frozenset(), files=frozenset()).faults() == ()
