"""Whole pipelines for tests: a simulated ClaimX, a broker of each kind, a lake in a folder, workers and processes.

`site`     everything a pipeline needs, on the embedded broker and on Apache Kafka; `embedded_site` on the first alone
`program`  starts `kafka-pipeline` as a process of its own and watches what it prints
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from deltalake import DeltaTable

from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.idle import readers
from kafka_pipeline.claimx.pipeline import Pipeline, WorkerKind
from kafka_pipeline.claimx.topics import DeadLetterKind, Topics
from kafka_pipeline.common.deadletter.record import DeadLetter
from kafka_pipeline.common.messaging import Broker, Message, Record, TopicPartition
from kafka_pipeline.common.messaging.scan import scan
from kafka_pipeline.config import PipelineConfig, load_config
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
"""Far above what anything here takes: a bound for what hangs, not a measurement."""
LOOK_EVERY_S = 0.05
TOKEN_VARIABLE = "CLAIMX_API_TOKEN"
PARTITIONS = 3


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Return once the condition holds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline_s, f"it never happened: {what}"
        await asyncio.sleep(LOOK_EVERY_S)


class Site:
    """One pipeline's surroundings. Nothing works on it until `working` or a process does."""

    def __init__(self, simulator: Simulator, config: PipelineConfig, settings: Mapping[str, str]) -> None:
        self.simulator = simulator
        self.config = config
        self.topics = Topics.from_config(config)
        self.environ = {name.upper(): value for name, value in settings.items()} | {TOKEN_VARIABLE: simulator.token}
        """What a process needs to work here."""
        self.lake = Path(config.lake_location)
        self.broker: Broker = open_broker(config, {})
        self.admin = self.broker.admin()
        self.producer = self.broker.producer()

    async def open(self) -> None:
        """Create the topics."""
        await self.admin.create_topics(new_topics(self.topics, self.config))

    async def close(self) -> None:
        """Let go of the broker."""
        await self.producer.close()
        await self.admin.close()
        await self.broker.close()

    @asynccontextmanager
    async def working(self, *kinds: WorkerKind, **changes: Any) -> AsyncIterator[Pipeline]:
        """Run these workers in this process while the context is entered; they drain at its end."""
        config = self.config.model_copy(update=changes)
        stop = asyncio.Event()
        async with Pipeline(config, kinds, environ={TOKEN_VARIABLE: self.simulator.token}) as pipeline:
            running = asyncio.create_task(pipeline.run(stop))
            try:
                yield pipeline
            finally:
                stop.set()
                await running

    async def put(self, topic: str, *messages: Message | bytes | None) -> None:
        """Write messages, or values without a key, one after the other."""
        await self.producer.send(
            [each if isinstance(each, Message) else Message(topic=topic, value=each) for each in messages]
        )

    async def publish(self, *values: bytes | None) -> None:
        """Write events."""
        await self.put(self.topics.events, *values)

    async def count(self, topic: str) -> int:
        """Return how many records a topic has."""
        return sum(mark.high - mark.low for mark in (await self._marks(topic)).values())

    async def committed(self, topic: str) -> int:
        """Return how many records of a work topic its workers have finished."""
        group = self.topics.group(readers(self.topics)[topic])
        return sum((await self.admin.group_offsets(group, await self._partitions(topic))).values())

    async def drained(self, *topics: str) -> None:
        """Return once everything in these topics is finished and committed."""

        async def all_done() -> bool:
            return all([await self.committed(topic) == await self.count(topic) for topic in topics])

        await eventually(all_done, f"all of {', '.join(topics)} is committed")

    async def filled(self, topic: str, count: int) -> None:
        """Return once a topic has so many records."""

        async def enough() -> bool:
            return await self.count(topic) >= count

        await eventually(enough, f"{count} records in {topic}")

    async def read(self, topic: str) -> list[Record]:
        """Return all records of a topic, by partition and offset."""
        records: list[Record] = []
        async with aclosing(scan(self.broker, [topic])) as batches:
            async for batch in batches:
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))

    async def dead_letters(self, kind: DeadLetterKind) -> list[DeadLetter]:
        """Return the dead letters of a kind."""
        return [DeadLetter.parse(record) for record in await self.read(self.topics.dead_letters(kind))]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return all rows of a table; none if there is no such table."""
        path = str(self.lake / "Tables" / table)
        if not DeltaTable.is_deltatable(path):
            return []
        rows: list[dict[str, Any]] = DeltaTable(path).to_pyarrow_table().to_pylist()
        return rows

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        counts = await self.admin.topics()
        return [TopicPartition(topic, number) for number in range(counts.get(topic, 0))]

    async def _marks(self, topic: str) -> Mapping[TopicPartition, Any]:
        return await self.admin.watermarks(await self._partitions(topic))


@pytest_asyncio.fixture
async def new_site(tmp_path: Path, unique: Callable[..., str]) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Return a function that makes a site; settings of the simulator as keywords, the broker by its address.

    `config` holds settings of the pipeline. A `bare` one has no topics yet.
    """
    async with AsyncExitStack() as stack:

        async def make(
            kafka_bootstrap: str | None = None,
            *,
            bare: bool = False,
            config: Mapping[str, str] | None = None,
            **simulated: Any,
        ) -> Site:
            settings = SimulatorSettings(**{"projects": 8, "media_per_project": 3, "events": 60, **simulated})
            simulator = await stack.enter_async_context(Simulator(settings))
            run = unique("site")
            changes = {
                "data_dir": str(tmp_path / run),
                "claimx_api_url": simulator.api_url,
                "claimx_api_sender_username": "tests@example.com",
                "allow_private_download_hosts": ",".join(simulator.download_hosts),
                "kafka_topic_partitions": str(PARTITIONS),
                "delta_flush_seconds": "0.05",
                "worker_batch_seconds": "0.02",
            }
            if kafka_bootstrap is not None:
                changes |= {
                    "kafka_bootstrap_servers": kafka_bootstrap,
                    "kafka_group_prefix": f"{run}.",
                    "kafka_session_timeout_seconds": "6",
                    "kafka_max_poll_interval_seconds": "25",
                    "shutdown_timeout_seconds": "20",
                }
                defaults = PipelineConfig()
                changes |= {
                    name: f"{run}.{getattr(defaults, name)}"
                    for name in PipelineConfig.model_fields
                    if name.startswith("claimx_") and name.endswith(("_topic", "_topic_prefix"))
                }
            changes |= config or {}
            site = Site(simulator, load_config(None, changes, {}), changes)
            stack.push_async_callback(site.close)
            if not bare:
                await site.open()
            return site

        yield make


@pytest_asyncio.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def site(request: pytest.FixtureRequest, new_site: Callable[..., Awaitable[Site]]) -> Site:
    """Give a site on a broker of each kind."""
    return await new_site(request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else None)


@pytest_asyncio.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bare_site(request: pytest.FixtureRequest, new_site: Callable[..., Awaitable[Site]]) -> Site:
    """Give a site without topics, on a broker of each kind."""
    return await new_site(request.getfixturevalue("kafka_bootstrap") if request.param == "kafka" else None, bare=True)


@pytest_asyncio.fixture(params=[pytest.param("kafka", marks=pytest.mark.kafka)])
async def kafka_site(kafka_bootstrap: str, new_site: Callable[..., Awaitable[Site]]) -> Site:
    """Give a site on Apache Kafka."""
    return await new_site(kafka_bootstrap)


@pytest_asyncio.fixture
async def embedded_site(new_site: Callable[..., Awaitable[Site]]) -> Site:
    """Give a site on the embedded broker."""
    return await new_site()


@dataclass(slots=True)
class Ended:
    """How a process ended, and all it printed."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """What is on standard error: checked to be one readable line, and returned."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@dataclass(slots=True)
class Running:
    """A process, and what it has printed so far."""

    process: asyncio.subprocess.Process
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    readers: Sequence[asyncio.Task[None]] = ()

    async def told(self, text: str, *, times: int = 1) -> None:
        """Return once it has printed a text."""

        async def printed() -> bool:
            if (self.out + self.err).count(text.encode()) >= times:
                return True
            assert self.process.returncode is None, f"ended without a word of {text!r}: {self.err.decode()}"
            return False

        await eventually(printed, f"the process prints {text!r}")

    async def made(self, folder: Path, pattern: str) -> None:
        """Return once it has made a file that matches the pattern."""

        async def there() -> bool:
            if await asyncio.to_thread(lambda: any(folder.glob(pattern))):
                return True
            assert self.process.returncode is None, f"ended without making {pattern}: {self.err.decode()}"
            return False

        await eventually(there, f"the process makes {pattern}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> Ended:
        """Return when it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            await self.process.wait()
            await asyncio.gather(*self.readers)
        assert self.process.returncode is not None
        return Ended(self.process.returncode, self.out.decode(), self.err.decode())

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send it a signal and return when it has ended."""
        self.send(number)
        return await self.ended()


def _hear_interrupts() -> None:
    """Let a process be interrupted as one in the foreground is: whoever runs the tests in the background is not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """Starts `kafka-pipeline` in an empty folder, with none of our variables set but those given as keywords."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Running] = []

    async def start(
        self, *arguments: str, stdin: bytes | None = None, module: str = "kafka_pipeline", **environ: str
    ) -> Running:
        """Start it, or a module that stands in for it."""
        ours = {name.upper() for name in PipelineConfig.model_fields} | {TOKEN_VARIABLE, "COLUMNS"}
        base = {name: value for name, value in os.environ.items() if name not in ours}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env=base | {"PYTHONPATH": str(ROOT)} | environ,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_hear_interrupts,
        )
        running = Running(process)
        running.readers = [
            asyncio.create_task(_collect(process.stdout, running.out)),
            asyncio.create_task(_collect(process.stderr, running.err)),
        ]
        self._started.append(running)
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin)
            await process.stdin.drain()
            process.stdin.close()
        return running

    async def run(self, *arguments: str, stdin: bytes | None = None, **environ: str) -> Ended:
        """Start it and return when it has ended."""
        return await (await self.start(*arguments, stdin=stdin, **environ)).ended()

    async def close(self) -> None:
        """Kill what still runs."""
        for running in self._started:
            if running.process.returncode is None:
                running.process.kill()
            await running.ended()


@pytest_asyncio.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    """Give the program; what it left running is killed after the test."""
    folder = tmp_path / "working-folder"
    folder.mkdir()
    made = Program(folder)
    yield made
    await made.close()


async def _collect(stream: asyncio.StreamReader | None, into: bytearray) -> None:
    assert stream is not None
    while piece := await stream.read(65_536):
        into += piece
