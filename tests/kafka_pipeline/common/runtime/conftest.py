"""The bench of the worker loop, on a broker of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from kafka_pipeline.common.messaging import Broker, NewTopic
from tests.kafka_pipeline.common.runtime.bench import Bench


@pytest.fixture
async def bench(broker: Broker, unique: Callable[..., str]) -> AsyncIterator[Bench]:
    """Give a bench with its topics made, one partition each."""
    made = Bench(broker, unique)
    await made.admin.create_topics([NewTopic(name=name, partitions=1) for name in (made.work, made.next, made.aside)])
    yield made
    await made.producer.close()
    await made.admin.close()
