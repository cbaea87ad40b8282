"""What is wrong with a topic that somebody else made, and what to do about it. Pure: no I/O.

| what | harm | told as |
|---|---|---|
| missing | workers do not start | missing |
| kept for less than a record may have to wait there | the broker deletes what was never worked off | wrong |
| dead letters: takes smaller messages than may come | such a dead letter is kept without its record | wrong |
| others: takes smaller messages than may come | such a record goes to the dead letters | differs |
| compacted | records with one key replace each other | wrong |
| other partitions or copies than configured | less room to grow, less safety; nothing is lost | differs |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.messaging import NewTopic, TopicFacts

_DAY_S = 24 * 3_600
_MS = 1_000

LEAST_KEPT_S = _DAY_S
"""Time a record must be kept beyond the time it waits by design: whoever mends an outage needs a night."""


class TopicState(str, Enum):
    """How a topic is."""

    MISSING = "missing"
    """Not there."""
    CREATED = "created"
    """Made just now."""
    PRESENT = "present"
    """There, as it should be."""
    DIFFERS = "differs"
    """There, otherwise than it would be created; works."""
    WRONG = "wrong"
    """There, and records can be lost or held up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference, with its remedy."""

    state: TopicState
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def drift(wanted: NewTopic, found: TopicFacts, *, least_kept_s: int, is_last: bool) -> tuple[Drift, ...]:
    """Return how a topic differs from the one that would be created, and in what it fails its purpose.

    `is_last`: it holds dead letters, and what it does not take goes nowhere else.
    """
    return (*_shape(wanted, found), *_size(wanted, found, is_last=is_last), *_loss(wanted, found, least_kept_s))


def state_of(drifts: tuple[Drift, ...]) -> TopicState:
    """Return the worst of it."""
    states = {each.state for each in drifts}
    return next((state for state in (TopicState.WRONG, TopicState.DIFFERS) if state in states), TopicState.PRESENT)


def least_kept_s(topics: Topics, delays_s: tuple[int, ...]) -> Mapping[str, int]:
    """Return how long each topic must keep a record, in seconds: a retry waits for its delay first."""
    waits = dict.fromkeys(topics.all, 0)
    for retries in (topics.enrichment_retry, topics.downloads_retry):
        waits |= dict(zip(retries, delays_s, strict=True))
    return {name: wait_s + LEAST_KEPT_S for name, wait_s in waits.items()}


def _shape(wanted: NewTopic, found: TopicFacts) -> list[Drift]:
    drifts = []
    if found.partitions < wanted.partitions:
        what = f"{found.partitions} partitions instead of {wanted.partitions}, so that fewer workers can share it"
        remedy = f"raise it with your broker's tools, or set kafka_topic_partitions to {found.partitions}"
        drifts.append(Drift(state=TopicState.DIFFERS, what=what, remedy=remedy))
    copies = found.replication_factor
    if copies is not None and copies < wanted.replication_factor:
        what = f"{copies} copies instead of {wanted.replication_factor}, so that it survives fewer brokers"
        remedy = "reassign its replicas with your broker's tools"
        drifts.append(Drift(state=TopicState.DIFFERS, what=what, remedy=remedy))
    return drifts


def _size(wanted: NewTopic, found: TopicFacts, *, is_last: bool) -> list[Drift]:
    taken, least = _number(found.config, "max.message.bytes"), _number(wanted.config, "max.message.bytes")
    if taken is None or least is None or taken >= least:
        return []
    what = f"takes messages of {taken} bytes, and they may have {least}"
    state = TopicState.WRONG if is_last else TopicState.DIFFERS
    return [Drift(state=state, what=what, remedy=f"set its max.message.bytes to {least}, or lower max_event_bytes")]


def _loss(wanted: NewTopic, found: TopicFacts, least_kept_s: int) -> list[Drift]:
    drifts = []
    kept_ms, wanted_ms = _number(found.config, "retention.ms"), _number(wanted.config, "retention.ms")
    least_ms = max(least_kept_s * _MS, wanted_ms or 0)
    if kept_ms is not None and 0 <= kept_ms < least_ms:
        what = f"keeps records for {_span(kept_ms)}, and they may have to wait for {_span(least_ms)}"
        drifts.append(Drift(state=TopicState.WRONG, what=what, remedy=f"set its retention.ms to {least_ms}"))
    if "compact" in found.config.get("cleanup.policy", ""):
        what = "is compacted, so that records with one key replace each other"
        drifts.append(Drift(state=TopicState.WRONG, what=what, remedy="set its cleanup.policy to delete"))
    return drifts


def _number(config: Mapping[str, str], name: str) -> int | None:
    text = config.get(name, "")
    return int(text) if text.removeprefix("-").isdigit() else None


def _span(milliseconds: int) -> str:
    hours = milliseconds / 3_600_000
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:.3g} h"
