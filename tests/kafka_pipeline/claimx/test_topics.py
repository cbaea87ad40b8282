"""Promises of the names that producers and consumers share [TOP-1]."""

from __future__ import annotations

import pytest

from kafka_pipeline.claimx.topics import DeadLetterKind, Group, Topics, retry_suffixes
from kafka_pipeline.config import load_config


def test_the_default_topics_are_those_of_the_reference() -> None:
    """Sixteen names, section 4.1."""
    topics = Topics.from_config(load_config(None, {}, {}))
    assert set(topics.all) == {
        "claimx.events.raw",
        "claimx.enrichment.pending",
        "claimx.downloads.pending",
        "claimx.downloads.cached",
        "claimx.downloads.results",
        *(f"claimx.{stage}.retry.{delay}m" for stage in ("enrichment", "downloads") for delay in (5, 10, 20, 40)),
        *(f"claimx.dlq.{kind}" for kind in ("events", "enrichment", "downloads")),
    }
    assert len(topics.all) == 16


@pytest.mark.parametrize(
    ("delays_s", "names"),
    [
        ([300, 600], ("5m", "10m")),
        ([90, 60], ("90s", "1m")),
        ([300, 300, 300], ("5m", "5m-2", "5m-3")),
        ([0, 1], ("0s", "1s")),
        ([], ()),
    ],
)
def test_retry_topics_are_named_by_their_delay(delays_s: list[int], names: tuple[str, ...]) -> None:
    """Settled point 5: no two delays share a topic."""
    assert retry_suffixes(delays_s) == names


def test_every_name_follows_the_configuration() -> None:
    """A prefix of groups and other names reach everyone who asks."""
    changes = {
        "kafka_group_prefix": "blue.",
        "claimx_dlq_topic": "letters",
        "claimx_retry_delays_seconds": "90",
        "claimx_downloads_retry_topic_prefix": "again",
    }
    topics = Topics.from_config(load_config(None, changes, {}))
    assert topics.group(Group.UPLOADER) == "blue.claimx-upload-worker"
    assert topics.dead_letters(DeadLetterKind.EVENTS) == "letters.events"
    assert topics.downloads_retry == ("again.90s",)
