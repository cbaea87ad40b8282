"""Topics, messages and committed offsets in one SQLite file."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kafka_pipeline.common.messaging.errors import BrokerRefusedError, BrokerUnavailableError, TopicRefusedError
from kafka_pipeline.common.messaging.protocols import Watermarks
from kafka_pipeline.common.messaging.record import Headers, Message, Record, TopicPartition

OFFSET_BITS = 40
"""A message's row id is its partition's number shifted by these, plus its offset: one integer key, so a partition lies
together in offset order and a read is a range scan. A million millions of messages fit in each partition."""

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for another process's write: far longer than any transaction here takes."""

MAX_READ_BYTES = 16 << 20
"""What one read brings into memory at most (I9), but for the first message, which always comes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0,
    high INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)
);
CREATE TABLE IF NOT EXISTS messages (
    position INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    key BLOB,
    value BLOB,
    headers BLOB
);
CREATE TABLE IF NOT EXISTS committed (
    consumer_group TEXT NOT NULL,
    number INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, number)
) WITHOUT ROWID;
"""


class Slice(NamedTuple):
    """What to read of a partition: everything from `offset` on."""

    partition: TopicPartition
    offset: int


class EmbeddedLog:
    """One connection to the file. Blocks; used by one thread at a time.

    All methods raise BrokerUnavailableError where the file cannot be used now, BrokerRefusedError where it is no log
    of ours, and TopicRefusedError for a topic or partition that does not exist.
    """

    def __init__(self, path: Path, *, now_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self._path = path
        self._now_ms = now_ms
        self._numbers: dict[TopicPartition, int] = {}
        self._partition_counts: dict[str, int] = {}
        self._turns = itertools.count()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        with self._answering():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                # No fsync per commit. A killed process loses nothing: the pages are the kernel's. A power cut may lose
                # the last commits, but never one before another: messages and offsets are in this one file, so what
                # is left is what was there a moment earlier, and the work since then is simply done again.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
                connection.executescript(SCHEMA)
            except BaseException:
                connection.close()
                raise
            return connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def version(self) -> int:
        """Return a number that changes whenever another connection, of this process or another, commits."""
        with self._answering():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version)

    # Topics

    def create(self, topics: Mapping[str, int]) -> frozenset[str]:
        """Create the topics that are missing, with so many partitions; return their names."""
        for name, count in topics.items():
            if count < 1:
                raise BrokerRefusedError(f"create topic {name}: {count} partitions")
        with self._writing():
            missing = {name: count for name, count in topics.items() if name not in self._load_topics()}
            self._connection.executemany(
                "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
                [(name, partition) for name, count in missing.items() for partition in range(count)],
            )
            return frozenset(missing)

    def topics(self) -> dict[str, int]:
        """Return all topics with their number of partitions."""
        with self._answering():
            return dict(self._load_topics())

    def require(self, topics: Iterable[str]) -> list[TopicPartition]:
        """Return all partitions of these topics."""
        with self._answering():
            return [TopicPartition(topic, number) for topic in topics for number in range(self._count(topic))]

    def watermarks(self, partition: TopicPartition) -> Watermarks:
        """Return the first offset that is there and the next one to be written."""
        with self._answering():
            row = self._connection.execute(
                "SELECT low, high FROM partitions WHERE number = ?", (self._number(partition),)
            )
            return Watermarks(*row.fetchone())

    # Messages

    def append(self, messages: Sequence[Message]) -> dict[TopicPartition, int]:
        """Write all or none, in order; return the high watermarks of the partitions written to.

        A key decides its partition by CRC-32; messages without a key go round in turn.
        """
        with self._writing():
            now_ms = self._now_ms()
            highs: dict[TopicPartition, int] = {}
            rows = []
            for message in messages:
                partition = self._partition_of(message)
                offset = highs.get(partition)
                if offset is None:
                    offset = self.watermarks(partition).high
                highs[partition] = offset + 1
                stamp = now_ms if message.timestamp_ms is None else message.timestamp_ms
                position = (self._number(partition) << OFFSET_BITS) + offset
                rows.append((position, stamp, message.key, message.value, pack(message.headers)))
            self._connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", rows)
            self._connection.executemany(
                "UPDATE partitions SET high = ? WHERE number = ?",
                [(high, self._number(partition)) for partition, high in highs.items()],
            )
            return highs

    def read(self, slices: Sequence[Slice], max_records: int) -> list[Record]:
        """Return up to `max_records`, slice after slice, in offset order within each."""
        records: list[Record] = []
        size = 0
        with self._answering():
            for (topic, partition), offset in slices:
                first = self._number(TopicPartition(topic, partition)) << OFFSET_BITS
                with contextlib.closing(
                    self._connection.execute(
                        "SELECT position, timestamp_ms, key, value, headers FROM messages "
                        "WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
                        (first + offset, first + (1 << OFFSET_BITS), max_records - len(records)),
                    )
                ) as rows:
                    for position, timestamp_ms, key, value, headers in rows:
                        records.append(
                            Record(
                                topic=topic,
                                partition=partition,
                                offset=position - first,
                                key=key,
                                value=value,
                                headers=unpack(headers) if headers else (),
                                timestamp_ms=timestamp_ms,
                            )
                        )
                        size += len(value or b"")
                        if size >= MAX_READ_BYTES:
                            return records
                if len(records) >= max_records:
                    return records
        return records

    def delete(self, before: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Delete what lies below these offsets; return the new low watermarks."""
        lows = {}
        with self._writing():
            for partition, offset in before.items():
                low, high = self.watermarks(partition)
                if offset > high:
                    raise BrokerRefusedError(f"delete records of {partition}: {offset} is past its end, {high}")
                lows[partition] = max(low, offset)
                number = self._number(partition)
                first = number << OFFSET_BITS
                self._connection.execute(
                    "DELETE FROM messages WHERE position >= ? AND position < ?", (first, first + lows[partition])
                )
                self._connection.execute("UPDATE partitions SET low = ? WHERE number = ?", (lows[partition], number))
        return lows

    # Committed offsets

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offsets of a group."""
        with self._writing():
            self._connection.executemany(
                "INSERT INTO committed VALUES (?, ?, ?) "
                "ON CONFLICT (consumer_group, number) DO UPDATE SET next_offset = excluded.next_offset",
                [(group, self._number(partition), offset) for partition, offset in offsets.items()],
            )

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the stored offsets of a group, where there are any."""
        found = {}
        with self._answering():
            for partition in partitions:
                row = self._connection.execute(
                    "SELECT next_offset FROM committed WHERE consumer_group = ? AND number = ?",
                    (group, self._number(partition)),
                ).fetchone()
                if row is not None:
                    found[partition] = int(row[0])
        return found

    # Within

    def _partition_of(self, message: Message) -> TopicPartition:
        count = self._count(message.topic)
        turn = next(self._turns) if message.key is None else zlib.crc32(message.key)
        return TopicPartition(message.topic, turn % count)

    def _count(self, topic: str) -> int:
        count = self._partition_counts.get(topic) or self._load_topics().get(topic)
        if count is None:
            raise TopicRefusedError(f"unknown topic: {topic}")
        return count

    def _number(self, partition: TopicPartition) -> int:
        number = self._numbers.get(partition)
        if number is None:
            self._load_topics()
            number = self._numbers.get(partition)
        if number is None:
            raise TopicRefusedError(f"unknown topic or partition: {partition}")
        return number

    def _load_topics(self) -> dict[str, int]:
        """Read the topics anew: another process may have made some. None ever goes, so what is known stays true."""
        counts: dict[str, int] = {}
        for number, topic, partition in self._connection.execute("SELECT number, topic, partition FROM partitions"):
            self._numbers[TopicPartition(topic, partition)] = number
            counts[topic] = counts.get(topic, 0) + 1
        self._partition_counts = counts
        return counts

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the write lock of the file for one transaction."""
        with self._answering():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                self._forget()
                raise

    def _forget(self) -> None:
        """Forget what was read inside a transaction that did not happen."""
        self._numbers = {}
        self._partition_counts = {}

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError) as error:
            raise BrokerUnavailableError(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise BrokerRefusedError(f"{self._path}: {error}") from error


_LENGTHS = struct.Struct(">HI")


def pack(headers: Headers) -> bytes | None:
    """Return headers as bytes: length of name and value, name, value, and so on. None where there are none."""
    if not headers:
        return None
    packed = bytearray()
    for name, value in headers:
        encoded = name.encode()
        packed += _LENGTHS.pack(len(encoded), len(value)) + encoded + value
    return bytes(packed)


def unpack(packed: bytes) -> Headers:
    """Return the headers that `pack` made bytes of."""
    headers = []
    at = 0
    while at < len(packed):
        name_length, value_length = _LENGTHS.unpack_from(packed, at)
        name_at = at + _LENGTHS.size
        value_at = name_at + name_length
        at = value_at + value_length
        headers.append((packed[name_at:value_at].decode(), packed[value_at:at]))
    return tuple(headers)
