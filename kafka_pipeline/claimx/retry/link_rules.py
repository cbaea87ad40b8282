"""What a link's end and a storage's answer mean for a file's attempt [LNK-4 to LNK-6, settled points 9 and 10]. Pure.

before a request    link good ─▶ USE      past its end ─▶ REFRESH, once per attempt      past it even then ─▶ LATER
after a failure     "expired" ─▶ REFRESH, once per attempt      again ─▶ LATER
                    403       ─▶ REFRESH if the link's end is past, or it was never refreshed;  else GIVE_UP
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from kafka_pipeline.claimx.links import is_expired
from kafka_pipeline.common.http.errors import Fault


class LinkStep(str, Enum):
    """What comes next for a file, as far as its link decides."""

    USE = "use"
    """Ask with this link."""
    REFRESH = "refresh"
    """Get a fresh link and try with it at once: no attempt is counted."""
    LATER = "later"
    """Even the fresh link is past its end: transient, an attempt is counted."""
    GIVE_UP = "give_up"
    """A fresh link would be refused as this one was: permanent."""
    NOT_THE_LINK = "not_the_link"
    """The failure says nothing about the link: its own category decides."""


def before_request(expires_at: datetime | None, *, now: datetime, margin: timedelta, fresh: bool) -> LinkStep:
    """Decide whether a link may be used. `fresh`: this attempt has just got it.

    A fresh link is used to its very end: the margin is for links that have waited, and a service whose links live
    shorter than the margin would never be asked at all.
    """
    if not is_expired(expires_at, now=now, margin=timedelta() if fresh else margin):
        return LinkStep.USE
    return LinkStep.LATER if fresh else LinkStep.REFRESH


def after_failure(fault: Fault, *, expired: bool, refresh_count: int, fresh: bool) -> LinkStep:
    """Decide what a failed download says about its link. `expired`: its known end is past; `fresh` as before."""
    if fault is Fault.EXPIRED or (fault is Fault.FORBIDDEN and expired):
        return LinkStep.LATER if fresh else LinkStep.REFRESH
    if fault is Fault.FORBIDDEN:
        return LinkStep.REFRESH if refresh_count == 0 else LinkStep.GIVE_UP
    return LinkStep.NOT_THE_LINK
