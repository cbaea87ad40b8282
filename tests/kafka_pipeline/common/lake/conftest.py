"""An empty lake per test, in a folder and on Azurite, and tables that between them use every rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from kafka_pipeline.common.azure.credential import Credential, CredentialForm, CurrentCredential
from kafka_pipeline.common.lake.delta import DeltaStore, Positioned
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.rules import ClockOf, Earliest, Guarded, Kept, Latest, OwnClock, Weak, Winner
from kafka_pipeline.common.lake.tables import BOOL, DATE, INT, STRING, STRINGS, TIMESTAMP, Column, Mode, TableSpec

START = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


class At(Protocol):
    """Gives the time some minutes after a fixed start."""

    def __call__(self, minutes: float) -> datetime:
        """Return that time."""


class Event(Protocol):
    """Makes a positioned row of the events table."""

    def __call__(
        self, event_id: str, offset: int, *, partition: int = 0, day: int = 2, text: str = "", everywhere: bool = False
    ) -> Positioned:
        """Return the row."""


@pytest.fixture(scope="session")
def at() -> At:
    """Return the clock of these tests: minutes after a fixed start."""
    return lambda minutes: START + timedelta(minutes=minutes)


@pytest.fixture(scope="session")
def things() -> TableSpec:
    """Return an upsert table with a column per rule."""
    return TableSpec(
        name="things",
        columns=(
            Column("thing_id", STRING, nullable=False),
            Column("newest", STRING),
            Column("number", INT),
            Column("words", STRINGS),
            Column("guarded", STRING, rule=Guarded()),
            Column("winner", STRING, rule=Winner()),
            Column("earliest", TIMESTAMP, rule=Earliest()),
            Column("weak", STRING, rule=Weak(("INVITED",))),
            Column("weak_at_once", STRING, rule=Weak(("uploaded",), only_at_equal_clock=True)),
            Column("kind", STRING, rule=Kept()),
            Column("flag", BOOL, rule=Weak((False,), where=("kind", "P"))),
            Column("label", STRING, rule=OwnClock("label_seen_at")),
            Column("label_seen_at", TIMESTAMP, rule=ClockOf("label")),
            Column("seen_at", TIMESTAMP, rule=Latest()),
            Column("created_at", TIMESTAMP, nullable=False, rule=Kept()),
        ),
        keys=("thing_id",),
        clock="seen_at",
    )


@pytest.fixture(scope="session")
def events() -> TableSpec:
    """Return an insert-only table, partitioned by day."""
    return TableSpec(
        name="events",
        columns=(
            Column("event_id", STRING, nullable=False),
            Column("day", DATE, nullable=False),
            Column("text", STRING),
        ),
        keys=("event_id",),
        partition_by=("day",),
        mode=Mode.INSERT_ONLY,
    )


@pytest.fixture(scope="session")
def event() -> Event:
    """Return a maker of event rows, all of March 2026 and one topic."""

    def make(
        event_id: str, offset: int, *, partition: int = 0, day: int = 2, text: str = "", everywhere: bool = False
    ) -> Positioned:
        row = {"event_id": event_id, "day": date(2026, 3, day), "text": text}
        return Positioned(row=row, topic="raw", partition=partition, offset=offset, everywhere=everywhere)

    return make


@pytest.fixture
def local_location(tmp_path: Path) -> LakeLocation:
    """Return an empty lake in a folder."""
    return LakeLocation.parse(tmp_path / "lake")


@pytest.fixture
def azurite_location(azurite: Mapping[str, str], unique: Callable[..., str]) -> LakeLocation:
    """Return an empty lake on Azurite, opened with the account's key."""
    key = Credential(form=CredentialForm.ACCOUNT_KEY, secret=azurite["AZURE_STORAGE_KEY"])
    return LakeLocation.parse(
        f"{azurite['LAKE_URL']}/{unique('lake')}",
        options={"account_name": azurite["AZURE_STORAGE_ACCOUNT"], "endpoint": azurite["AZURE_STORAGE_ENDPOINT"]},
        client={"allow_http": "true"},
        credential=CurrentCredential(lambda: key),
    )


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.azurite)])
def location(request: pytest.FixtureRequest) -> LakeLocation:
    """Return an empty lake of each kind: what holds in a folder holds on Azure Storage."""
    name = "local_location" if request.param == "folder" else "azurite_location"
    lake: LakeLocation = request.getfixturevalue(name)
    return lake


@pytest.fixture
def store(location: LakeLocation) -> DeltaStore:
    """Return its tables."""
    return DeltaStore(location)
