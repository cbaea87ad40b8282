"""Times how soon work goes on after a worker died, by what the group commits."""

from __future__ import annotations

import asyncio

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Admin, TopicPartition

_LOOK_EVERY_S = 0.1


async def resumed_after(admin: Admin, group: str, topic: str, *, limit_s: float, clock: Clock = SYSTEM_CLOCK) -> float:
    """Return the seconds from now until every partition of a topic was committed past what it is at now.

    The dead member had some of them; those of the others count too, which can only make it longer. A partition that
    had no work all the while counts as resumed at the limit.
    """
    start_s = clock.monotonic()
    count = (await admin.topics())[topic]
    partitions = [TopicPartition(topic, number) for number in range(count)]
    before = await admin.group_offsets(group, partitions)
    waiting = set(partitions)
    last_s = 0.0
    while waiting and clock.monotonic() - start_s < limit_s:
        await asyncio.sleep(_LOOK_EVERY_S)
        now = await admin.group_offsets(group, partitions)
        moved = {each for each in waiting if now.get(each, 0) > before.get(each, 0)}
        if moved:
            last_s = clock.monotonic() - start_s
            waiting -= moved
    marks = await admin.watermarks(list(waiting)) if waiting else {}
    idle = all(marks[each].high <= before.get(each, 0) for each in waiting)
    return last_s if idle else clock.monotonic() - start_s
