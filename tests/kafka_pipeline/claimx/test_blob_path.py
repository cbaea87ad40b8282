"""Blob paths: the vectors of the rule, and that no name leads anywhere else [BLB-1, BLB-2]."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kafka_pipeline.claimx.blob_path import blob_path, is_safe_id, safe_file_name
from kafka_pipeline.common.failures import Category, PipelineError

DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"),
}
NAMES = (
    st.tuples(st.sampled_from([*sorted(DEVICES), "con", "Nul"]), st.text(" ._a/%", max_size=8)).map("".join)
    | st.none()
    | st.text(max_size=400)
    | st.text(st.sampled_from("../\\%2Ff _?*:\u0301e\u202e\U0001f600"), max_size=60)
)
TYPES = (
    st.none() | st.sampled_from(["jpg", "MP4", "", "toolongextension", ".pdf", "a/b", "\u00e9"]) | st.text(max_size=12)
)
LINKS = st.none() | st.text(max_size=60).map(lambda text: "https://h.example.com/" + text) | st.text(max_size=30)


class TestVectors:
    """The rule's own examples, and one for each of its words."""

    @pytest.mark.parametrize(
        ("media_name", "file_type", "expected"),
        [
            # of the reference
            ("front door.jpg", "jpg", "front door.jpg"),
            ("../../etc/passwd", "pdf", "passwd.pdf"),
            ("a%2Fb%2Froof?.PNG", "png", "roof_.PNG"),
            ("a%252Fb.jpg", "jpg", "a_2Fb.jpg"),
            ("..", None, "attachment"),
            (None, "mp4", "attachment.mp4"),
            ("report.", "pdf", "report.pdf"),
            ("roof/view:1*.mp4", "mp4", "view_1_.mp4"),
            # step 1: blank counts as absent
            ("", "jpg", "attachment.jpg"),
            ("  \t", "jpg", "attachment.jpg"),
            # step 2: last non-empty part, decoded once, split again
            ("C:\\photos\\roof.jpg", "jpg", "roof.jpg"),
            ("photos/roof.jpg/", "jpg", "roof.jpg"),
            ("///", None, "attachment"),
            ("a%5Cb.jpg", None, "b.jpg"),
            ("%2e%2e%2f%2e%2e%2fpasswd", None, "passwd"),
            ("%ff%fe.jpg", None, "_.jpg"),
            ("50%.jpg", None, "50_.jpg"),
            ("a%zz.jpg", None, "a_zz.jpg"),
            # step 3: composed
            ("cafe\u0301.jpg", None, "caf\u00e9.jpg"),
            # step 4: each unsafe character and category
            ('a<b>c:d"e|f?g*h#i&j.jpg', None, "a_b_c_d_e_f_g_h_i_j.jpg"),
            ("a\x00b\nc\u200dd\u202ee\ue000f\u2028g\u0378h.jpg", None, "a_b_c_d_e_f_g_h.jpg"),
            ("a\ud800b.jpg", None, "a_b.jpg"),
            ("a\ufffdb.jpg", None, "a\ufffdb.jpg"),
            # step 5: runs and edges
            (" . a  \u00a0 b___c .. ", "pdf", "a b_c.pdf"),
            ("a \t b.jpg", None, "a _ b.jpg"),
            (".hidden", None, "hidden"),
            (".jpg", "jpg", "jpg.jpg"),
            # step 7: an extension is a dot and 1-10 ASCII letters or digits
            ("photo", "JPG", "photo.jpg"),
            ("photo.jpeg", "jpg", "photo.jpeg"),
            ("photo.not an extension", "jpg", "photo.not an extension.jpg"),
            ("photo.abcdefghijk", "jpg", "photo.abcdefghijk.jpg"),
            ("photo.\u00e9t\u00e9", "jpg", "photo.\u00e9t\u00e9.jpg"),
            ("photo", "image/jpeg", "photo"),
            ("photo", "", "photo"),
            ("photo", None, "photo"),
            ("photo", "abcdefghijk", "photo"),
            # devices of Windows, with and without extension
            ("CON.jpg", "jpg", "_CON.jpg"),
            ("CON", None, "_CON"),
            ("con", "jpg", "_con.jpg"),
            ("NUL.txt", "txt", "_NUL.txt"),
            ("aux.tar.gz", "gz", "_aux.tar.gz"),
            ("prn .jpg", "jpg", "_prn .jpg"),
            ("com1", "pdf", "_com1.pdf"),
            ("LPT\u00b9.pdf", "pdf", "_LPT\u00b9.pdf"),
            ("CONIN$", None, "_CONIN$"),
            # names that only begin like one
            ("CONTRACT.pdf", "pdf", "CONTRACT.pdf"),
            ("com10.pdf", "pdf", "com10.pdf"),
            ("a CON.jpg", "jpg", "a CON.jpg"),
            ("nul_.txt", "txt", "nul_.txt"),
        ],
    )
    def test_a_name_becomes_what_the_rule_says(
        self, media_name: str | None, file_type: str | None, expected: str
    ) -> None:
        """Step by step [BLB-2]."""
        assert expected == safe_file_name(media_name, file_type)

    @pytest.mark.parametrize(
        ("link", "expected"),
        [
            ("https://h.example.com/f/7?filename=front%20door.jpg&x=1", "front door.jpg"),
            ("https://h.example.com/f/7?filename=front+door.jpg", "front door.jpg"),
            ("https://h.example.com/f/7?file=b.jpg", "b.jpg"),
            ("https://h.example.com/f/7?name=c.jpg&file=b.jpg", "b.jpg"),
            ("https://h.example.com/f/7?filename=&name=c.jpg", "c.jpg"),
            ("https://h.example.com/f/7?FileName=c.jpg", "c.jpg"),
            ("https://h.example.com/f/7?filename=a%2Fb.jpg", "b.jpg"),
            ("https://h.example.com/f/7?filename=a%252Fb.jpg", "a_2Fb.jpg"),
            ("https://h.example.com/f/7?filename=%ff.jpg", "_.jpg"),
            ("https://h.example.com/sample/7100002.mp4?X-Amz-Date=1", "7100002.mp4"),
            ("https://h.example.com/sample/a%20b.mp4#x", "a b.mp4"),
            ("https://h.example.com/sample/a%2Fb.mp4", "b.mp4"),
            ("https://h.example.com/sample/", "attachment"),
            ("https://h.example.com", "attachment"),
            ("https://h.example.com/", "attachment"),
            ("", "attachment"),
        ],
    )
    def test_without_a_name_the_link_tells_it(self, link: str, expected: str) -> None:
        """Query parameter, decoded by reading the query; else the path's last segment [BLB-2, settled point 20]."""
        assert expected == safe_file_name(None, None, link)
        assert expected == safe_file_name(" ", None, link)

    def test_a_name_beats_the_link(self) -> None:
        """The API's own name comes first."""
        assert safe_file_name("a.jpg", None, "https://h.example.com/f?filename=b.jpg") == "a.jpg"

    @pytest.mark.parametrize(
        ("media_name", "expected"),
        [
            ("x" * 300 + ".jpeg", "x" * 250 + ".jpeg"),
            ("\u00e9" * 200 + ".jpg", "\u00e9" * 125 + ".jpg"),
            ("\U0001f600" * 100, "\U0001f600" * 63),
            ("a" + "\U0001f600" * 100, "a" + "\U0001f600" * 63),
            ("a" * 254 + " b", "a" * 254),
            ("x" * 255, "x" * 255),
            ("x" * 251 + ".jpg", "x" * 251 + ".jpg"),
        ],
    )
    def test_a_long_name_is_cut_between_characters_and_keeps_its_extension(
        self, media_name: str, expected: str
    ) -> None:
        """At most 255 bytes of UTF-8; edges are trimmed again after the cut [settled point 20]."""
        assert expected == safe_file_name(media_name, None)


class TestLaws:
    """For any name whatever."""

    @settings(deadline=None, max_examples=500)
    @given(media_name=NAMES, file_type=TYPES, link=LINKS)
    @example(media_name="\u0344", file_type=None, link=None)
    @example(media_name="a" * 250 + ". . .", file_type="jpg", link=None)
    def test_a_name_is_always_safe(self, media_name: str | None, file_type: str | None, link: str | None) -> None:
        """One path segment, never empty, never dots alone, in the file system's limits, composed, printable."""
        name = safe_file_name(media_name, file_type, link)
        assert 0 < len(name.encode()) <= 255
        assert not set(name) & set('<>:"/\\|?*%#&')
        assert name == name.strip(". ")
        assert name == unicodedata.normalize("NFC", name)
        assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in name)
        assert "  " not in name
        assert "__" not in name
        assert name.split(".")[0].rstrip(" ").upper() not in DEVICES

    @settings(deadline=None, max_examples=500)
    @given(media_name=NAMES, file_type=TYPES, link=LINKS)
    def test_a_safe_name_stays_as_it_is(self, media_name: str | None, file_type: str | None, link: str | None) -> None:
        """So whoever applies the rule again gets the same path (I5)."""
        name = safe_file_name(media_name, file_type, link)
        assert name == safe_file_name(name, file_type, link)


class TestPath:
    """Where the file lies."""

    def test_the_path_of_the_reference(self) -> None:
        """Appendix B, second item of A.3."""
        name = safe_file_name("roof/view:1*.mp4", "mp4")
        path = blob_path(project_id="900001", media_id="7100002", file_name=name)
        assert path == "claimx/900001/7100002/view_1_.mp4"

    @pytest.mark.parametrize("bad", ["", "..", "a/b", "a\\b", "a b", "a\n", "x" * 65, "\u0661", "a.b"])
    def test_an_id_that_is_no_plain_word_has_no_path(self, bad: str) -> None:
        """Permanent (7.3), and the text does not repeat it."""
        assert not is_safe_id(bad)
        for ids in ({"project_id": bad, "media_id": "1"}, {"project_id": "1", "media_id": bad}):
            with pytest.raises(PipelineError) as caught:
                blob_path(**ids, file_name="a.jpg")
            assert caught.value.category is Category.PERMANENT
            assert len(bad) < 2 or bad not in caught.value.text

    @pytest.mark.parametrize("good", ["7100001", "a", "A-b_9", "x" * 64])
    def test_plain_words_are_ids(self, good: str) -> None:
        """`^[A-Za-z0-9_-]{1,64}$` (7.3)."""
        assert is_safe_id(good)
