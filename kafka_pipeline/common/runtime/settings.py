"""Sizes and times of a worker loop, with what breaks where they are larger or smaller."""

from __future__ import annotations

from dataclasses import dataclass, field

from kafka_pipeline.common.resilience.flood import FloodLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """Sizes and times of one loop."""

    max_batch_records: int = 500
    linger_s: float = 0.1
    """How long a record may wait for others to share its batch."""
    max_in_flight_records: int = 5_000
    """Bound of the records in process at a time (the last batch may pass it)."""
    max_waiting_records: int = 5_000
    """Bound of the records that wait for their turn behind those in process."""
    max_held_bytes: int = 256 * 2**20
    """Bound of the values of all those records together; one poll more may pass it."""
    poll_timeout_s: float = 0.2
    """A commit waits for the poll before it; longer polls make commits late, shorter ones burn processor time."""
    commit_interval_s: float = 0.25
    """Work that a crash repeats, in seconds, against round trips to the broker."""
    revoke_timeout_s: float = 30.0
    """Must stay below the consumer's revoke budget, or the finished prefix is not committed and done again."""
    shutdown_timeout_s: float = 30.0
    produce_retry_initial_s: float = 0.5
    produce_retry_max_s: float = 15.0
    """Pauses between attempts on a broker that takes nothing double from the first to the last."""
    flood: FloodLimits = field(default_factory=FloodLimits)
    """How much may end in the dead letters before the worker stops."""
