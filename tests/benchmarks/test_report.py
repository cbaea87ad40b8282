"""The page of the benchmarks is what the stored results and the notes give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.document import document
from benchmarks.plot import draw
from benchmarks.report import IMAGES, PAGE, image_name, notes, report_markdown, stored_results
from benchmarks.result import Better, Bound, Curve, Measurement

CURVE = Curve(
    title="Time of a MERGE",
    x="rows in the table",
    y="seconds",
    series={"recent": [(100_000, 0.1), (1_000_000, 0.2)], "plain": [(100_000, 0.3), (1_000_000, 2.5)]},
    log_x=True,
)
GROWTH = Measurement(
    name="growth.recent",
    what="A MERGE of 1,000 rows",
    yardstick="the same into 100,000 rows",
    unit="s",
    ours=0.2,
    beside=0.1,
    ratio=2.0,
    better=Better.LOWER,
    sizes={"rows": 1_000_000},
    figures={"rss_mib": 812.4},
    bounds=[Bound(what="times the small one", value=2.0, at_most=2), Bound(what="times faster", value=9, at_least=20)],
    curve=CURVE,
)


def page(tmp_path: Path, *measured: Measurement, found: dict[str, str] | None = None) -> str:
    """Return the page of these results, written and read as they are in the repository."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document(measured, quick=False)), encoding="utf-8")
    return report_markdown(stored_results(path), found or {})


def test_the_page_is_what_results_and_notes_say() -> None:
    """A page that tells yesterday's figures is worse than none."""
    current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == report_markdown(stored_results(), notes())
    assert current, "docs/benchmarks.md is stale: run `make docs` and commit the page"


def test_every_stored_curve_has_its_picture_and_no_picture_is_left_over() -> None:
    """The page shows them; their bytes depend on the version that drew them and are not compared."""
    curves = {image_name(each.measurement) for each in stored_results() if each.measurement.curve is not None}
    assert {path.name for path in IMAGES.glob("bench-*.svg")} == curves


def test_without_results_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    """And what was found is told, also before it is measured."""
    empty = report_markdown(stored_results(tmp_path / "none.json"), {"ingest": "Parsing takes most."})
    assert "Nothing is stored yet." in empty
    assert "## ingest\n\nNot measured yet.\n\n### ingest: what was found\n\nParsing takes most.\n" in empty


def test_a_result_is_told_with_its_bars_and_its_curve(tmp_path: Path) -> None:
    """Both sides, the ratio, what it has to reach, and what was missed."""
    text = page(tmp_path, GROWTH, found={"growth": "Ranges prune."})
    assert "1 of 2 bars are kept. The notes say what stands in the way." in text
    assert (
        "| [growth.recent](#growthrecent) | 0.2 s | 0.1 s | 2 ↓ "
        "| times the small one at most 2<br>times faster at least 20 | kept<br>**missed** |" in text
    )
    assert "| rss mib | 812 |" in text
    assert "Sizes: rows 1,000,000" in text
    assert "![Time of a MERGE](images/bench-growth.recent.svg)" in text
    assert "### growth: what was found\n\nRanges prune.\n" in text


def test_every_link_of_the_summary_leads_to_a_heading(tmp_path: Path) -> None:
    """As GitHub makes anchors of headings."""
    text = page(tmp_path, GROWTH)
    headings = {re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"^### (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(.+?)\)", text)) <= headings


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.0012345, "0.00123"), (0.95, "0.95"), (19.96, "20"), (20_345.6, "20,346"), (10_000_000, "10,000,000")],
)
def test_numbers_have_as_many_digits_as_they_are_worth(tmp_path: Path, value: float, told: str) -> None:
    """Three that count, and no exponent."""
    measurement = Measurement(
        name="a.b",
        what="This",
        yardstick="that",
        unit="s",
        ours=1,
        beside=1,
        ratio=1,
        better=Better.LOWER,
        sizes={},
        figures={"x": value},
    )
    assert f"| x | {told} |\n" in page(tmp_path, measurement)


def test_the_same_curve_gives_the_same_picture(tmp_path: Path) -> None:
    """So that a page that is written anew shows up in Git only where a figure has changed; axes are labelled."""
    pictures = []
    for name in ("one.svg", "two.svg"):
        draw(CURVE, tmp_path / name)
        pictures.append((tmp_path / name).read_text(encoding="utf-8"))
    assert pictures[0] == pictures[1]
    assert all(text in pictures[0] for text in ("Time of a MERGE", "rows in the table", "seconds", "recent", "plain"))


def test_writing_leaves_page_and_pictures_and_nothing_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And `--check` says whether that was done."""
    results, images = tmp_path / "results.json", tmp_path / "images"
    images.mkdir()
    (images / "bench-gone.svg").touch()
    results.write_text(json.dumps(document([GROWTH], quick=False)), encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "IMAGES", images)
    monkeypatch.setattr(report, "RESULTS", results)
    monkeypatch.setattr("sys.argv", ["report", "--check"])
    assert report.main() == 1
    assert "stale" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["report", "--write"])
    assert report.main() == 0
    assert [path.name for path in images.iterdir()] == ["bench-growth.recent.svg"]
    monkeypatch.setattr("sys.argv", ["report", "--check"])
    assert report.main() == 0
