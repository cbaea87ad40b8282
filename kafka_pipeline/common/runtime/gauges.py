"""What a running loop tells when its metrics are read: computed then, so that it is true also while the loop hangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from kafka_pipeline.common.clock import Clock
from kafka_pipeline.common.observability import metrics


@contextmanager
def telling(
    worker: str,
    topics: Sequence[str],
    *,
    oldest_ms: Callable[[str], int | None],
    since_turn_s: Callable[[], float],
    assigned: Callable[[], int],
    clock: Clock,
) -> Iterator[None]:
    """Tell a worker's lag, turns and partitions while entered; afterwards nothing of it is left.

    `oldest_ms` says for a topic since when its oldest unfinished record waits, Unix milliseconds.
    """

    def lag_s(topic: str) -> float:
        since_ms = oldest_ms(topic)
        return 0.0 if since_ms is None else max(0.0, clock.now().timestamp() - since_ms / 1000)

    for topic in topics:
        metrics.LAG.labels(worker, topic).set_function(partial(lag_s, topic))
    metrics.SINCE_TURN.labels(worker).set_function(since_turn_s)
    metrics.PARTITIONS_ASSIGNED.labels(worker).set_function(assigned)
    try:
        yield
    finally:
        for topic in topics:
            metrics.LAG.remove(worker, topic)
        metrics.SINCE_TURN.remove(worker)
        metrics.PARTITIONS_ASSIGNED.remove(worker)
