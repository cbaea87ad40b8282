"""What counts as flat."""

from __future__ import annotations

from dataclasses import replace

from chaos.soak import Sample, trends

_SAMPLE = Sample(at_s=0, rss_bytes=600 * 2**20, handles=300, table_files=60, lag=5)


def test_what_stays_is_flat() -> None:
    """Warming up in the first third says nothing; after it, small changes are none."""
    warming = [replace(_SAMPLE, rss_bytes=number * 2**20) for number in range(10)]
    steady = [replace(_SAMPLE, lag=number % 7) for number in range(20)]
    assert all(each.flat for each in trends([*warming, *steady], events_per_s=5))


def test_what_grows_is_told_by_name() -> None:
    """A leak in any one figure is found in that figure."""
    for name, step in {"rss_bytes": 16 * 2**20, "handles": 2, "table_files": 8, "lag": 10}.items():
        growing = [replace(_SAMPLE, **{name: getattr(_SAMPLE, name) + number * step}) for number in range(30)]
        assert [each.name for each in trends(growing, events_per_s=5) if not each.flat] == [name]
