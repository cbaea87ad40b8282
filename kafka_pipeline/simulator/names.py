"""File names as people and attackers give them, each with the safe name that BLB-2 makes of it.

Written by hand from the rules of section 11, never computed: it is what an implementation is checked against.
"""

from __future__ import annotations

from typing import NamedTuple


class FileName(NamedTuple):
    """One media name and the file name it must get in the lake."""

    media_name: str | None
    """As the API sends it."""
    media_type: str | None
    safe: str
    """The safe file name; `{media_id}` stands for the id."""
    link_name: str | None = None
    """What the link's `filename` says where it is not the media name: the fallback of rule 1."""


HOSTILE_NAMES = (
    FileName("front door.jpg", "jpg", "front door.jpg"),
    FileName("../../etc/passwd", "pdf", "passwd.pdf"),
    FileName("a%2Fb%2Froof?.PNG", "png", "roof_.PNG"),
    FileName("a%252Fb.jpg", "jpg", "a_2Fb.jpg"),
    FileName("..", None, "attachment"),
    FileName("report.", "pdf", "report.pdf"),
    FileName("roof/view:1*.mp4", "mp4", "view_1_.mp4"),
    FileName("C:\\Users\\pat\\roof.jpg", "jpg", "roof.jpg"),
    FileName("%2e%2e%2fetc%2fshadow", "pdf", "shadow.pdf"),
    FileName("..%5C..%5Cboot.jpg", "jpg", "boot.jpg"),
    FileName("folder/", "jpg", "folder.jpg"),
    FileName("cafe\u0301.jpg", "jpg", "caf\u00e9.jpg"),
    FileName("\U0001f3e0 house \U0001f525.jpg", "jpg", "\U0001f3e0 house \U0001f525.jpg"),
    FileName("\u65e5\u672c \u00fcn\u00efc\u00f6d\u00e9.pdf", "pdf", "\u65e5\u672c \u00fcn\u00efc\u00f6d\u00e9.pdf"),
    FileName("a\x00b\x1f.jpg", "jpg", "a_b_.jpg"),
    FileName("name\ttab\nnewline.jpg", "jpg", "name_tab_newline.jpg"),
    FileName("\u202egpj.eci.jpg", "jpg", "_gpj.eci.jpg"),
    FileName("zero\u200bwidth\ufeff.pdf", "pdf", "zero_width_.pdf"),
    FileName("line\u2028break.pdf", "pdf", "line_break.pdf"),
    FileName("private\ue000use.jpg", "jpg", "private_use.jpg"),
    FileName("x" * 300 + ".jpg", "jpg", "x" * 251 + ".jpg"),
    FileName("\u00e9" * 200 + ".pdf", "pdf", "\u00e9" * 125 + ".pdf"),
    FileName("  spaced    out .jpg ", "jpg", "spaced out .jpg"),
    FileName('a|b<c>d"e.jpg', "jpg", "a_b_c_d_e.jpg"),
    FileName("100%.pdf", "pdf", "100_.pdf"),
    FileName("a&b#c.pdf", "pdf", "a_b_c.pdf"),
    FileName("%FF.pdf", "pdf", "_.pdf"),
    FileName("a%00b.jpg", "jpg", "a_b.jpg"),
    FileName(".hidden.jpg", "jpg", "hidden.jpg"),
    FileName(" .jpg", "jpg", "jpg.jpg"),
    FileName("two__under___scores.jpg", "jpg", "two_under_scores.jpg"),
    FileName("a [1] {x} ~^`$'.jpg", "jpg", "a [1] {x} ~^`$'.jpg"),
    FileName("'; DROP TABLE media; --.pdf", "pdf", "'; DROP TABLE media; --.pdf"),
    FileName("no extension", "JPG", "no extension.jpg"),
    FileName("Dr. Example", "pdf", "Dr. Example.pdf"),
    FileName("estimate.final.PDF", "pdf", "estimate.final.PDF"),
    FileName("CON.jpg", "jpg", "_CON.jpg"),
    FileName(None, "mp4", "{media_id}.mp4"),
    FileName(None, "jpg", "from link.jpg", "from link.jpg"),
    FileName(" ", "pdf", "evil.pdf", "../evil.pdf"),
    FileName("", "jpg", "a_2Fb.jpg", "a%2Fb.jpg"),
)
"""Names that have broken something somewhere. A null name with no `filename` in the link falls back to the link's last
path segment, which here is the media id."""

EQUAL_NAME = FileName("IMG_0001.jpg", "jpg", "IMG_0001.jpg")
"""Given twice within one project: only the media id keeps the two files apart [BLB-1]."""


def plain_name(number: int, media_type: str) -> FileName:
    """Return an everyday name for a file of that type."""
    stem = {"jpg": f"IMG_{number:05}", "pdf": f"Estimate {number}", "mp4": f"walkthrough-{number}"}[media_type]
    return FileName(f"{stem}.{media_type}", media_type, f"{stem}.{media_type}")
