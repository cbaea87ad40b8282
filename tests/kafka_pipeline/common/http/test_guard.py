"""A link is followed only where it says plainly that it leads to an allowed host [SEC-1], [SEC-2], [SEC-5]."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_pipeline.common.http.guard import (
    Allowed,
    Credential,
    DownloadPolicy,
    Link,
    Origin,
    Refusal,
    Refused,
    check_url,
    parse_link,
)

POLICY = DownloadPolicy(
    allowed_hosts=frozenset({"files.example.com", "Bucket.S3.example.com.", "93.184.216.34", "10.0.0.1", "metadata"}),
    private_hosts=frozenset({"localhost:9000", "127.0.0.1:9001", "[::1]:9002", "169.254.169.254:80"}),
)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://files.example.com/a?b=c", "https://files.example.com/a?b=c"),
        ("https://files.example.com", "https://files.example.com"),
        ("HTTPS://FILES.example.COM./a", "https://files.example.com/a"),
        ("https://files.example.com:443/a", "https://files.example.com/a"),
        (" https://files.example.com/a ", "https://files.example.com/a"),
        (
            "https://bucket.s3.example.com/%2e%2E/a%2fb?X=%2f+%20#part",
            "https://bucket.s3.example.com/%2e%2E/a%2fb?X=%2f+%20",
        ),
        ("https://93.184.216.34/a", "https://93.184.216.34/a"),
        ("https://files.example.com/a?email=a@b", "https://files.example.com/a?email=a@b"),
        ("http://localhost:9000/a", "http://localhost:9000/a"),
        ("https://localhost:9000/a", "https://localhost:9000/a"),
        ("http://127.0.0.1:9001/a", "http://127.0.0.1:9001/a"),
        ("http://[::1]:9002/a", "http://[::1]:9002/a"),
    ],
)
def test_a_link_to_an_allowed_host_is_followed_as_it_is(url: str, sent: str) -> None:
    """Scheme and host in one spelling; path and query byte for byte, because a signature covers them."""
    decision = check_url(url, POLICY)

    assert isinstance(decision, Allowed)
    assert str(decision.link.url) == sent or decision.link.url.raw_path == "/"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://files.example.com/a", Refusal.SCHEME),
        ("ftp://files.example.com/a", Refusal.SCHEME),
        ("file:///etc/passwd", Refusal.SCHEME),
        ("https://files.example.com:8443/a", Refusal.PORT),
        ("https://files.example.com:80/a", Refusal.PORT),
        ("https://other.example.com/a", Refusal.HOST),
        ("https://files.example.com.evil.example.net/", Refusal.HOST),
        ("https://evil-files.example.com/", Refusal.HOST),
        ("https://example.com/", Refusal.HOST),
        ("https://metadata.google.internal/", Refusal.HOST),
        ("https://metadata/", Refusal.HOST),
        ("https://2130706433/", Refusal.HOST),
        ("http://localhost:9001/", Refusal.HOST),
        ("http://localhost/", Refusal.HOST),
        ("https://10.0.0.1/", Refusal.ADDRESS),
        ("http://169.254.169.254/", Refusal.ADDRESS),
        ("https://user@files.example.com/", Refusal.USERINFO),
        ("https://user:pw@files.example.com/", Refusal.USERINFO),
        ("https://files.example.com@evil.example.net/", Refusal.USERINFO),
        ("https://files.example.com\\@evil.example.net/", Refusal.MALFORMED),
        ("https://files.example.com\n.evil.example.net/", Refusal.MALFORMED),
        ("https://files.example.com/a\r\nX: y", Refusal.MALFORMED),
        ("https://files.ex%61mple.com/", Refusal.MALFORMED),
        ("https://files\uff0eexample.com/", Refusal.MALFORMED),
        ("https://files.example.com:99999/", Refusal.MALFORMED),
        ("https://files.example.com:0/", Refusal.MALFORMED),
        ("https://files.example.com:x/", Refusal.MALFORMED),
        ("https:files.example.com/", Refusal.MALFORMED),
        ("https:///files.example.com/", Refusal.MALFORMED),
        ("//files.example.com/", Refusal.MALFORMED),
        ("/a/b", Refusal.MALFORMED),
        ("", Refusal.MALFORMED),
        ("https://" + "a" * 300 + "/", Refusal.MALFORMED),
        ("https://files.example.com/" + "a" * 20_000, Refusal.MALFORMED),
    ],
)
def test_every_other_link_is_refused_with_its_reason(url: str, reason: Refusal) -> None:
    """There are no wildcards, no other ports, no user names, and no second way to read a link."""
    decision = check_url(url, POLICY)

    assert isinstance(decision, Refused)
    assert decision.reason is reason


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | st.text("htps:/@\\[]%.#?x1 ", max_size=40).map("https://".__add__))
def test_any_text_is_judged_and_what_is_allowed_is_on_the_list(text: str) -> None:
    """The URL that would be connected to agrees with what was checked."""
    decision = check_url(text, POLICY)

    if isinstance(decision, Allowed):
        host = (decision.link.url.host or "").lower()
        pair = f"[{host}]:{decision.link.url.port}" if ":" in host else f"{host}:{decision.link.url.port}"
        assert host in POLICY.allowed_hosts or pair in POLICY.private_hosts


@settings(deadline=None, max_examples=200)
@given(
    st.text(max_size=40).filter(lambda text: not set(text) & {"#", "\\", *map(chr, range(32)), "\x7f"}),
    st.text("abc=&%2fF+", max_size=30),
)
def test_path_and_query_survive_the_trip(path: str, query: str) -> None:
    """Printable ASCII is unchanged; what cannot travel is encoded, and decodes to what it was."""
    link = parse_link(f"https://files.example.com/{path}?{query}".rstrip(" "))

    assert isinstance(link, Link)
    assert link.url.raw_path_qs.isascii()
    if path.isascii() and not set(path) & set(' "<>^`{|}?'):
        assert link.url.raw_path_qs == f"/{path}?{query}" or not query


def test_a_link_does_not_show_itself() -> None:
    """Its repr ends in logs and assertion messages."""
    link = parse_link("https://files.example.com/a?sig=canary")

    assert "canary" not in repr(link)
    assert "files.example.com" in repr(link)


def test_a_credential_is_for_scheme_host_and_port() -> None:
    """Settled point 19: all three must be the same."""
    origin = Origin.parse("https://api.example.com/v1")
    credential = Credential(origin=origin, headers={"Authorization": "Bearer canary"})

    assert credential.headers_for(Origin("https", "api.example.com", 443)) == {"Authorization": "Bearer canary"}
    for other in (
        ("http", "api.example.com", 443),
        ("https", "x.example.com", 443),
        ("https", "api.example.com", 8443),
    ):
        assert credential.headers_for(Origin(*other)) == {}
    assert "canary" not in repr(credential)


def test_an_origin_that_is_none_is_refused_without_its_text() -> None:
    """A setting with a password in it must not be told in the error."""
    with pytest.raises(ValueError, match="userinfo") as caught:
        Origin.parse("https://user:canary@api.example.com/")

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_hosts": frozenset({"*.example.com"})},
        {"allowed_hosts": frozenset({"https://files.example.com"})},
        {"allowed_hosts": frozenset({"files.example.com:443"})},
        {"allowed_hosts": frozenset({""})},
        {"private_hosts": frozenset({"localhost"})},
        {"private_hosts": frozenset({"localhost:0"})},
        {"private_hosts": frozenset({"localhost:x"})},
        {"max_bytes": -1},
        {"total_timeout_s": 0.0},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, frozenset[str]]) -> None:
    """An entry that never matches, or a wildcard that nobody honours, is a mistake to tell at start."""
    with pytest.raises(ValueError, match=r"not|time-outs|limits"):
        DownloadPolicy(**wrong)  # type: ignore[arg-type]
