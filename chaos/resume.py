"""Times how soon work goes on after a worker died, by what the group commits."""

from __future__ import annotations

import asyncio

from kafka_pipeline.common.clock import SYSTEM_CLOCK, Clock
from kafka_pipeline.common.messaging import Admin, TopicPartition

_LOOK_EVERY_S = 0.1


async def resumed_after(
    admin: Admin, group: str, topic: str, *, session_s: float, limit_s: float, clock: Clock = SYSTEM_CLOCK
) -> float:
    """Return the seconds from now until every partition of a topic was committed past what it is at now.

    The dead member had some of them; those of the others count too, which can only make it longer. A partition whose
    first work comes after the session has ended is timed from then: there was nothing to resume before. One that had no
    work all the while does not count; one that was not served counts as the limit.
    """
    start_s = clock.monotonic()
    count = (await admin.topics())[topic]
    partitions = [TopicPartition(topic, number) for number in range(count)]
    before = await admin.group_offsets(group, partitions)
    since_s: dict[TopicPartition, float] = {}
    waiting = set(partitions)
    longest_s = 0.0
    while waiting and (now_s := clock.monotonic() - start_s) < limit_s:
        marks = await admin.watermarks(list(waiting))
        for each in waiting - since_s.keys():
            if marks[each].high > before.get(each, marks[each].low):
                since_s[each] = now_s if now_s > session_s else 0.0
        committed = await admin.group_offsets(group, list(waiting))
        moved = {each for each in waiting & since_s.keys() if committed.get(each, 0) > before.get(each, 0)}
        longest_s = max([longest_s, *(clock.monotonic() - start_s - since_s[each] for each in moved)])
        waiting -= moved
        await asyncio.sleep(_LOOK_EVERY_S)
    return limit_s if waiting & since_s.keys() else longest_s
