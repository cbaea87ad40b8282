"""Everything a run needs around the workers: simulated ClaimX behind proxies, topics, a lake in a folder."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.proxy import FaultProxy
from chaos.schedule import SESSION_S
from kafka_pipeline.claimx.broker import new_topics, open_broker
from kafka_pipeline.claimx.topics import Topics
from kafka_pipeline.common.messaging import Admin, Broker
from kafka_pipeline.config import PipelineConfig, load_config
from kafka_pipeline.simulator.fault_script import parse_fault_script
from kafka_pipeline.simulator.faults import NO_FAULTS, FaultScript
from kafka_pipeline.simulator.poison import Poison, choose_poison
from kafka_pipeline.simulator.settings import SimulatorSettings
from kafka_pipeline.simulator.simulator import Simulator

TOKEN_VARIABLE = "CLAIMX_API_TOKEN"  # noqa: S105  # the name of the variable, not a token

_WEATHER = b"""
faults:
  - {fail: 0.05, times: 1}
  - {throttle: 0.02, retry_after: 1s, times: 1}
  - {expired: 0.05, times: 1}
  - {latency: 0s, jitter: 40ms, endpoint: all}
"""
"""Small faults beside the blows: each thing is struck once at most, so that it has attempts left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The surroundings of one run."""

    simulator: Simulator
    poison: Poison
    weather: FaultScript
    api: FaultProxy
    storage: FaultProxy
    config: PipelineConfig
    settings: Mapping[str, str]
    """The configuration as texts, for processes."""
    topics: Topics
    broker: Broker
    admin: Admin

    @property
    def lake(self) -> Path:
        """Where the lake lies."""
        return Path(self.config.lake_location)

    def turn_foul(self) -> None:
        """Let the weather begin; until now ClaimX failed only what is poisoned."""
        self.simulator.put_faults(_with(self.poison, self.weather))

    def environ(self) -> dict[str, str]:
        """Return what a worker process needs to work here."""
        return {name.upper(): value for name, value in self.settings.items()} | {TOKEN_VARIABLE: self.simulator.token}


@asynccontextmanager
async def open_site(folder: Path, bootstrap: str, *, seed: int, events: int) -> AsyncIterator[Site]:
    """Start everything but the workers."""
    async with AsyncExitStack() as stack:
        api, storage = [await stack.enter_async_context(FaultProxy()) for _ in range(2)]
        simulator = Simulator(
            SimulatorSettings(
                seed=seed,
                events=events,
                projects=max(12, events // 8),
                api_reached_at=api.address,
                storage_reached_at=storage.address,
            )
        )
        simulator.feed()
        await stack.enter_async_context(simulator)
        api.target, storage.target = simulator.listening
        poison = choose_poison(seed, simulator.feed(), simulator.truth())
        simulator.put_faults(_with(poison, NO_FAULTS))
        settings = _settings(folder, bootstrap, simulator)
        config = load_config(None, settings, {})
        broker = open_broker(config, {})
        stack.push_async_callback(broker.close)
        admin = broker.admin()
        stack.push_async_callback(admin.close)
        topics = Topics.from_config(config)
        await admin.create_topics(new_topics(topics, config))
        yield Site(
            simulator=simulator,
            poison=poison,
            weather=replace(parse_fault_script(_WEATHER), seed=seed),
            api=api,
            storage=storage,
            config=config,
            settings=settings,
            topics=topics,
            broker=broker,
            admin=admin,
        )


def _with(poison: Poison, weather: FaultScript) -> FaultScript:
    return replace(weather, faults=(*poison.faults(), *weather.faults))


def _settings(folder: Path, bootstrap: str, simulator: Simulator) -> dict[str, str]:
    run = f"chaos-{uuid.uuid4().hex[:8]}"
    defaults = load_config(None, {}, {})
    return {
        "data_dir": str(folder),
        "claimx_api_url": simulator.api_url,
        "claimx_api_token_env": TOKEN_VARIABLE,
        "claimx_api_sender_username": "chaos@example.com",
        "claimx_api_timeout_seconds": "5",
        "claimx_breaker_reset_seconds": "2",
        "claimx_retry_delays_seconds": "1,2,4,8",
        "allow_private_download_hosts": ",".join(simulator.download_hosts),
        "delta_flush_seconds": "0.5",
        "dead_letter_max_share": "1",  # a short run with poison in it is no flood
        "kafka_bootstrap_servers": bootstrap,
        "kafka_group_prefix": f"{run}.",
        "kafka_topic_partitions": "4",
        "kafka_session_timeout_seconds": str(SESSION_S),
        "kafka_max_poll_interval_seconds": "25",
        "shutdown_timeout_seconds": "20",
        "log_format": "json",
    } | {
        name: f"{run}.{getattr(defaults, name)}"
        for name in PipelineConfig.model_fields
        if name.startswith("claimx_") and name.endswith(("_topic", "_topic_prefix"))
    }
