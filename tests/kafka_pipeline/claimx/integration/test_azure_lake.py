"""The whole pipeline with its lake on Azure Storage, compared with the truth as on a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message
from kafka_pipeline.simulator.lake import RemoteLake
from kafka_pipeline.simulator.verifier import verify

pytestmark = pytest.mark.azurite


@pytest.fixture
def azure_settings(azurite: Mapping[str, str], unique: Callable[..., str], tmp_path: Path) -> Mapping[str, str]:
    """Return the settings of a lake on Azurite, the account's key in a file."""
    key = tmp_path / "storage-key"
    key.write_text(azurite["AZURE_STORAGE_KEY"])
    return {
        "lake_url": f"{azurite['LAKE_URL']}/{unique('lake')}",
        "azure_auth": "key",
        "azure_secret_file": str(key),
        "azure_storage_account": azurite["AZURE_STORAGE_ACCOUNT"],
        "azure_storage_endpoint": azurite["AZURE_STORAGE_ENDPOINT"],
    }


@pytest.mark.parametrize("mode", ["cached", "direct"])
async def test_a_whole_feed_ends_in_a_lake_on_azure_that_the_truth_describes(
    new_site: Callable[..., Awaitable[Any]],
    azure_settings: Mapping[str, str],
    azurite: Mapping[str, str],
    capfd: pytest.CaptureFixture[str],
    mode: str,
) -> None:
    """Every row of nine tables and every file, in both ways that files take; the key shows up nowhere (I10)."""
    site = await new_site(config=azure_settings)
    workers = [kind for kind in WorkerKind if mode == "cached" or kind is not WorkerKind.UPLOADER]
    async with site.working(*workers, transfer_mode=mode):
        await site.producer.send(
            [Message(topic=site.topics.events, key=item.key, value=item.value) for item in site.simulator.feed()]
        )
        for topic in site.topics.work:
            await site.drained(topic)
    truth = site.simulator.truth()
    lake = RemoteLake(
        url=azure_settings["lake_url"],
        options={
            "account_name": azurite["AZURE_STORAGE_ACCOUNT"],
            "account_key": azurite["AZURE_STORAGE_KEY"],
            "endpoint": azurite["AZURE_STORAGE_ENDPOINT"],
            "allow_http": "true",
        },
    )
    report = await asyncio.to_thread(verify, lake, truth)
    assert report.differences == ()
    assert report.files.found > 0
    assert [len(await site.dead_letters(kind)) for kind in DeadLetterKind] == [truth.dead_events, 0, 0]
    printed = capfd.readouterr()
    assert azurite["AZURE_STORAGE_KEY"] not in printed.out + printed.err
