"""The folder of a demo: what it was started with, and who may empty it."""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from kafka_pipeline.cli.errors import CannotStartError, starting

_PLAN = "demo.json"
_LOCK = "demo.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What makes a demo repeatable, so that `--resume` goes on with the same world on the same addresses."""

    seed: int
    events: int
    projects: int
    latency_ms: float
    kafka_bootstrap_servers: str | None
    run_id: str
    """Part of the topic names on a real broker, so that runs do not meet."""
    api_port: int = 0
    storage_port: int = 0
    faults: bool = False
    """Whether ClaimX fails on purpose."""
    stormed: bool = False
    """Whether the storm has begun. It comes once: a second one could take attempts that the first one left."""
    repaired: bool = False
    """Whether the causes of the dead letters are repaired: from then on they are sent again."""


class DemoFolder:
    """A folder that belongs to a demo and to nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lake(self) -> Path:
        """Where the demo's lake lies."""
        return self.path / "lake"

    @property
    def log(self) -> Path:
        """Where the demo's log goes."""
        return self.path / "demo.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second demo out of this folder. Raises CannotStartError while one is running in it."""
        self._refuse_foreign()
        with starting("demo"):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CannotStartError(
                    f"a demo is running in {self.path}: stop it, or choose another folder with --data-dir"
                ) from None
            yield

    def start_over(self, plan: Plan) -> None:
        """Empty the folder for a new demo."""
        for entry in self.path.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.save(plan)

    def save(self, plan: Plan) -> None:
        """Write the plan down, whole or not at all."""
        draft = self.path / f"{_PLAN}.new"
        draft.write_text(json.dumps(asdict(plan), indent=2) + "\n")
        draft.replace(self.path / _PLAN)

    def plan(self) -> Plan:
        """Read the plan of the demo that was started here. Raises CannotStartError if there is none."""
        try:
            return TypeAdapter(Plan).validate_json((self.path / _PLAN).read_bytes(), strict=True)
        except FileNotFoundError:
            raise CannotStartError(f"nothing to resume in {self.path}: start without --resume") from None
        except ValueError:
            raise CannotStartError(f"{self.path / _PLAN} cannot be read: start without --resume") from None

    def _refuse_foreign(self) -> None:
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / _LOCK).exists():
            raise CannotStartError(
                f"{self.path} holds files that are not a demo's, and a demo empties its folder: "
                "choose another one with --data-dir"
            )


def new_run_id() -> str:
    """Return a short name for a run."""
    return uuid.uuid4().hex[:8]
