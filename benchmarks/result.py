"""What a benchmark reports: ours beside a yardstick of the same run, and what it has to reach."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path


class Better(str, Enum):
    """Which ratios are the good ones."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One thing that has to be reached: a figure on one side of a limit."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it is reached."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How figures grow: one line of points for each series, for the plot."""

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Ours beside a yardstick, measured in the same run.

    Times depend on the machine and on who else is on it; the ratio is what is compared from run to run.
    """

    name: str
    """`benchmark.case`: the same from run to run."""
    what: str
    """What ours does, in a few words."""
    yardstick: str
    """What it stands beside."""
    unit: str
    """Of the two values: `events/s`, `s`, `calls`."""
    ours: float
    beside: float
    """The yardstick's value."""
    ratio: float
    """Ours over the yardstick, the median over the pairs where there are several."""
    better: Better
    """Which ratios are good."""
    sizes: Mapping[str, float]
    """How much was done: records, bytes, processes, runs of each side."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What else was measured; the name ends with the unit, as in `rss_mib`."""
    bounds: Sequence[Bound] = ()
    curve: Curve | None = None


def machine() -> dict[str, str | int | None]:
    """Describe the machine as far as it matters for times."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Return the installed versions of what does the work."""
    packages = ("aiohttp", "confluent-kafka", "deltalake", "obstore", "orjson", "pyarrow", "pydantic", "uvloop")
    return {package: metadata.version(package) for package in packages}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
