"""Shows how far the demo has come: a live line per stage on a terminal, plain lines without one."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from kafka_pipeline.claimx.idle import Progress
from kafka_pipeline.claimx.topics import Topics

_PLAIN_EVERY_S = 2.0


class ProgressView(Protocol):
    """Where progress is shown while it is entered."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state standing."""

    def show(self, stages: Sequence[Progress]) -> None:
        """Show the state of every stage."""


def stages(topics: Topics, each: Sequence[Progress]) -> list[Progress]:
    """Return one line a stage: the retry topics of a stage are one, under the first part of their name."""
    shared = {topic: topic.rpartition(".")[0] for topic in (*topics.enrichment_retry, *topics.downloads_retry)}
    lines: dict[str, Progress] = {}
    for found in each:
        name = shared.get(found.topic, found.topic)
        before = lines.get(name, Progress(topic=name, done=0, total=0))
        lines[name] = Progress(topic=name, done=before.done + found.done, total=before.total + found.total)
    return list(lines.values())


def progress_view() -> ProgressView:
    """Return the view that suits standard output."""
    return _Live() if sys.stdout.isatty() else _Plain()


class _Live:
    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), console=Console(), transient=False
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, stages: Sequence[Progress]) -> None:
        for stage in stages:
            if stage.topic not in self._tasks:
                if not stage.total:
                    continue
                self._tasks[stage.topic] = self._bars.add_task(stage.topic, total=stage.total)
            self._bars.update(self._tasks[stage.topic], completed=stage.done, total=stage.total)


class _Plain:
    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._shown_s = float("-inf")
        self._last: Sequence[Progress] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last:
            self._print()

    def show(self, stages: Sequence[Progress]) -> None:
        self._last = stages
        if any(stage.total for stage in stages) and time.monotonic() - self._shown_s >= _PLAIN_EVERY_S:
            self._print()

    def _print(self) -> None:
        self._shown_s = time.monotonic()
        stages = "  ".join(
            f"{stage.topic.split('claimx.')[-1]} {stage.done}/{stage.total}" for stage in self._last if stage.total
        )
        sys.stdout.write(f"{self._shown_s - self._started_s:5.1f} s  {stages}\n")
        sys.stdout.flush()
