"""Writes `docs/benchmarks.md` from the stored results and the notes: `python -m benchmarks.report [--write]`."""

from __future__ import annotations


def write_report() -> None:
    """Write the page and its plots anew."""
