"""Growth curves as SVG: the same file for the same figures, readable on a light and on a dark page."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from benchmarks.result import Curve

_LOOKS = (("#0b5cad", "o", "-"), ("#c2410c", "s", "--"), ("#15803d", "^", "-."), ("#7e22ce", "D", ":"))
"""Colour, marker and line: any two of the three are enough to tell series apart."""


def draw(curve: Curve, path: Path) -> None:
    """Write a curve's picture. Its ground is white, so that a dark page does not swallow its text."""
    with mpl.rc_context(
        {
            "svg.hashsalt": "kafka_pipeline",  # ids inside the file are made of it instead of at random
            "svg.fonttype": "none",  # text stays text: small, and no fonts of this machine in it
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        for (label, points), (colour, marker, line) in zip(curve.series.items(), cycle(_LOOKS), strict=False):
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, label=label, color=colour, marker=marker, linestyle=line)
        axes.set(title=curve.title, xlabel=curve.x, ylabel=curve.y)
        if curve.log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 100k, 1M
        if curve.log_y:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        else:
            axes.set_ylim(bottom=0)
        axes.grid(visible=True, color="#d4d4d4", linewidth=0.6)
        if len(curve.series) > 1:
            axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
