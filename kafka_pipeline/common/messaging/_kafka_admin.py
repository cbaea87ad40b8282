"""Looking at a Kafka cluster and shaping it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic as KafkaNewTopic

from kafka_pipeline.common.messaging._kafka_errors import ADMIN, ClientVoice, answer_of, connected, request_error
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings
from kafka_pipeline.common.messaging.errors import BrokerRefusedError, BrokerUnavailableError
from kafka_pipeline.common.messaging.protocols import NewTopic, Offsets, TopicFacts, Watermarks
from kafka_pipeline.common.messaging.record import TopicPartition

T = TypeVar("T")

VISIBLE_PAUSE_S = 0.05
"""Pause between looks whether a new topic has reached the brokers' metadata; usually the first look finds it."""

UNSETTLED_PAUSE_S = 0.1
"""Pause before a request is repeated that met a cluster in motion: a new topic, an election, a moved coordinator."""

UNSETTLED = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
"""Answers that say "ask again soon". Every request made here may be repeated without harm."""


class _UnsettledError(BrokerUnavailableError):
    """The cluster has not settled yet."""


class KafkaAdmin:
    """The `Admin` protocol on confluent-kafka. Its client and thread start with the first request."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._voice = ClientVoice(settings.client_options, role=ADMIN)
        self._client: AdminClient | None = None
        self._readers: dict[str, Consumer] = {}
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-admin")

    async def check(self, timeout_s: float) -> None:
        """Return if the cluster answers within the time."""
        try:
            await self._run(partial(self._metadata, timeout_s))
        except BrokerUnavailableError:
            where = self._settings.bootstrap_servers
            raise BrokerUnavailableError(
                f"Kafka at {where} does not answer: check kafka_bootstrap_servers and the network"
            ) from None

    async def create_topics(self, topics: Sequence[NewTopic]) -> frozenset[str]:
        """Create those that are missing, wait until the broker shows them, and return their names."""
        return await self._run(partial(self._create_topics, topics)) if topics else frozenset()

    async def topics(self) -> dict[str, int]:
        """Return all topics (internal ones, `__…`, left out) with their number of partitions."""
        return await self._run(self._topics)

    async def describe(self, topics: Collection[str]) -> dict[str, TopicFacts]:
        """Return how these topics are; those that are not there are left out."""
        return await self._run(partial(self._describe, topics)) if topics else {}

    async def watermarks(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Watermarks]:
        """Read the watermarks of these partitions."""
        return await self._run(partial(self._watermarks, partitions)) if partitions else {}

    async def group_offsets(self, group: str, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the committed offsets of a group; partitions without one are left out."""
        return await self._run(partial(self._group_offsets, group, partitions)) if partitions else {}

    async def delete_records(self, before: Offsets) -> dict[TopicPartition, int]:
        """Delete every record below the given offsets; return the new low watermarks."""
        return await self._run(partial(self._delete_records, before)) if before else {}

    async def close(self) -> None:
        """Free everything. Safe to call twice."""
        await asyncio.to_thread(self._close)
        self._client = None

    def _close(self) -> None:
        self._executor.shutdown(wait=True)
        while self._readers:
            self._readers.popitem()[1].close()

    async def _run(self, call: Callable[[AdminClient], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._in_thread, call)
        except RuntimeError as error:  # the executor's word for "shut down"
            raise BrokerRefusedError("the admin is closed") from error

    def _in_thread(self, call: Callable[[AdminClient], T]) -> T:
        if self._client is None:
            options = self._settings.common() | self._voice.options()
            self._client = connected(partial(AdminClient, options), self._voice)
        self._client.poll(0)  # old news
        self._voice.forget()
        deadline = time.monotonic() + self._settings.request_timeout_s
        while True:
            try:
                return call(self._client)
            except _UnsettledError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(UNSETTLED_PAUSE_S)

    def _metadata(self, timeout_s: float, client: AdminClient) -> ClusterMetadata:
        try:
            return client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise self._error(client, answer_of(error), f"Kafka at {self._settings.bootstrap_servers}") from None

    def _error(self, client: AdminClient, error: KafkaError, what: str) -> Exception:
        client.poll(0)  # hear what the error callback has to say
        if self._voice.refused is not None:
            return BrokerRefusedError(f"{what}: credentials: {self._voice.refused}")
        if error.code() in UNSETTLED:
            return _UnsettledError(f"{what}: {error.name()}")
        return request_error(error, what)

    def _results(self, client: AdminClient, futures: Mapping[Any, Future[Any]], what: str) -> dict[Any, Any]:
        """Wait for the answers of one request; the first refusal is raised, with the name of its object."""
        results = {}
        for key, future in futures.items():
            name = f"{key.topic}-{key.partition}" if isinstance(key, confluent_kafka.TopicPartition) else key
            try:
                # librdkafka itself answers in time; the second limit is for the case that it does not.
                results[key] = future.result(2 * self._settings.request_timeout_s)
            except KafkaException as error:
                raise self._error(client, answer_of(error), f"{what} {name}") from None
            except TimeoutError:
                raise BrokerUnavailableError(f"{what} {name}: no answer") from None
        return results

    def _topics(self, client: AdminClient) -> dict[str, int]:
        found = self._metadata(self._settings.request_timeout_s, client).topics
        return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}

    def _describe(self, topics: Collection[str], client: AdminClient) -> dict[str, TopicFacts]:
        found = self._metadata(self._settings.request_timeout_s, client).topics
        there = [name for name in topics if name in found and found[name].error is None]
        configs = self._configs(there, client) if there else {}
        return {
            name: TopicFacts(
                partitions=len(found[name].partitions),
                replication_factor=min(len(each.replicas) for each in found[name].partitions.values()),
                config=configs.get(name, {}),
            )
            for name in there
        }

    def _configs(self, topics: Collection[str], client: AdminClient) -> dict[str, dict[str, str]]:
        """Return the configuration in force; nothing where it is kept from us: to see it takes a right of its own."""
        asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics]
        futures = client.describe_configs(asked, request_timeout=self._settings.request_timeout_s)
        try:
            results = self._results(client, {each.name: future for each, future in futures.items()}, "configuration of")
        except BrokerRefusedError:
            return {}
        return {
            name: {each.name: each.value for each in entries.values() if each.value is not None}
            for name, entries in results.items()
        }

    def _create_topics(self, topics: Sequence[NewTopic], client: AdminClient) -> frozenset[str]:
        wanted = [
            # -1: as many replicas as the brokers' own default says
            KafkaNewTopic(
                topic.name, topic.partitions, replication_factor=topic.replication_factor, config=dict(topic.config)
            )
            for topic in topics
        ]
        created = set()
        for name, future in client.create_topics(wanted, request_timeout=self._settings.request_timeout_s).items():
            try:
                self._results(client, {name: future}, "create topic")
            except BrokerRefusedError:
                error = future.exception()
                if not isinstance(error, KafkaException) or answer_of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            else:
                created.add(name)
        deadline = time.monotonic() + self._settings.request_timeout_s
        while not self._led(client, created) and time.monotonic() < deadline:
            time.sleep(VISIBLE_PAUSE_S)
        return frozenset(created)

    def _led(self, client: AdminClient, topics: set[str]) -> bool:
        """Tell whether the brokers know these topics and a leader for each partition: before that, none can be used."""
        found = self._metadata(self._settings.request_timeout_s, client).topics
        return all(
            name in found and all(partition.leader >= 0 for partition in found[name].partitions.values())
            for name in topics
        )

    def _watermarks(
        self, partitions: Collection[TopicPartition], client: AdminClient
    ) -> dict[TopicPartition, Watermarks]:
        lows = self._list_offsets(client, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        highs = self._list_offsets(client, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {partition: Watermarks(lows[partition], highs[partition]) for partition in partitions}

    def _list_offsets(
        self, client: AdminClient, partitions: Iterable[TopicPartition], which: OffsetSpec
    ) -> dict[TopicPartition, int]:
        asked = {_native(partition): which for partition in partitions}
        # As far as our consumers read: what an open transaction holds back is not there yet.
        futures = client.list_offsets(
            asked,
            isolation_level=confluent_kafka.IsolationLevel.READ_COMMITTED,
            request_timeout=self._settings.request_timeout_s,
        )
        return {_ours(key): result.offset for key, result in self._results(client, futures, "offsets of").items()}

    def _group_offsets(
        self, group: str, partitions: Collection[TopicPartition], client: AdminClient
    ) -> dict[TopicPartition, int]:
        reader = self._reader(group)
        what = f"offsets of group {group}"
        reader.poll(0)  # old news
        try:
            answer = reader.committed([_native(each) for each in partitions], timeout=self._settings.request_timeout_s)
        except KafkaException as error:
            reader.poll(0)  # hear what the error callback has to say
            raise self._error(client, answer_of(error), what) from None
        for found in answer:
            if found.error is not None:
                raise self._error(client, found.error, what)
        return {_ours(found): found.offset for found in answer if found.offset >= 0}

    def _reader(self, group: str) -> Consumer:
        """Return a client that may ask for a group's offsets; it never joins the group.

        Not the admin client's `list_consumer_group_offsets`: librdkafka ends the process with a segmentation fault when
        the answer to that is "I am not the coordinator", as it is while a group's first offsets or a restart settle
        (librdkafka issue 5040).
        """
        if group not in self._readers:
            options = self._settings.common() | self._voice.options() | {"group.id": group, "enable.auto.commit": False}
            self._readers[group] = connected(partial(Consumer, options), self._voice)
        return self._readers[group]

    def _delete_records(self, before: Offsets, client: AdminClient) -> dict[TopicPartition, int]:
        asked = [_native(partition, offset) for partition, offset in before.items()]
        futures = client.delete_records(asked, request_timeout=self._settings.request_timeout_s)
        results = self._results(client, futures, "delete records of")
        return {_ours(key): result.low_watermark for key, result in results.items()}


def _native(partition: TopicPartition, offset: int = confluent_kafka.OFFSET_INVALID) -> confluent_kafka.TopicPartition:
    return confluent_kafka.TopicPartition(partition.topic, partition.partition, offset)


def _ours(partition: confluent_kafka.TopicPartition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)
