"""What we ask of librdkafka."""

from __future__ import annotations

import pytest

from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings


@pytest.mark.parametrize(("session_s", "beat_ms"), [(6, 1000), (45, 3000), (12, 2000)])
def test_a_death_is_heard_of_within_a_sixth_of_the_session(session_s: float, beat_ms: int) -> None:
    """The others take the work of a dead member one beat after its session ended: a short session beats faster."""
    settings = KafkaSettings(bootstrap_servers="broker.example.com:9092", session_timeout_s=session_s)
    assert settings.consumer("group")["heartbeat.interval.ms"] == beat_ms
