"""Presigned links of a real S3: its signatures, its own words for what is expired and what is forged, its ranges."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import aiohttp
import obstore
import pytest
from obstore.store import S3Store
from yarl import URL

from kafka_pipeline.claimx.links import expires_at
from kafka_pipeline.claimx.schemas.results import ClaimXUploadResult
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload
from kafka_pipeline.common.runtime.outcomes import Dead, Done, Outcome, Retry

pytestmark = pytest.mark.seaweedfs

BODY = os.urandom(3 << 20)
HOUR = timedelta(hours=1)


@pytest.fixture
def bucket(seaweedfs: Mapping[str, str], bench: Any) -> S3Store:
    """Give a bucket that the downloader may read from by link."""
    bench.pairs.add(seaweedfs["S3_ENDPOINT"].removeprefix("http://"))
    return S3Store(
        "claims",
        endpoint=seaweedfs["S3_ENDPOINT"],
        access_key_id=seaweedfs["S3_ACCESS_KEY_ID"],
        secret_access_key=seaweedfs["S3_SECRET_ACCESS_KEY"],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


@pytest.fixture
async def path(bucket: S3Store, unique: Any) -> str:
    """Give the path of a file there, with a name that must be quoted."""
    name = f"photos/{unique('front door')}+1.jpg"
    await obstore.put_async(bucket, name, BODY)
    return name


async def expired_link(bucket: S3Store, path: str) -> str:
    """Return a link whose second is over, by the storage's own clock."""
    link = obstore.sign(bucket, "GET", path, timedelta(seconds=1))
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(URL(link, encoded=True)) as response:
                if response.status == 403:
                    return link
            await asyncio.sleep(0.1)


def forged(link: str) -> str:
    """Return the link with another signature."""
    return f"{link[:-4]}0000" if not link.endswith("0000") else f"{link[:-4]}1111"


def arrived(bench: Any, outcome: Outcome) -> str:
    """Return the hash of the file that came."""
    assert isinstance(outcome, Done)
    value = outcome.messages[0].value
    if bench.mode == "cached":
        return ClaimXCachedDownload.from_bytes(value).content_sha256
    return ClaimXUploadResult.from_bytes(value).content_sha256 or ""


async def test_a_presigned_link_brings_its_file(bench: Any, bucket: S3Store, path: str) -> None:
    """Every byte of the link is signed, and so it goes over the wire unchanged; its end is read as S3 means it."""
    link = obstore.sign(bucket, "GET", path, HOUR)
    outcome = await bench.download(bench.task(download_url=link, expires_at=expires_at(link)))
    assert arrived(bench, outcome) == hashlib.sha256(BODY).hexdigest()


async def test_a_link_that_the_storage_calls_expired_is_made_anew(bench: Any, bucket: S3Store, path: str) -> None:
    """LNK-6, by the storage's own answer: nothing of its end was known here."""
    bench.api.links = {"71": obstore.sign(bucket, "GET", path, HOUR)}
    outcome = await bench.download(bench.task(download_url=await expired_link(bucket, path), expires_at=None))
    assert arrived(bench, outcome) == hashlib.sha256(BODY).hexdigest()
    assert bench.api.calls == 1


async def test_a_link_that_expires_again_is_tried_later(bench: Any, bucket: S3Store, path: str) -> None:
    """Settled point 9."""
    expired = await expired_link(bucket, path)
    bench.api.links = {"71": expired}
    outcome = await bench.download(bench.task(download_url=expired, expires_at=None))
    assert isinstance(outcome, Retry)
    assert outcome.category.value == "transient"


async def test_a_signature_that_is_wrong_costs_one_refresh(bench: Any, bucket: S3Store, path: str) -> None:
    """LNK-6: a 403 that does not say expired; right after the refresh it arrives, or it is for good."""
    good = obstore.sign(bucket, "GET", path, HOUR)
    bench.api.links = {"71": good}
    outcome = await bench.download(bench.task(download_url=forged(good)))
    assert arrived(bench, outcome) == hashlib.sha256(BODY).hexdigest()
    bench.api.links = {"72": forged(good)}
    outcome = await bench.download(bench.task(media_id="72", download_url=forged(forged(good))))
    assert isinstance(outcome, Dead)
    assert bench.api.calls == 2


async def test_a_file_that_the_storage_does_not_have_is_not_found(bench: Any, bucket: S3Store, path: str) -> None:
    """404, by its own answer."""
    link = obstore.sign(bucket, "GET", f"{path}.gone", HOUR)
    outcome = await bench.download(bench.task(download_url=link))
    assert isinstance(outcome, Dead)
    assert outcome.reason == "not_found"
