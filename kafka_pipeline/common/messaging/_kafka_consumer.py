"""A member of a Kafka consumer group: whole batches cross from the thread of the blocking client to asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException

from kafka_pipeline.common.messaging._kafka_commit import Answer, Commits, Serve, commit_now
from kafka_pipeline.common.messaging._kafka_errors import (
    NOBODY_ANSWERS,
    RIGHTS,
    STALE_GENERATION,
    UNKNOWN_TOPIC,
    ClientVoice,
    answer_of,
    commit_error,
    connected,
    request_error,
)
from kafka_pipeline.common.messaging._kafka_membership import Finding, Membership
from kafka_pipeline.common.messaging._kafka_settings import KafkaSettings
from kafka_pipeline.common.messaging._kafka_thread import ConsumerThread
from kafka_pipeline.common.messaging.errors import (
    BrokerRefusedError,
    CommitError,
    FencedError,
    MessagingError,
)
from kafka_pipeline.common.messaging.metrics import CLIENTS_REPLACED
from kafka_pipeline.common.messaging.protocols import Offsets, RebalanceListener
from kafka_pipeline.common.messaging.record import NO_TIMESTAMP, Headers, Record, TopicPartition

_log = structlog.get_logger(__name__)
T = TypeVar("T")
_Commit = Callable[[confluent_kafka.Consumer, list[confluent_kafka.TopicPartition]], Answer]

SLICE_S = 0.1
"""Longest uninterruptible wait in the thread: what a pause, a commit or a close waits at most for a quiet poll."""

STALE_RETRIES = 10
STALE_PAUSE_S = 0.1
"""A commit in the middle of a cooperative rebalance is refused although the partition may stay ours: asked again for
about a second, which is longer than a rebalance among live members takes."""

LOOK_TIMEOUT_S = 2.0
"""How long a broker may take to show that it is there."""

EARLY_RECORDS = 1_000
"""Records that may come while the thread waits for the answer to a commit (I9)."""

LET_GO_S = 5.0
"""How long a consumer that closes waits, beside its listener, for a rebalance under way to end."""

NEW_TOPIC_RETRIES = 4
NEW_TOPIC_PAUSE_S = 0.5
"""A topic made a moment ago may be unknown to the broker that we ask first."""


class KafkaConsumer:
    """The `Consumer` protocol on confluent-kafka. Its thread starts with `subscribe` and ends with `close`."""

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._voice = ClientVoice(settings.client_options, role="consumer")
        self._thread = ConsumerThread(f"kafka-consumer-{group}")
        self._commits = Commits()
        self._client: confluent_kafka.Consumer | None = None
        self._listener: RebalanceListener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._paused: frozenset[TopicPartition] = frozenset()
        self._hurry = threading.Event()
        self._fetching: asyncio.Future[list[Record]] | None = None
        self._orphaned = False  # the caller of that fetch was cancelled
        self._asking = False  # the thread waits for the listener
        self._left: list[Record] = []
        self._early: list[Record] = []  # came while the thread waited for something else; the next fetch has them
        self._held: frozenset[TopicPartition] = frozenset()  # paused meanwhile, so that no more of them come
        self._complaint: MessagingError | None = None
        self._topics: list[str] = []
        self._membership = Membership(settings.session_timeout_s)
        self._closing: asyncio.Future[None] | None = None

    # What the worker calls, on the event loop.

    async def subscribe(self, topics: Sequence[str], listener: RebalanceListener) -> None:
        """Join the group for these topics. Raises BrokerUnavailableError or BrokerRefusedError."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        await self._call(partial(self._subscribe_in_thread, list(topics)))

    async def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Return what is there, as the protocol says. Raises BrokerRefusedError where one is closed to us.

        The first record is waited for, and what was already fetched comes with it: quick when quiet, full when busy.
        """
        if self._fetching is not None:  # an earlier caller went away; what its fetch brought is still to be handed out
            await self._settle()
        if not self._left:
            self._hurry.clear()
            self._fetching = asyncio.wrap_future(
                self._thread.submit(partial(self._fetch_in_thread, max_records, timeout_s))
            )
            await self._settle()
        batch, self._left = self._left[:max_records], self._left[max_records:]
        if not batch and self._complaint is not None:
            complaint, self._complaint = self._complaint, None
            raise complaint
        return batch

    async def commit(self, offsets: Offsets) -> None:
        """Store offsets durably. Raises FencedError where a partition is no longer ours, CommitError otherwise."""
        if offsets:
            await self._call(partial(self._commit_in_thread, dict(offsets)), anytime=True)

    async def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver nothing more from these until `resume`."""
        back = await self._take_back(partitions)
        await self._call(partial(self._pause_in_thread, frozenset(partitions), back), anytime=True)

    async def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver from these again."""
        await self._call(partial(self._resume_in_thread, frozenset(partitions)), anytime=True)

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Deliver this partition from `offset` on next. Ignored where it is not assigned."""
        await self._take_back([partition])
        await self._call(partial(self._seek_in_thread, partition, offset), anytime=True)

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are ours now."""
        return self._assigned

    async def close(self) -> None:
        """Revoke, leave the group, end the thread. Safe to call twice."""
        if self._closing is None:
            self._hurry.set()
            self._closing = asyncio.wrap_future(self._thread.submit(self._close_in_thread))
        await asyncio.shield(self._closing)
        self._thread.stop()
        if self._fetching is not None:
            await asyncio.wait([self._fetching])
            self._fetching.exception()  # nobody else will look at it
            self._fetching = None

    async def _call(self, call: Callable[[], T], *, anytime: bool = False) -> T:
        if self._closing is not None:
            raise CommitError("the consumer is closed") if anytime else BrokerRefusedError("the consumer is closed")
        return await asyncio.wrap_future(self._thread.submit(call, anytime=anytime))

    async def _settle(self) -> None:
        """Wait for the fetch under way and keep what it brings. A caller that goes away loses nothing."""
        if self._fetching is None:
            return
        try:
            await asyncio.wait([self._fetching])
        except asyncio.CancelledError:
            self._orphaned = True
            self._hurry.set()
            raise
        fetching, self._fetching, self._orphaned = self._fetching, None, False
        self._left += fetching.result()

    async def _take_back(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Take undelivered records of these partitions out of our hands; return where each of them began.

        Only after a cancelled poll is there anything in our hands at all.
        """
        if self._orphaned and not self._asking:  # a listener must not wait for the fetch that waits for the listener
            await self._settle()
        wanted = frozenset(partitions)
        back: dict[TopicPartition, int] = {}
        for record in self._left:
            if record.topic_partition in wanted:
                back.setdefault(record.topic_partition, record.offset)
        if back:
            self._left = [record for record in self._left if record.topic_partition not in back]
        return back

    # What happens in the thread.

    def _subscribe_in_thread(self, topics: list[str]) -> None:
        self._topics = topics
        client = self._client or self._new_client()
        try:
            self._require_topics(client, topics)
        except MessagingError:
            self._client = None  # the next try has a new one: see `Membership`
            client.close()
            raise
        self._client = client
        self._join(client)

    def _new_client(self) -> confluent_kafka.Consumer:
        options = self._settings.consumer(self._group) | self._voice.options() | self._commits.options()
        client: confluent_kafka.Consumer = connected(partial(confluent_kafka.Consumer, options), self._voice)
        return client

    def _join(self, client: confluent_kafka.Consumer) -> None:
        self._membership.begin(time.monotonic())
        try:
            client.subscribe(
                self._topics, on_assign=self._on_assigned, on_revoke=self._on_revoked, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise request_error(answer_of(error), f"subscribe {', '.join(self._topics)}") from None

    def _heal(self, client: confluent_kafka.Consumer) -> confluent_kafka.Consumer:
        """Return the client; a new one where this one has lost its group for good (`Membership`).

        Whether the broker is there is asked of the new one: what the old one is wrong about may be just that.
        """
        now_s = time.monotonic()
        if not self._membership.is_due(now_s) or self._membership.look(client.memberid(), now_s) is Finding.WELL:
            return client
        fresh = self._new_client()
        try:
            fresh.list_topics(self._topics[0], timeout=LOOK_TIMEOUT_S)
        except KafkaException:
            self._dispose_of(fresh)
            self._membership.begin(time.monotonic())
            return client
        self._replace(client, fresh)
        return fresh

    def _replace(self, client: confluent_kafka.Consumer, fresh: confluent_kafka.Consumer) -> None:
        CLIENTS_REPLACED.inc()
        _log.warning("kafka_consumer_replaced", group=self._group, cause="no place in its group")
        lost, self._client = self._assigned, fresh
        self._assigned = self._paused = self._held = frozenset()
        self._early = []
        if lost and self._listener is not None:
            self._ask(self._listener.on_lost(lost), "on_lost")
        self._dispose_of(client)
        self._join(fresh)

    def _dispose_of(self, client: confluent_kafka.Consumer) -> None:
        # A daemon, since nobody knows how long a client in such a state takes to close.
        threading.Thread(target=client.close, name=f"kafka-close-{self._group}", daemon=True).start()

    def _require_topics(self, client: confluent_kafka.Consumer, topics: list[str]) -> None:
        """Refuse unknown topics at once: librdkafka would wait for them without a word."""
        missing: list[str] = []
        for attempt in range(NEW_TOPIC_RETRIES):
            if attempt:
                time.sleep(NEW_TOPIC_PAUSE_S)
            try:
                known = client.list_topics(timeout=self._settings.request_timeout_s).topics
            except KafkaException as error:
                client.poll(0)  # hear what the error callback has to say
                if self._voice.refused:
                    raise BrokerRefusedError(f"credentials: {self._voice.refused}") from None
                raise request_error(answer_of(error), "metadata") from None
            missing = [topic for topic in topics if topic not in known or known[topic].error is not None]
            if not missing:
                return
        raise BrokerRefusedError(f"unknown topic: {', '.join(missing)}")

    def _fetch_in_thread(self, max_records: int, timeout_s: float) -> list[Record]:
        client = self._client
        if client is None:
            raise BrokerRefusedError("poll before subscribe, or after close")
        deadline = time.monotonic() + timeout_s
        while True:
            client = self._heal(client)
            if early := self._take_early(client):
                return early
            wait_s = min(SLICE_S, max(0.0, deadline - time.monotonic()))
            messages = client.consume(1, wait_s)
            if messages and max_records > 1:
                messages += client.consume(max_records - 1, 0)
            records = self._records(messages)
            if records or self._complaint or self._hurry.is_set() or time.monotonic() >= deadline:
                return records
            self._thread.serve_waiting()

    def _records(self, messages: list[confluent_kafka.Message]) -> list[Record]:
        """Convert a batch (the hot path). Records of partitions that a rebalance took during the fetch are not ours."""
        assigned = self._assigned
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._heed(error, message.topic())
                continue
            record = record_of(message)
            if (record.topic, record.partition) in assigned:
                records.append(record)
        return records

    def _heed(self, error: KafkaError, topic: str | None) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF or code in NOBODY_ANSWERS:  # noqa: SLF001  librdkafka's own name for it
            return
        _log.warning("kafka_consumer_event", group=self._group, topic=topic, code=error.name())
        if error.fatal() or code in UNKNOWN_TOPIC | RIGHTS:
            self._complaint = BrokerRefusedError(f"group {self._group}, topic {topic}: {error.name()}")

    def _serve_client(self, seconds: float) -> None:
        """Let the client answer and rebalance while the thread waits; keep what it brings for the next fetch."""
        client = self._client
        if client is None:
            return
        until_s = time.monotonic() + seconds
        while (wait_s := until_s - time.monotonic()) > 0:
            if len(self._early) >= EARLY_RECORDS and (more := self._assigned - self._paused - self._held):
                client.pause(_native(more))
                self._held |= more
            records = self._records(client.consume(1, wait_s))  # first: a rebalance in it may change what is kept
            self._early += records

    def _take_early(self, client: confluent_kafka.Consumer) -> list[Record]:
        """Hand out what came early, but for partitions that were paused since: theirs waits for the resume."""
        early = [record for record in self._early if record.topic_partition not in self._paused]
        self._early = [record for record in self._early if record.topic_partition in self._paused]
        if held := self._held - self._paused:
            client.resume(_native(held))
        self._held = frozenset()
        return early

    def _drop_early(self, partitions: frozenset[TopicPartition]) -> None:
        self._early = [record for record in self._early if record.topic_partition not in partitions]

    def _commit_in_thread(self, offsets: dict[TopicPartition, int]) -> None:
        if self._asking:  # the listener commits: we are inside a rebalance
            self._commit_ours(offsets, commit_now, time.sleep)
        else:
            ask = partial(self._commits.ask, timeout_s=self._settings.request_timeout_s, serve=self._serve_client)
            self._commit_ours(offsets, ask, self._serve_client)
        if gone := offsets.keys() - self._assigned:
            raise FencedError(f"not ours any more: {', '.join(sorted(map(str, gone)))}")

    def _commit_ours(self, offsets: Mapping[TopicPartition, int], commit: _Commit, pause: Serve) -> None:
        for attempt in range(STALE_RETRIES + 1):
            client = self._client
            if client is None:
                raise CommitError("the consumer is closed")
            # Anew each time: a rebalance may take some meanwhile, and commits more of them than we would.
            wanted = [
                confluent_kafka.TopicPartition(partition.topic, partition.partition, at)
                for partition, at in offsets.items()
                if partition in self._assigned
            ]
            error = commit(client, wanted) if wanted else None
            if error is None:
                return
            if error.code() not in STALE_GENERATION or attempt == STALE_RETRIES:
                raise commit_error(error)
            pause(STALE_PAUSE_S)

    def _pause_in_thread(self, partitions: frozenset[TopicPartition], back: Mapping[TopicPartition, int]) -> None:
        ours = partitions & self._assigned
        if self._client is not None and ours:
            self._client.pause(_native(ours))
            self._paused |= ours
        for partition, offset in back.items():
            self._seek_in_thread(partition, offset)

    def _resume_in_thread(self, partitions: frozenset[TopicPartition]) -> None:
        ours = partitions & self._paused
        if self._client is not None and ours:
            self._client.resume(_native(ours))
            self._paused -= ours

    def _seek_in_thread(self, partition: TopicPartition, offset: int) -> None:
        if self._client is None or partition not in self._assigned:
            return
        self._drop_early(frozenset({partition}))
        target = confluent_kafka.TopicPartition(partition.topic, partition.partition, offset)
        try:
            self._client.seek(target)
        except KafkaException:
            # Assigned a moment ago, its fetcher has not started yet and cannot seek; assigned anew, it starts there.
            self._client.incremental_unassign([target])
            self._client.incremental_assign([target])
            if partition in self._paused | self._held:
                self._client.pause([target])

    def _close_in_thread(self) -> None:
        client, self._left, self._early = self._client, [], []
        if client is not None:
            self._let_go(client)
            client.close()  # asks the listener as in a rebalance, if anything is left
        self._client = None
        self._assigned = self._paused = self._held = frozenset()

    def _let_go(self, client: confluent_kafka.Consumer) -> None:
        """Give up all partitions while the client is still a member: their last commit is heard, and `close` is quick.

        A client that closes in the middle of a rebalance is often refused its last commit: in 13 of 22 tries, with this
        in none of 12. Once, in `make chaos`, a worker that did so fell silent and never ended; why was not caught.
        Closing in a rebalance is known to hang (confluentinc/librdkafka#4884).
        """
        client.unsubscribe()
        deadline = time.monotonic() + self._settings.revoke_wait_s + LET_GO_S
        while self._assigned and time.monotonic() < deadline:
            client.consume(1, SLICE_S)  # what it brings is nobody's: it is not committed, so it comes again

    # Rebalances: called by librdkafka inside `consume` and `close`, in the thread.

    def _on_assigned(self, client: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        added = _ours(partitions)
        client.incremental_assign(partitions)
        self._assigned |= added
        if added and self._listener is not None:
            self._ask(self._listener.on_assigned(added), "on_assigned")

    def _on_revoked(self, client: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        if client is not self._client:  # one that was replaced, at its close
            client.incremental_unassign(partitions)
            return
        gone = _ours(partitions)
        if gone and self._listener is not None:
            answer = self._ask(self._listener.on_revoked(gone), "on_revoked") or {}
            offsets = {partition: offset for partition, offset in answer.items() if partition in gone}
            if offsets:
                self._commit_before_leaving(offsets)
        self._give_up(client, gone, partitions)

    def _on_lost(self, client: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        if client is not self._client:  # one that was replaced, at its close
            client.incremental_unassign(partitions)
            return
        lost = _ours(partitions)
        self._assigned -= lost  # before the listener is asked: it must not commit what someone else has
        if lost and self._listener is not None:
            self._ask(self._listener.on_lost(lost), "on_lost")
        self._give_up(client, lost, partitions)

    def _commit_before_leaving(self, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            self._commit_ours(offsets, commit_now, time.sleep)
        except CommitError as error:
            # The records will be delivered again, which every consumer tolerates (I6).
            _log.warning("revoke_commit_failed", group=self._group, error=str(error))

    def _give_up(
        self,
        client: confluent_kafka.Consumer,
        gone: frozenset[TopicPartition],
        native: list[confluent_kafka.TopicPartition],
    ) -> None:
        """Forget all about these, and let the client do so too.

        The client keeps a pause for as long as it lives: a partition that comes back would stay silent for ever.
        """
        if paused := gone & (self._paused | self._held):
            client.resume(_native(paused))
        self._assigned -= gone
        self._paused -= gone
        self._held -= gone
        self._drop_early(gone)
        self._left = [record for record in self._left if record.topic_partition not in gone]
        client.incremental_unassign(native)

    def _ask(self, call: Coroutine[Any, Any, T], what: str) -> T | None:
        """Have the listener's answer from the event loop, or None if it fails or takes longer than the budget."""
        if self._loop is None or self._loop.is_closed():
            call.close()
            return None
        answer = asyncio.run_coroutine_threadsafe(call, self._loop)
        self._asking = True
        try:
            self._thread.serve(answer, self._settings.revoke_wait_s)
            if answer.done():
                return answer.result()
            answer.cancel()
            _log.warning("rebalance_listener_too_slow", group=self._group, call=what)
        except Exception:  # noqa: BLE001  whatever a listener raises must not end the thread
            _log.exception("rebalance_listener_failed", group=self._group, call=what)
        finally:
            self._asking = False
        return None


def record_of(message: confluent_kafka.Message) -> Record:
    """Convert a message that is not an error. Called once a record: a microsecond matters here."""
    kind, timestamp_ms = message.timestamp()
    headers = message.headers()
    return Record(
        message.topic(),  # type: ignore[arg-type]  # only errors lack these
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        message.key(),
        message.value(),
        headers_of(headers) if headers else (),
        timestamp_ms if kind else NO_TIMESTAMP,
    )


def headers_of(headers: Any) -> Headers:  # noqa: ANN401  librdkafka's list of pairs
    """Return header pairs with bytes for values: Kafka's null becomes empty."""
    return tuple((name, _bytes(value)) for name, value in headers)


def _bytes(value: bytes | str | None) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else value.encode()


def _ours(partitions: Iterable[confluent_kafka.TopicPartition]) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(partition.topic, partition.partition) for partition in partitions)


def _native(partitions: Iterable[TopicPartition]) -> list[confluent_kafka.TopicPartition]:
    return [confluent_kafka.TopicPartition(topic, number) for topic, number in partitions]
