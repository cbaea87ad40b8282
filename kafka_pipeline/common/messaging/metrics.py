"""What the Kafka clients count."""

from __future__ import annotations

from typing import Final

from kafka_pipeline.common.observability.catalogue import counter

CLIENTS_REPLACED: Final = counter(
    "kafka_clients_replaced_total",
    labels=(),
    meaning="Consumer clients replaced because they did not find back into their group although the broker answered.",
    remedy="One after a restart of a broker is harmless. Growing: brokers answer and the group's coordinator does not;"
    " look at the broker that leads __consumer_offsets.",
)
