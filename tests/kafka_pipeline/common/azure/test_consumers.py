"""Tables and files of one lake share one credential, and both follow when it is renewed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kafka_pipeline.common.azure.credential import RETRY, Credential, CurrentCredential
from kafka_pipeline.common.azure.sign_in import Account, SignIn
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.lake.rules import Kept
from kafka_pipeline.common.lake.tables import STRING, TIMESTAMP, Column, TableSpec

pytestmark = pytest.mark.azurite

LakeBy = Callable[[CurrentCredential], LakeLocation]

NOW = datetime(2026, 3, 2, 14, tzinfo=UTC)
NOTES = TableSpec(
    name="notes",
    columns=(
        Column("note_id", STRING, nullable=False),
        Column("text", STRING),
        Column("created_at", TIMESTAMP, nullable=False, rule=Kept()),
    ),
    keys=("note_id",),
)


@pytest.fixture(scope="session")
def azurite_with_tokens(
    started: Callable[..., AbstractContextManager[str]], certificate: Any
) -> Iterator[Mapping[str, str]]:
    """Give an Azurite that speaks TLS and takes tokens; it refuses those whose time is over."""
    tls = ["--tls", str(certificate.certificate), str(certificate.key)]
    with started("storage", "azurite", options=tls) as printed:
        yield dict(line.split("=", 1) for line in printed.splitlines())


@pytest.fixture
def account(tokens: Any, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return a managed identity that the token service knows."""
    monkeypatch.setattr("kafka_pipeline.common.azure.sign_in.RETRIES", 0)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.machine}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "hunter2-identity-header")
    return Account(how=SignIn.MANAGED_IDENTITY)


@pytest.fixture
def lake_by(azurite_with_tokens: Mapping[str, str], unique: Callable[..., str]) -> LakeBy:
    """Return a function that gives an empty lake, opened by this credential alone."""
    environ = azurite_with_tokens

    def make(credential: CurrentCredential) -> LakeLocation:
        return LakeLocation.parse(
            f"{environ['LAKE_URL']}/{unique('lake')}",
            options={"account_name": environ["AZURE_STORAGE_ACCOUNT"], "endpoint": environ["AZURE_STORAGE_ENDPOINT"]},
            client={"allow_invalid_certificates": "true"},
            credential=credential,
        )

    return make


async def test_work_goes_on_far_beyond_the_life_of_a_token(lake_by: LakeBy, account: Account, tokens: Any) -> None:
    """Tokens of three seconds, a storage that refuses old ones: handles that are kept open follow each renewal."""
    tokens.lifetime_s = 3
    lake = lake_by(CurrentCredential(account.obtain))
    tables, files = DeltaStore(lake), ObjectStore.at(lake)
    written = 0
    while len(tokens.issued) < 4:
        tables.merge(NOTES, [{"note_id": str(written), "created_at": NOW}])
        await files.put_bytes(f"{written}.txt", b"x" * written)
        assert await files.head(f"{written}.txt") == written
        written += 1
    assert len(tables.existing(NOTES, [str(n) for n in range(written)], [])) == written


@pytest.mark.parametrize(
    ("answer", "category", "says"),
    [
        ((400, '{"error": "invalid_request"}'), Category.AUTH, "refuses to sign us in by managed_identity"),
        ((503, '{"error": "busy"}'), Category.TRANSIENT, "identity service answers HTTP 503"),
    ],
)
async def test_without_any_token_the_failure_of_the_issuer_is_told(
    lake_by: LakeBy, account: Account, tokens: Any, answer: tuple[int, str], category: Category, says: str
) -> None:
    """With its category, by tables and files alike, also where it has to pass through the native library."""
    tokens.failing = answer
    lake = lake_by(CurrentCredential(account.obtain))
    with pytest.raises(PipelineError, match=says) as table:
        DeltaStore(lake).ensure(NOTES)
    with pytest.raises(PipelineError, match=says) as file:
        await ObjectStore.at(lake).put_bytes("a.txt", b"x")
    assert [table.value.category, file.value.category] == [category, category]


class Shifted:
    """The machine's clock, moved on by hand."""

    by = timedelta(0)

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC) + self.by

    def monotonic(self) -> float:
        """Return nothing of interest."""
        return 0.0


async def test_a_token_that_the_storage_refuses_is_renewed_before_its_time(lake_by: LakeBy, account: Account) -> None:
    """It may be revoked long before its end: the refusal is told to whoever tried, and a later attempt succeeds."""
    given_out: list[Credential] = []

    def obtain() -> Credential:
        credential = account.obtain()
        given_out.append(credential if given_out else replace(credential, secret="revoked"))
        return given_out[-1]

    clock = Shifted()
    lake = lake_by(CurrentCredential(obtain, clock=clock, start=lambda call: call()))
    tables, files = DeltaStore(lake), ObjectStore.at(lake)
    for shift in (timedelta(0), RETRY):
        clock.by = shift
        with pytest.raises(PipelineError) as table:
            tables.ensure(NOTES)
        assert table.value.category is Category.AUTH
    await files.put_bytes("a.txt", b"x")
    tables.ensure(NOTES)
    assert len(given_out) == 2
