"""`python -m benchmarks`: what it takes, what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.parts import PartError
from benchmarks.result import Better, Bound, Measurement


def measured(ratio: float) -> Measurement:
    """Return a result that has to reach 1."""
    return Measurement(
        name="ours.case",
        what="this",
        yardstick="that",
        unit="s",
        ours=ratio,
        beside=1,
        ratio=ratio,
        better=Better.HIGHER,
        sizes={"rows": 1},
        bounds=[Bound(what="ratio", value=ratio, at_least=1)],
    )


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a place for stored results, and one benchmark that reaches 1.1, or 0.8 if it is quick."""
    path = tmp_path / "results.json"
    monkeypatch.setattr(program, "BENCHMARKS", {"ours": lambda *, quick: [measured(0.8 if quick else 1.1)]})
    monkeypatch.setattr(program, "RESULTS", path)
    monkeypatch.setattr(program, "configure_logging", lambda *_: None)
    monkeypatch.setattr(program, "write_report", (tmp_path / "written").touch)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run it; also what argparse ends is an exit code here."""
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    try:
        return program.main()
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["other"], "no benchmark other; there are ours"), (["--quick", "--store"], "tiny sizes say nothing")],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    stored: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    """A name that nobody has, and a quick run as a baseline."""
    assert run(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""
    assert not stored.exists()


def test_a_run_prints_one_document_and_writes_it_where_it_was_asked_to(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And stores nothing by itself."""
    copy = tmp_path / "copy.json"
    assert run(monkeypatch, "--json", str(copy)) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["results"][0]["ratio"] == 1.1
    assert copy.read_text(encoding="utf-8") == out
    assert not stored.exists()


def test_a_missed_bar_ends_with_1_and_a_tiny_run_misses_none(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiny sizes say nothing about a bar."""
    assert run(monkeypatch, "--quick", "ours") == 0
    capsys.readouterr()
    monkeypatch.setitem(program.BENCHMARKS, "ours", lambda **_: [measured(0.7)])
    assert run(monkeypatch) == 1
    assert "missed: ours.case: ratio is 0.7, wanted at least 1" in capsys.readouterr().err


def test_a_part_that_does_not_start_ends_with_2_and_says_so(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, as the part said it."""

    def without(*, quick: bool) -> list[Measurement]:
        raise PartError("there is no Java")

    monkeypatch.setitem(program.BENCHMARKS, "ours", without)
    assert run(monkeypatch) == 2
    out, err = capsys.readouterr()
    assert err.endswith("benchmarks: ours cannot run: there is no Java\n")
    assert out == ""


def test_a_stored_run_is_what_the_next_one_is_compared_with(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worse ratio is told, but ends with 0 as long as it keeps its bars: machines differ. The page follows."""
    monkeypatch.setitem(program.BENCHMARKS, "ours", lambda **_: [measured(2.0)])
    assert run(monkeypatch, "--store") == 0
    assert json.loads(stored.read_text(encoding="utf-8"))["results"][0]["ratio"] == 2.0
    assert (stored.parent / "written").exists()
    monkeypatch.setitem(program.BENCHMARKS, "ours", lambda **_: [measured(1.1)])
    capsys.readouterr()
    assert run(monkeypatch) == 0
    assert "slower than the stored run: ours.case: ratio 1.1, stored 2" in capsys.readouterr().err
