"""What a benchmark reports, and the machine it ran on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ours beside a yardstick that does the least such work can be."""

    name: str
    ours: str
    yardstick: str
    unit: str
    """What is counted."""
    count: int
    """How many of them each run handles."""
    payload_bytes: int
    """Their size together."""
    pairs: int
    """Runs of each, taken alternately."""
    ours_per_second: int
    """Median over the runs."""
    yardstick_per_second: int
    """Median over the runs."""
    ratio: float
    """Time of ours over time of the yardstick, median over the pairs: 3.0 means three times as long."""


def machine() -> dict[str, str | int | None]:
    """Describe the machine as far as it matters for times."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions."""
    return {package: metadata.version(package) for package in packages}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
