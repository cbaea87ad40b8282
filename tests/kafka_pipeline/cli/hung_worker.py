"""`kafka-pipeline` with a mistake in it, as a process: the ingester never comes to an end with any batch.

Silence counts as a hang after a second here, so that nobody has to wait for a minute.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from kafka_pipeline.__main__ import main
from kafka_pipeline.claimx.workers.event_ingester import ClaimXEventIngesterWorker
from kafka_pipeline.common.messaging import Record
from kafka_pipeline.common.pulse import Pulse
from kafka_pipeline.common.runtime.outcomes import Outcome


async def _never(_: ClaimXEventIngesterWorker, records: Sequence[Record]) -> Sequence[Outcome]:
    await asyncio.Event().wait()
    raise AssertionError(records)


if __name__ == "__main__":
    assert Pulse.__init__.__kwdefaults__ is not None
    Pulse.__init__.__kwdefaults__["grace_s"] = 1.0
    setattr(ClaimXEventIngesterWorker, "process", _never)  # noqa: B010 - a method is replaced
    sys.exit(main())
