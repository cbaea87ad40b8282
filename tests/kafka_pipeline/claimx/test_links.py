"""Links: their end, and that nothing of their query gets out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.links import (
    expires_at,
    host_of,
    is_expired,
    link_expiry,
    query_parameters,
    shown,
    without_queries,
    without_query,
)

CLAIMX = (
    "https://claimx.example.com/service/cxfileservice/file/7100001"
    "?filename=front%20door.jpg&systemDate=1772460310000&expires=86400000"
)
S3 = (
    "https://media.s3.example.com/sample/7100002.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=EXAMPLE%2F20260302%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260302T140510Z"
    "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=EXAMPLE"
)
END = datetime(2026, 3, 3, 14, 5, 10, tzinfo=UTC)


class TestExpiry:
    """When a link ends [LNK-1, LNK-2]."""

    @pytest.mark.parametrize(
        "link", [CLAIMX, S3, S3.lower().replace("t140510z", "T140510Z"), S3 + "#part", CLAIMX + "&x"]
    )
    def test_the_links_of_the_reference_end_when_it_says(self, link: str) -> None:
        """Both kinds of appendix A.3; names in any case."""
        assert expires_at(link) == END

    @pytest.mark.parametrize(
        "link",
        [
            "https://a.example.com/f",
            "https://a.example.com/f?expires=86400000",
            "https://a.example.com/f?Expires=1772460310&Signature=x",
            "https://a.example.com/f?systemDate=1772460310000",
            "https://a.example.com/f?X-Amz-Expires=60",
            "https://a.example.com/f?X-Amz-Date=20260302T140510Z",
            "https://a.example.com/f#systemDate=1772460310000&expires=1",
            "",
            "not a link",
            "https://[::1/f",
        ],
    )
    def test_other_links_say_nothing(self, link: str) -> None:
        """Unknown is no warning; `expires` alone means something else elsewhere [LNK-2]."""
        with capture_logs() as logs:
            assert expires_at(link) is None
        assert logs == []

    @pytest.mark.parametrize(
        "query",
        [
            "X-Amz-Date=2026-03-02T14:05:10Z&X-Amz-Expires=60&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260230T140510Z&X-Amz-Expires=60&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510&X-Amz-Expires=60&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510Z&X-Amz-Expires=-60&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510Z&X-Amz-Expires=&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510Z&X-Amz-Expires=1e3&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510Z&X-Amz-Expires=999999999999999999&X-Amz-Signature=SECRET",
            "X-Amz-Date=20260302T140510Z&X-Amz-Expires=%D9%A1&X-Amz-Signature=SECRET",
            "systemDate=soon&expires=1&token=SECRET",
            "systemDate=1772460310000&expires=1.5&token=SECRET",
            "systemDate=999999999999999999&expires=1&token=SECRET",
        ],
    )
    def test_a_malformed_end_is_unknown_and_warned_of_without_the_link(self, query: str) -> None:
        """Null plus a warning that holds the host only [LNK-1, SEC-7]."""
        with capture_logs() as logs:
            assert expires_at(f"https://a.example.com/path/f?{query}") is None
        assert [entry["log_level"] for entry in logs] == ["warning"]
        assert "SECRET" not in str(logs)
        assert "path" not in str(logs)

    def test_the_item_tells_the_end_where_the_link_does_not(self) -> None:
        """ExpiresAt of the media item comes second, unknown is last [LNK-1]."""
        item_end = "2026-03-05T00:00:00Z"
        assert link_expiry(S3, item_end) == END
        assert link_expiry("https://a.example.com/f", item_end) == datetime(2026, 3, 5, tzinfo=UTC)
        assert link_expiry("https://a.example.com/f") is None
        with capture_logs() as logs:
            assert link_expiry("https://a.example.com/f", "soon") is None
        assert logs[0]["field"] == "expiresAt"

    @pytest.mark.parametrize(
        ("before", "expired"), [(timedelta(seconds=61), False), (timedelta(seconds=60), True), (timedelta(0), True)]
    )
    def test_a_link_is_expired_a_minute_before_its_end(self, before: timedelta, expired: bool) -> None:  # noqa: FBT001 - a table
        """Now >= expires_at - margin [LNK-4]."""
        assert is_expired(END, now=END - before) is expired

    def test_a_link_of_unknown_end_is_valid(self) -> None:
        """Null is treated as valid [LNK-1]."""
        assert not is_expired(None, now=END)

    def test_the_margin_is_the_callers(self) -> None:
        """`claimx_url_expiry_margin_seconds` may be another."""
        assert not is_expired(END, now=END - timedelta(seconds=1), margin=timedelta(0))
        assert is_expired(END, now=END, margin=timedelta(0))

    @settings(deadline=None, max_examples=200)
    @given(link=st.text() | st.builds(lambda q: "https://a.example.com/?X-Amz-Date=" + q, st.text()))
    def test_any_text_has_an_end_or_none(self, link: str) -> None:
        """Nothing raises."""
        expires_at(link)
        host_of(link)
        shown(link)
        query_parameters(link, "x-amz-date")


class TestSecrets:
    """What may be kept, what may be shown [SEC-7, SEC-8]."""

    @pytest.mark.parametrize(
        ("link", "kept"),
        [
            (CLAIMX, "https://claimx.example.com/service/cxfileservice/file/7100001"),
            (S3, "https://media.s3.example.com/sample/7100002.mp4"),
            ("https://a.example.com/f#frag?x", "https://a.example.com/f"),
            ("https://a.example.com/f?x#frag", "https://a.example.com/f"),
            ("https://a.example.com/f", "https://a.example.com/f"),
            ("https://[broken/f?sig=1", "https://[broken/f"),
        ],
    )
    def test_a_stored_link_has_no_query(self, link: str, kept: str) -> None:
        """Query and fragment go, also where the rest is no link at all."""
        assert kept == without_query(link)

    def test_a_shown_link_is_its_host(self) -> None:
        """`https://<host>/<redacted>` [SEC-7]."""
        assert shown(S3) == "https://media.s3.example.com/<redacted>"
        assert shown("https://user:pw@A.Example.com.:8443/p?q") == "https://a.example.com/<redacted>"
        assert shown("garbage?sig=1") == "https://unknown/<redacted>"

    @pytest.mark.parametrize(
        ("link", "host"),
        [
            ("https://A.Example.COM./x", "a.example.com"),
            ("https://a.example.com:444/x", "a.example.com"),
            ("https://u:p@a.example.com/x", "a.example.com"),
            ("https://[2001:db8::1]/x", "2001:db8::1"),
            ("https://[broken/x", None),
            ("https:///x", None),
            ("x", None),
            ("", None),
            ("https://./x", None),
        ],
    )
    def test_a_host_is_compared_in_one_form(self, link: str, host: str | None) -> None:
        """Lower case, no trailing dot, no port, no user (12.1)."""
        assert host == host_of(link)

    def test_links_inside_a_payload_lose_their_query(self) -> None:
        """At any depth, alone or within text; everything else stays [settled point 18]."""
        payload = {
            "a": S3,
            "b": [{"c": f"see {CLAIMX} or HTTPS://X.example.com/y?sig=1 now"}],
            "d": "what? #1",
            "e": 5,
            "f": "https://a.example.com/f",
            "g": [None, True, 1.5],
        }
        assert without_queries(payload) == {
            "a": "https://media.s3.example.com/sample/7100002.mp4",
            "b": [
                {
                    "c": "see https://claimx.example.com/service/cxfileservice/file/7100001"
                    " or HTTPS://X.example.com/y now"
                }
            ],
            "d": "what? #1",
            "e": 5,
            "f": "https://a.example.com/f",
            "g": [None, True, 1.5],
        }

    def test_a_payload_without_links_is_not_copied(self) -> None:
        """The usual case costs nothing."""
        payload = {"a": [1, {"b": "c"}], "d": "e"}
        assert without_queries(payload) is payload

    @settings(deadline=None, max_examples=200)
    @given(before=st.text(max_size=20), after=st.text(max_size=20), secret=st.from_regex(r"\A[A-Z]{12}\Z"))
    def test_no_query_survives_in_any_text(self, before: str, after: str, secret: str) -> None:
        """Wherever in a text a link stands."""
        text = f"{before} https://h.example.com/p?sig={secret}{quote(after)} {after}"
        assert secret not in without_queries([text])[0]

    @pytest.mark.parametrize("text", ["a" * 200_000 + "://", "http://" * 30_000, "a://b?" * 30_000])
    def test_hostile_text_is_cut_in_one_pass(self, text: str) -> None:
        """No text makes the search take longer than its length; otherwise this test would run for minutes."""
        assert "?" not in without_queries(text)
