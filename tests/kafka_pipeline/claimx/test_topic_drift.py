"""Promises of what is told about topics that somebody else made."""

from __future__ import annotations

import pytest

from kafka_pipeline.claimx.broker import is_event_hubs, new_topics
from kafka_pipeline.claimx.topic_drift import TopicState, drift, least_kept_s, state_of
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.messaging import NewTopic, TopicFacts
from kafka_pipeline.config import load_config

DAY_S, DAY_MS = 86_400, 86_400_000
WANTED = NewTopic(name="t", partitions=6, replication_factor=3, config={"max.message.bytes": "2000"})
WELL = {"max.message.bytes": "2000", "retention.ms": str(7 * DAY_MS), "cleanup.policy": "delete"}


def found(partitions: int = 6, replication_factor: int | None = 3, **config: str) -> TopicFacts:
    """Return a topic like the one that is wanted, but for what is given; dots are underscores."""
    changes = {name.replace("_", "."): value for name, value in config.items()}
    return TopicFacts(partitions=partitions, replication_factor=replication_factor, config=WELL | changes)


@pytest.mark.parametrize(
    ("facts", "state", "told"),
    [
        (found(), TopicState.PRESENT, ""),
        (found(partitions=12), TopicState.PRESENT, ""),
        (found(replication_factor=5), TopicState.PRESENT, ""),
        (found(max_message_bytes="9000", retention_ms="-1"), TopicState.PRESENT, ""),
        (TopicFacts(partitions=6), TopicState.PRESENT, ""),
        (found(partitions=2), TopicState.DIFFERS, "2 partitions instead of 6"),
        (found(replication_factor=1), TopicState.DIFFERS, "1 copies instead of 3"),
        (found(retention_ms=str(DAY_MS - 1)), TopicState.WRONG, f"set its retention.ms to {DAY_MS}"),
        (found(max_message_bytes="1999"), TopicState.WRONG, "set its max.message.bytes to 2000"),
        (found(cleanup_policy="compact,delete"), TopicState.WRONG, "set its cleanup.policy to delete"),
        (found(partitions=2, cleanup_policy="compact"), TopicState.WRONG, "set its cleanup.policy to delete"),
    ],
)
def test_a_difference_is_told_with_its_remedy(facts: TopicFacts, state: TopicState, told: str) -> None:
    """More than wanted is no difference; what loses records is wrong; what nobody tells is not judged."""
    drifts = drift(WANTED, facts, least_kept_s=DAY_S, is_last=True)
    assert state_of(drifts) is state
    assert bool(drifts) == bool(told)
    assert told in " ".join(map(str, drifts))


def test_a_topic_that_takes_smaller_messages_is_wrong_only_for_dead_letters() -> None:
    """What another topic does not take is set aside there."""
    (told,) = drift(WANTED, found(max_message_bytes="1999"), least_kept_s=DAY_S, is_last=False)
    assert told.state is TopicState.DIFFERS


def test_a_retry_topic_keeps_records_beyond_their_delay() -> None:
    """What is deleted while it waits is lost."""
    config = load_config(None, {"claimx_retry_delays_seconds": "300,604800"}, {})
    topics = Topics.from_config(config)
    kept_s = least_kept_s(topics, config.claimx_retry_delays_seconds)
    assert kept_s[topics.downloads_retry[1]] == 8 * DAY_S
    assert kept_s[topics.enrichment_retry[0]] == DAY_S + 300
    assert kept_s[topics.events] == DAY_S
    assert set(kept_s) == set(topics.all)


def test_dead_letters_are_kept_as_long_as_the_setting_says() -> None:
    """Nobody looks at them every week; a topic of somebody else that keeps them shorter is told."""
    config = load_config(None, {"claimx_dlq_retention_days": "60"}, {})
    topics = Topics.from_config(config)
    made = {topic.name: topic for topic in new_topics(topics, config)}
    letters = made[topics.dead_letters(DeadLetterKind.EVENTS)]
    assert letters.config["retention.ms"] == str(60 * DAY_MS)
    assert "retention.ms" not in made[topics.events].config
    facts = TopicFacts(partitions=6, config={"retention.ms": str(7 * DAY_MS)})
    (told,) = drift(letters, facts, least_kept_s=DAY_S, is_last=True)
    assert told.what == "keeps records for 7 days, and they may have to wait for 60 days"
    assert told.remedy == f"set its retention.ms to {60 * DAY_MS}"


def test_event_hubs_get_no_configuration_that_they_refuse() -> None:
    """Sizes and retention are set in the portal there."""
    config = load_config(None, {"kafka_bootstrap_servers": "x.servicebus.windows.net:9093"}, {})
    assert is_event_hubs(config)
    assert all(not topic.config for topic in new_topics(Topics.from_config(config), config))


def test_one_delay_makes_ten_topics() -> None:
    """What a namespace of Event Hubs holds."""
    config = load_config(None, {"claimx_retry_delays_seconds": "1200"}, {})
    assert len(Topics.from_config(config).all) == 10
