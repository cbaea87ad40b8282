"""What a run of one side took: seconds by the clock, and of CPU, here, in children, and in the server that answered."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Spent:
    """Seconds; complete once the run is over."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of this process and of its children that have ended."""
    server_cpu_s: float = 0.0


@contextmanager
def spending(server_url: str) -> Iterator[Spent]:
    """Give what the block spends."""
    server = _listener(server_url)
    spent = Spent()
    wall_s, cpu_s, server_cpu_s = time.perf_counter(), _cpu_s(), _cpu_of_s(server)
    yield spent
    spent.wall_s = time.perf_counter() - wall_s
    spent.cpu_s = _cpu_s() - cpu_s
    spent.server_cpu_s = _cpu_of_s(server) - server_cpu_s


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _cpu_of_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _listener(url: str) -> int:
    """Return the id of the process that was started to listen there: its command line names the port."""
    port = str(urlsplit(url).port)
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_text(encoding="utf-8").split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if any(word.rpartition("=")[2] == port for word in words):
            return int(folder.name)
    raise RuntimeError(f"no process listens on port {port}")
