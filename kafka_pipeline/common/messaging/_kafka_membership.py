"""Whether a client still has a place in its group, and when to give it up."""

from __future__ import annotations

from enum import Enum
from typing import Final

OUTCAST_S: Final = 15.0
"""A client without a place, although the broker answers, gets so long at least, or its session time, to find one by
itself. Joining takes a second or two; a member that waits for the others has its place already."""

LOOK_EVERY_S: Final = 1.0


class Finding(Enum):
    """What a look at the client shows."""

    WELL = "well"
    """A member, or not for so long that anything would be wrong."""
    OUTCAST = "outcast"
    """No member for too long: it is to be replaced, unless the broker is away."""


class Membership:
    """Decides whether a client has lost its group for good. Pure: the time, in seconds, is passed in.

    Of some hundred clients whose broker is restarted, one of librdkafka 2.16 does not connect to it again: its requests
    time out unsent, those to the group's coordinator or all, while other clients work. It has no place in its group
    then, and no member id.
    """

    def __init__(self, session_s: float) -> None:
        self._patience_s = max(OUTCAST_S, session_s)
        self._member_at_s = 0.0
        self._next_look_s = 0.0

    def begin(self, now_s: float) -> None:
        """Note that a client begins to join, or that the broker is away: its return is waited for first."""
        self._member_at_s = now_s
        self._next_look_s = now_s + LOOK_EVERY_S

    def is_due(self, now_s: float) -> bool:
        """Tell whether it is time for a look."""
        return now_s >= self._next_look_s

    def look(self, member_id: str | None, now_s: float) -> Finding:
        """Take what the client says of itself; no id is that of a client without a place."""
        self._next_look_s = now_s + LOOK_EVERY_S
        if member_id:
            self._member_at_s = now_s
        return Finding.OUTCAST if now_s - self._member_at_s >= self._patience_s else Finding.WELL
