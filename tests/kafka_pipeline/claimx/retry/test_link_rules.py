"""What a link's end and a storage's answer lead to: the tables of LNK-4 to LNK-6, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kafka_pipeline.claimx.retry.link_rules import LinkStep, after_failure, before_request
from kafka_pipeline.common.http.errors import Fault

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
MARGIN = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("ends_in_s", "fresh", "step"),
    [
        (None, False, LinkStep.USE),
        (None, True, LinkStep.USE),
        (61, False, LinkStep.USE),
        (60, False, LinkStep.REFRESH),
        (1, False, LinkStep.REFRESH),
        (-86_400, False, LinkStep.REFRESH),
        (61, True, LinkStep.USE),
        (1, True, LinkStep.USE),
        (0, True, LinkStep.LATER),
        (-1, True, LinkStep.LATER),
    ],
)
def test_a_link_near_its_end_is_not_used(ends_in_s: float | None, *, fresh: bool, step: LinkStep) -> None:
    """LNK-4 for links that have waited; one that has just come is used to its very end, and asked for once."""
    ends_at = None if ends_in_s is None else NOW + timedelta(seconds=ends_in_s)
    assert before_request(ends_at, now=NOW, margin=MARGIN, fresh=fresh) is step


@pytest.mark.parametrize(
    ("fault", "expired", "refresh_count", "fresh", "step"),
    [
        # the storage says that it is expired: whatever we knew of its end
        (Fault.EXPIRED, False, 0, False, LinkStep.REFRESH),
        (Fault.EXPIRED, True, 0, False, LinkStep.REFRESH),
        (Fault.EXPIRED, False, 3, False, LinkStep.REFRESH),
        (Fault.EXPIRED, False, 1, True, LinkStep.LATER),
        (Fault.EXPIRED, True, 4, True, LinkStep.LATER),
        # 403, and its known end is past
        (Fault.FORBIDDEN, True, 0, False, LinkStep.REFRESH),
        (Fault.FORBIDDEN, True, 3, False, LinkStep.REFRESH),
        (Fault.FORBIDDEN, True, 1, True, LinkStep.LATER),
        # 403, not known to be expired: one refresh in the life of the task
        (Fault.FORBIDDEN, False, 0, False, LinkStep.REFRESH),
        (Fault.FORBIDDEN, False, 1, True, LinkStep.GIVE_UP),
        (Fault.FORBIDDEN, False, 1, False, LinkStep.GIVE_UP),
        (Fault.FORBIDDEN, False, 7, False, LinkStep.GIVE_UP),
    ],
)
def test_a_refusal_leads_to_one_fresh_link(
    fault: Fault, *, expired: bool, refresh_count: int, fresh: bool, step: LinkStep
) -> None:
    """LNK-6; expired again after its refresh is transient (settled point 9)."""
    assert after_failure(fault, expired=expired, refresh_count=refresh_count, fresh=fresh) is step


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in {Fault.EXPIRED, Fault.FORBIDDEN}])
@pytest.mark.parametrize("expired", [True, False])
@pytest.mark.parametrize("refresh_count", [0, 1])
def test_no_other_failure_is_blamed_on_the_link(fault: Fault, refresh_count: int, *, expired: bool) -> None:
    """A 404 or a cut is what it is, also where the link's end has come meanwhile: the next attempt sees to that."""
    for fresh in (True, False):
        step = after_failure(fault, expired=expired, refresh_count=refresh_count, fresh=fresh)
        assert step is LinkStep.NOT_THE_LINK
