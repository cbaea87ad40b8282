"""Presigned links carry the real signature, and serve what was signed and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from kafka_pipeline.simulator.links import LinkVerdict, Signer, file_service_expired, file_service_link

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
HOST = "127.0.0.1:9"
SIGNER = Signer(access_key="SIMULATOR", secret_key="invented")


def _judge(link: str, *, after_s: float = 0, method: str = "GET", host: str = HOST) -> LinkVerdict:
    parts = urlsplit(link)
    return SIGNER.check(method, host, parts.path, parse_qsl(parts.query), now=NOW + timedelta(seconds=after_s))


def test_the_signature_is_the_one_amazon_documents() -> None:
    """The worked example of the S3 documentation (query string authentication) gives the signature printed there."""
    signer = Signer(access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Expires": "86400",
        "X-Amz-SignedHeaders": "host",
    }
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert expected == signer.signature("GET", "examplebucket.s3.amazonaws.com", "/test.txt", query.items())


def test_a_link_is_valid_until_its_last_second_and_not_after() -> None:
    """Its lifetime begins at X-Amz-Date and ends X-Amz-Expires later."""
    link = SIGNER.presign(HOST, "/claimx-media/1.jpg", now=NOW, lifetime_s=60)
    assert LinkVerdict.VALID is _judge(link)
    assert LinkVerdict.VALID is _judge(link, after_s=59.9)
    assert LinkVerdict.EXPIRED is _judge(link, after_s=60)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/1.jpg", "/2.jpg"),
        ("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("X-Amz-Date=20260401T120000Z", "X-Amz-Date=20260401T120001Z"),
        ("SIMULATOR", "SOMEBODY"),
        ("&X-Amz-Signature", "&response-content-type=text%2Fhtml&X-Amz-Signature"),
    ],
)
def test_a_link_that_was_tampered_with_is_forged(old: str, new: str) -> None:
    """Whatever is changed, the signature no longer fits."""
    link = SIGNER.presign(HOST, "/claimx-media/1.jpg", now=NOW, lifetime_s=60)
    assert old in link
    assert LinkVerdict.FORGED is _judge(link.replace(old, new))


def test_a_link_serves_one_method_on_one_host() -> None:
    """A link signed for GET refuses HEAD, and another host refuses it."""
    link = SIGNER.presign(HOST, "/claimx-media/1.jpg", now=NOW, lifetime_s=60)
    assert LinkVerdict.FORGED is _judge(link, method="HEAD")
    assert LinkVerdict.FORGED is _judge(link, host="127.0.0.1:10")


@pytest.mark.parametrize("query", ["", "X-Amz-Signature=1", "X-Amz-Signature=1&X-Amz-Date=never&X-Amz-Expires=60"])
def test_a_request_without_a_whole_signature_is_unsigned(query: str) -> None:
    """Nothing that cannot be read is taken for a signature."""
    assert LinkVerdict.UNSIGNED is _judge(f"http://{HOST}/claimx-media/1.jpg?{query}")


def test_a_file_service_link_expires_by_its_own_milliseconds() -> None:
    """SystemDate + expires, both in milliseconds, is the first moment it is refused; unreadable times are refused."""
    link = file_service_link("http://127.0.0.1:9", 7100001, "a b/\u00e9.jpg", now=NOW, lifetime_s=60)
    parts = urlsplit(link)
    query = dict(parse_qsl(parts.query))
    assert parts.path == "/service/cxfileservice/file/7100001"
    assert query["filename"] == "a b/\u00e9.jpg"
    times = (query["systemDate"], query["expires"])
    assert not file_service_expired(*times, now=NOW + timedelta(milliseconds=59_999))
    assert file_service_expired(*times, now=NOW + timedelta(seconds=60))
    assert file_service_expired(None, "60000", now=NOW)
    assert file_service_expired("soon", "60000", now=NOW)


def test_a_link_without_a_name_has_no_filename() -> None:
    """A null name leaves the parameter out, so that the last path segment names the file."""
    assert "filename" not in file_service_link("http://127.0.0.1:9", 1, None, now=NOW, lifetime_s=60)
