"""The ids made a second time agree with the vectors of the domain."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kafka_pipeline.simulator.identity import contact_id, event_id


def _at(hour: int, minute: int, second: int = 0, micro: int = 0, day: int = 2) -> datetime:
    return datetime(2026, 3, day, hour, minute, second, micro, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (
            "019caed9-437b-8174-b846-d8d316361618",
            {"event_type": "PROJECT_CREATED", "ingested_at": _at(14, 0, 0, 123456)},
        ),
        (
            "019caedd-ffe4-82c3-ac3a-5cf6a8916db6",
            {"event_type": "PROJECT_FILE_ADDED", "ingested_at": _at(14, 5, 10, 500000), "media_id": "7100001"},
        ),
        (
            "019caede-c140-8f4b-b768-7e488999623f",
            {"event_type": "PROJECT_MFN_ADDED", "ingested_at": _at(14, 6), "master_file_name": "MFN-EXAMPLE-01"},
        ),
        (
            "019caee2-6ac0-8e2c-ae79-77e90ae1742d",
            {"event_type": "CUSTOM_TASK_ASSIGNED", "ingested_at": _at(14, 10), "task_assignment_id": "8200001"},
        ),
        (
            "019cb308-6dc0-8c63-ad76-467606e647de",
            {
                "event_type": "CUSTOM_TASK_COMPLETED",
                "ingested_at": _at(9, 30, day=3),
                "task_assignment_id": "8200001",
                "media_ids": ("7100002", "7100001"),
            },
        ),
        ("019caee4-3f80-87ce-84fc-5b2fde07033a", {"event_type": "POLICYHOLDER_INVITED", "ingested_at": _at(14, 12)}),
        ("00000000-0000-8b53-a288-06f54cebb740", {"event_type": "POLICYHOLDER_JOINED"}),
        (
            "019caf10-3180-80eb-901a-48f5b32c16c5",
            {
                "event_type": "VIDEO_COLLABORATION_INVITE_SENT",
                "ingested_at": _at(15, 0),
                "video_collaboration_id": "9300001",
            },
        ),
        (
            "019caf47-2000-8c29-a53b-6200ffc70377",
            {
                "event_type": "VIDEO_COLLABORATION_COMPLETED",
                "ingested_at": _at(16, 0),
                "video_collaboration_id": "9300001",
            },
        ),
    ],
)
def test_event_ids_are_those_of_appendix_b(expected: str, facts: dict[str, object]) -> None:
    """Each vector of the domain gives the id written there."""
    assert expected == event_id(project_id="900001", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        ("038c68b3-b55d-5c2e-9d7a-0be7fd4d6e4f", {"email": " Pat.Sample@Example.com "}),
        ("2624d9a5-68b0-57c5-86ff-4db102757972", {"phone": "(555) 010-0142", "name": "Pat Sample"}),
        ("62d5433c-70e2-5933-9f04-9b42aa72e97f", {"phone": "x 555", "name": "Pat  Sample"}),
        ("2bde630d-18de-5e20-80f1-a9bd64252c6e", {"contact_type": "CLAIM_REP", "email": "rep@example.com"}),
        (None, {"phone": "555", "name": " "}),
    ],
)
def test_contact_ids_are_those_of_appendix_b(expected: str | None, facts: dict[str, str]) -> None:
    """E-mail comes before phone, phone before name, and nothing gives no id."""
    assert expected == contact_id(project_id="900001", **{"contact_type": "POLICYHOLDER", **facts})
