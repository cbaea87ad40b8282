"""What worker processes need around them: a simulated ClaimX, topics on a real Kafka, a lake in a folder."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.crew import Crew
from chaos.schedule import Member
from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.pipeline import WorkerKind
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.messaging import Admin, Broker
from kafka_pipeline.config import PipelineConfig, load_config
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator

_TOKEN_VARIABLE = "CLAIMX_API_TOKEN"  # noqa: S105  # the name of the variable, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The surroundings of one run. Places and names are its own; every other setting has its default."""

    folder: Path
    simulator: Simulator
    config: PipelineConfig
    environ: Mapping[str, str]
    """What a worker process needs to work here."""
    topics: Topics
    broker: Broker
    admin: Admin

    @property
    def lake(self) -> Path:
        """Where the lake lies."""
        return Path(self.config.lake_location)


@asynccontextmanager
async def open_site(folder: Path, servers: str, simulated: SimulatorSettings) -> AsyncIterator[Site]:
    """Start everything but the workers. The simulator serves from this process."""
    async with AsyncExitStack() as stack:
        simulator = Simulator(simulated)
        await asyncio.to_thread(simulator.feed)
        await stack.enter_async_context(simulator)
        settings = _settings(folder, servers, simulator)
        config = load_config(None, settings, {})
        broker = open_broker(config, {})
        stack.push_async_callback(broker.close)
        admin = broker.admin()
        stack.push_async_callback(admin.close)
        topics = Topics.from_config(config)
        await admin.create_topics(new_topics(topics, config))
        yield Site(
            folder=folder,
            simulator=simulator,
            config=config,
            environ={name.upper(): value for name, value in settings.items()} | {_TOKEN_VARIABLE: simulator.token},
            topics=topics,
            broker=broker,
            admin=admin,
        )


@asynccontextmanager
async def working(site: Site, kinds: Sequence[WorkerKind] = tuple(WorkerKind)) -> AsyncIterator[Crew]:
    """Run a process of each worker; give them once all are ready, and stop them at the end.

    Raises RuntimeError if one ended by itself, or did not end well.
    """
    crew = Crew(site.config, site.environ, site.folder)
    try:
        for kind in kinds:
            crew.start(Member(kind=kind, number=0))
        await crew.ready()
        yield crew
        await crew.stop()
    finally:
        await crew.close()
    if crew.faults:
        raise RuntimeError(f"workers had faults: {'; '.join(crew.faults)}")


def _settings(folder: Path, servers: str, simulator: Simulator) -> dict[str, str]:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    defaults = load_config(None, {}, {})
    return {
        "data_dir": str(folder),
        "claimx_api_url": simulator.api_url,
        "claimx_api_token_env": _TOKEN_VARIABLE,
        "claimx_api_sender_username": "bench@example.com",
        "allow_private_download_hosts": ",".join(simulator.download_hosts),
        "kafka_bootstrap_servers": servers,
        "kafka_group_prefix": f"{run}.",
    } | {
        name: f"{run}.{getattr(defaults, name)}"
        for name in PipelineConfig.model_fields
        if name.startswith("claimx_") and name.endswith(("_topic", "_topic_prefix"))
    }
