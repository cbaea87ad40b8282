"""What the scripts in this folder share: processes that outlive the script, their folders, their ports.

A service's folder holds a state file, which marks it as ours, names the process, and is what `down` goes by.
"""
# ruff: noqa: INP001, S603, S607, T201  scripts are no package, start other programs and talk by printing

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 20.0

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 3
EXIT_MISSING_TOOL = 4

STATE = "node.json"


class ScriptError(Exception):
    """A failure to tell in one line, with the exit code that names it."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def cache_folder(name: str) -> Path:
    """Return where a service's files are kept: under XDG_CACHE_HOME, or in the checkout."""
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared:
        return Path(shared, "kafka-pipeline", name)
    return Path(__file__).resolve().parent.parent / ".cache" / name


def remember(data: Path, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
    """Write the state file and return what is in it; only its owner may read it."""
    state = data / STATE
    state.touch(mode=0o600)
    state.write_text(json.dumps(facts))
    return facts


def running_node(data: Path, mark: str) -> dict[str, Any] | None:
    """Return the state of the service in that folder, or None if its process is gone.

    `mark` is a part of its command line: process ids are used again, so the id alone proves nothing.
    """
    try:
        node: dict[str, Any] = json.loads((data / STATE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return node if node["pid"] > 0 and mark in command_line(node["pid"]) else None


def clear(data: Path) -> None:
    """Remove what an earlier run left here; refuse a folder that is not a service's."""
    if (data / STATE).exists():
        shutil.rmtree(data)
        data.mkdir()
    elif any(data.iterdir()):
        raise ScriptError(f"{data} holds something else than a node of this script; name an empty folder")


def down(data: Path, mark: str, folder: Path, patience_s: float = STOP_TIMEOUT_S) -> int:
    """Stop the service if it runs and remove what it stored; it has `patience_s` to end by itself."""
    if not data.is_dir():
        print("not running")
        return 0
    with one_at_a_time(folder):
        running = running_node(data, mark)
        if running is not None:
            stop(running["pid"], patience_s)
            for left in running.get("leftovers", []):
                Path(left).unlink(missing_ok=True)
        if (data / STATE).exists():
            shutil.rmtree(data)
    print("stopped" if running is not None else "not running")
    return 0


def command_line(pid: int) -> str:
    """Return the command line of a process, empty if there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if Path("/proc/self").exists():
        return ""
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return listed.stdout


def stop(pid: int, polite_s: float = STOP_TIMEOUT_S) -> None:
    """End a process: politely, then not."""
    for sign, patience_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # only where `up` itself gives up: then the node is our child
            if not command_line(pid):
                return
            time.sleep(0.05)
    raise ScriptError(f"process {pid} does not end")


def wait_until(
    answers: Callable[[], bool], node: subprocess.Popen[bytes], name: str, log: Path, limit_s: float
) -> None:
    """Return once the service answers; end it and raise if it does not, or has ended itself."""
    deadline = time.monotonic() + limit_s
    while not answers():
        if node.poll() is not None:
            raise ScriptError(f"{name} ended while starting: {last_line(log)} (all of it in {log})")
        if time.monotonic() > deadline:
            stop(node.pid)
            raise ScriptError(f"{name} did not answer within {limit_s:.0f} s (see {log})")
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on right now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in probes]


def last_line(log: Path) -> str:
    """Return the last line of a log that is not a stack frame."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line and not line.startswith(("\t", " "))]
    return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time start, stop or fetch anything that this cache folder knows of."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
