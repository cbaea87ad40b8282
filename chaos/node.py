"""A Kafka node of our own, which may be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

_SCRIPT = Path(__file__).parents[1] / "scripts" / "kafka"
_MISSING_TOOL = 4
_STOP_S = 20.0


class NodeError(Exception):
    """The script for Kafka failed; the text is what it said."""


class ToolMissingError(NodeError):
    """Java or Maven is not on this machine."""


class KafkaNode:
    """One node with its data in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bootstrap = ""
        """Where it answers, once it is up."""

    async def up(self) -> None:
        """Start it. Raises ToolMissingError, NodeError."""
        self.bootstrap = (await self._script("up")).split()[-1]

    async def down(self) -> None:
        """Stop it and remove its data."""
        await self._script("down")

    async def end(self, number: signal.Signals) -> None:
        """End its process by a signal and return when it is gone; its data stays."""
        pid = json.loads((self._folder / "node.json").read_text())["pid"]
        os.kill(pid, number)
        async with asyncio.timeout(_STOP_S):
            while _runs(pid):  # noqa: ASYNC110  # not our child: it can only be looked at
                await asyncio.sleep(0.05)

    async def again(self) -> None:
        """Start it with the data it had, and return once it answers."""
        await self._script("again")

    async def _script(self, command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_SCRIPT), command, "--data", str(self._folder)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            error = ToolMissingError if process.returncode == _MISSING_TOOL else NodeError
            raise error(err.decode().strip())
        return out.decode()


def _runs(pid: int) -> bool:
    """Say whether the process is more than an entry that nobody has read yet."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
