"""Tables of millions of rows, laid out as `claimx-maintain` leaves them: full files in key order that share no key.

Rows are numbered, a later one has the greater key: so ClaimX numbers its media, and so the ingester makes event ids.
They are made and written a file at a time, so that memory does not grow with the table.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from kafka_pipeline.claimx.schemas.event_id import derive_event_id
from kafka_pipeline.claimx.schemas.events import EventType
from kafka_pipeline.claimx.writers.tables import EVENTS, MEDIA
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.layout import Limits
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.maintenance import TableKeeper
from kafka_pipeline.common.lake.tables import TableSpec

FIRST_MEDIA = 20_000_000
"""The ids of all rows have as many digits, so that their order as text is that of their numbers."""
DAY = datetime(2026, 3, 2, tzinfo=UTC)
EVENT_EVERY = timedelta(milliseconds=8)
"""Ten million events and some more are within the day."""

_PROBE_ROWS = 20_000
_FULL = 0.9
"""How full files are: a little less than the size at which the library would begin another."""
_US = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Make = Callable[[range], pa.Table]
Columns: TypeAlias = dict[str, "pa.Array[Any]"]


def build(spec: TableSpec, location: LakeLocation, make: Make, rows: int) -> None:
    """Write the table. Raises RuntimeError if the upkeep would find anything to do: then it is not laid out by it."""
    DeltaStore(location).ensure(spec)
    table = DeltaTable(location.table_uri(spec.name))
    files = -(-rows // _rows_per_file(make))
    for number in range(files):
        some = make(range(rows * number // files, rows * (number + 1) // files))
        write_deltalake(table, some.combine_chunks(), mode="append")
    keeper = TableKeeper(spec, location)
    keeper.checkpoint()
    survey = keeper.survey()
    if survey is None or survey.steps or survey.files != files or rows_of(spec, location) != rows:
        raise RuntimeError(f"{spec.name} is not laid out as upkeep leaves it")


def copied(spec: TableSpec, location: LakeLocation, folder: Path) -> LakeLocation:
    """Return a lake with a copy of the table. Its files are shared: nobody ever changes a file of a table."""
    target = LakeLocation.parse(folder)
    source = Path(location.table_uri(spec.name))
    for path in source.rglob("*"):
        if path.is_file():
            link = Path(target.table_uri(spec.name)) / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    return target


def rows_of(spec: TableSpec, location: LakeLocation) -> int:
    """Return how many rows the table has, as its log counts them."""
    adds = pa.table(DeltaTable(location.table_uri(spec.name)).get_add_actions(flatten=True))
    return sum(each["num_records"] for each in adds.to_pylist())


def media(numbers: range) -> pa.Table:
    """Return rows of claimx_media, with the columns filled that the API usually fills."""
    count = len(numbers)
    times = _times(DAY - timedelta(days=400), timedelta(seconds=3), numbers)
    rng = random.Random(numbers.start)
    columns: Columns = {
        "media_id": pa.array([media_id(n) for n in numbers]),
        "project_id": pa.array([project_id(n) for n in numbers]),
        "task_assignment_id": pa.array([str(8_200_000 + n) if n % 5 == 0 else None for n in numbers], pa.string()),
        "file_type": pa.repeat("jpg", count),
        "file_name": pa.array([f"IMG_{n % 10_000:04}.jpg" for n in numbers]),
        "media_comment": pa.array([f"Room {n % 9}" if n % 3 == 0 else None for n in numbers], pa.string()),
        "gps_source": pa.repeat("EXIF", count),
        "taken_date": pa.array([f"2026-03-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:00Z" for n in numbers]),
        "latitude": pa.array([round(30 + 10 * rng.random(), 6) for _ in numbers]),
        "longitude": pa.array([round(-100 + 10 * rng.random(), 6) for _ in numbers]),
        "full_download_link": pa.array(
            [f"https://files.example.com/{project_id(n)}/{media_id(n)}/IMG_{n % 10_000:04}.jpg" for n in numbers]
        ),
        "expires_at": times,
        "source_event_id": pa.array([_uuid(rng) for _ in numbers]),
        "created_at": times,
        "updated_at": times,
        "last_enriched_at": times,
    }
    return _table(MEDIA, columns, count)


def media_id(number: int) -> str:
    """Return the key of a row of media."""
    return str(FIRST_MEDIA + number)


def project_id(number: int) -> str:
    """Return the project of a row; some sixteen rows in a row have the same."""
    return str(900_000 + number // 16 % 90_000)


def events(numbers: range) -> pa.Table:
    """Return rows of claimx_events, all of one day, as they come from `event_payload`."""
    count = len(numbers)
    times = _times(DAY, EVENT_EVERY, numbers)
    ids = [
        derive_event_id(
            event_type=EventType.PROJECT_FILE_ADDED.value,
            project_id=project_id(n),
            ingested_at=DAY + n * EVENT_EVERY,
            media_id=media_id(n),
        )
        for n in numbers
    ]
    columns: Columns = {
        "event_id": pa.array(ids),
        "event_type": pa.repeat(EventType.PROJECT_FILE_ADDED.value, count),
        "project_id": pa.array([project_id(n) for n in numbers]),
        "media_id": pa.array([media_id(n) for n in numbers]),
        "raw_data": pa.array([event_payload(n).decode() for n in numbers]),
        "ingested_at": times,
        "created_at": times,
        "event_date": pa.repeat(pa.scalar(DAY.date()), count),
    }
    return _table(EVENTS, columns, count)


def event_payload(number: int) -> bytes:
    """Return the event as the feed sends it."""
    return orjson.dumps(
        {
            "eventType": EventType.PROJECT_FILE_ADDED.value,
            "projectId": project_id(number),
            "mediaId": media_id(number),
            "masterFileName": None,
            "IngestionTime": f"{DAY + number * EVENT_EVERY:%Y-%m-%dT%H:%M:%S.%f}7Z",
        }
    )


def _rows_per_file(make: Make) -> int:
    sink = pa.BufferOutputStream()
    pq.write_table(make(range(_PROBE_ROWS)), sink, compression="snappy")
    return int(Limits().target_bytes * _FULL * _PROBE_ROWS / sink.getvalue().size)


def _table(spec: TableSpec, columns: Columns, count: int) -> pa.Table:
    arrays = [columns.get(column.name, pa.nulls(count)).cast(column.type) for column in spec.columns]
    return pa.Table.from_arrays(arrays, schema=spec.schema)


def _times(first: datetime, step: timedelta, numbers: range) -> pa.Array[Any]:
    begin, every = (first - _EPOCH) // _US, step // _US
    return pa.array([begin + every * n for n in numbers]).cast(pa.timestamp("us", tz="UTC"))


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
