"""The worker loop in thousands of simulated lives: whatever happens, nothing is lost, ends twice or burns an attempt.

Each seed is a schedule: members die and freeze at any await, commits and acknowledgements fail before or after they
take effect, partitions move, the dependency goes down. A failure names its seed and step; `SIMULATION_SEED=n` runs that
schedule alone, `SIMULATION_SCHEDULES=n` runs more of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.kafka_pipeline.common.runtime.simulation.schedule import run
from tests.kafka_pipeline.common.runtime.simulation.world import Chances

SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "2000"))
SHARDS = 8
ROOT = Path(__file__).parents[5]
ONLY = os.environ.get("SIMULATION_SEED")
QUIET = Chances(pause=0.2, freeze=0, die=0, commit_fails=0, produce_fails=0)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Log nothing: a thousand lives tell too much."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_schedule_loses_doubles_or_burns_anything(shard: int) -> None:
    """I1, I6, I7 and I8 at every commit and at the end of every schedule."""
    seeds = [int(ONLY)] if ONLY else range(shard, SCHEDULES, SHARDS)
    for seed in seeds:
        run(seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_every_single_step_loses_nothing(seed: int) -> None:
    """The same life again and again, cut off one step later each time."""
    steps = run(seed, chances=QUIET).steps
    for step in range(1, steps, max(1, steps // 200)):
        run(seed, chances=QUIET, die_at_step=step)


def test_the_same_seed_is_the_same_life() -> None:
    """Or a failure could not be looked at again: in this process, and in others, where sets have other orders."""
    program = "import sys; from tests.kafka_pipeline.common.runtime.simulation import schedule; "
    program += "import structlog; structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50)); "
    program += "print(schedule.run(4242).story)"
    here = {run(4242).story, run(4242).story}
    elsewhere = {
        int(
            subprocess.run(
                [sys.executable, "-c", program],
                cwd=ROOT,
                env=os.environ | {"PYTHONHASHSEED": hash_seed},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for hash_seed in ("1", "2", "3")
    }
    assert here == elsewhere
    assert len(here) == 1
