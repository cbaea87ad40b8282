"""The short form of `make chaos`: one seed, a few hundred events, everything broken once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from chaos.node import KafkaNode, ToolMissingError
from chaos.run import Plan, run


@pytest.mark.crash
@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_nothing_is_lost_doubled_stale_or_orphaned_in_a_storm(
    tmp_path: Path, missing: Callable[[str], NoReturn]
) -> None:
    """Killed, frozen and cut off while events flow, the pipeline ends with exactly the truth in the lake.

    Every poison is in the dead letters, every SIGTERM ended with 0, and no log holds a secret. A Kafka of its own,
    which is killed as well.
    """
    node = KafkaNode(tmp_path / "kafka")
    try:
        await node.up()
    except ToolMissingError as error:
        missing(str(error))
    told: list[str] = []
    try:
        result = await run(Plan(seed=4, events=300, storm_s=12.0), node, tmp_path, told.append)
    finally:
        await node.down()
    assert (result.faults, result.verdict.lines) == ((), ()), "\n".join(told)
    assert result.ok
    assert result.verdict.letters >= result.poison > 0
