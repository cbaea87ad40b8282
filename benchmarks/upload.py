"""How fast files come into the lake, beside azure-storage-blob's own async client.

The storage is Azurite, one thread of Node on the same cores: its share is in every side. Files of the disk go up as
the uploader puts them; the same bytes go up as direct mode streams them, hashed on the way, their end not known before.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvloop
from azure.storage.blob.aio import ContainerClient

from benchmarks.files import FULL, PAIRS_FULL, PAIRS_QUICK, QUICK, FileSet
from benchmarks.parts import azurite
from benchmarks.result import Better, Bound, Measurement
from benchmarks.spent import Spent, spending
from kafka_pipeline.claimx.lake import lake_location
from kafka_pipeline.common.lake.objects import CHUNK_BYTES, CONCURRENT_PARTS, ObjectStore
from kafka_pipeline.common.lake.upload import PARTS_IN_FLIGHT
from kafka_pipeline.config import PipelineConfig

AT_ONCE: Final = PipelineConfig().upload_concurrency
"""Files on their way at once, on every side."""
PIECE_BYTES: Final = 1 << 20
"""Direct mode streams what a download gathers, in pieces of at most so much."""
REACH: Final = 1.0


def measure(*, quick: bool) -> list[Measurement]:
    """Measure small files and large ones, ours both ways and the client's in turn."""
    sets, pairs = (QUICK, PAIRS_QUICK) if quick else (FULL, PAIRS_FULL)
    spent = [_Spent(files) for files in sets]
    with TemporaryDirectory(prefix="bench-") as folder:
        for files in sets:
            (Path(folder) / files.name).mkdir()
            for number in files.numbers():
                files.write(number, Path(folder) / files.name / str(number))
        for pair in range(pairs):
            # An Azurite for each pair: what it stored before, and what of that it cleans up, is in nobody's time.
            with azurite() as environment:
                for each in spent:
                    site = _Site(environment=environment, files=each.files, folder=Path(folder) / each.files.name)
                    each.add_pair(site, client_first=pair % 2 == 0, settled=not quick)
    return [each.compared(side) for each in spent for side in _OURS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """Azurite, and the files of the disk that are to go there."""

    environment: Mapping[str, str]
    files: FileSet
    folder: Path

    @property
    def server(self) -> str:
        """Where Azurite listens."""
        return self.environment["AZURE_STORAGE_ENDPOINT"]

    @property
    def container(self) -> str:
        """The container that the lake is in."""
        return self.environment["LAKE_URL"].removeprefix("az://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Where in the container the lake's files are."""
        return self.environment["LAKE_URL"].removeprefix(f"az://{self.container}/") + "/Files/"

    def path(self, side: str, number: int) -> str:
        """Return a file's path among them."""
        return f"{self.files.name}/{side}/{number}/photo.jpg"

    def local(self, number: int) -> Path:
        """Return a file of the disk."""
        return self.folder / str(number)

    def lake(self) -> ObjectStore:
        """Return the files of a lake there."""
        config = PipelineConfig(
            lake_url=self.environment["LAKE_URL"],
            azure_storage_account=self.environment["AZURE_STORAGE_ACCOUNT"],
            azure_storage_endpoint=self.server,
        )
        return ObjectStore.at(lake_location(config, self.environment))

    def client(self) -> ContainerClient:
        """Return the client, with parts as large as ours."""
        return ContainerClient(
            self.server,
            self.container,
            credential={
                "account_name": self.environment["AZURE_STORAGE_ACCOUNT"],
                "account_key": self.environment["AZURE_STORAGE_KEY"],
            },
            max_block_size=CHUNK_BYTES,
        )


async def _cached(site: _Site) -> Spent:
    """Put files of the disk, as the uploader does."""
    lake = site.lake()
    return await _all(site, lambda number: lake.put_file(site.path("cached", number), site.local(number)))


async def _direct(site: _Site) -> Spent:
    """Stream the bytes, as direct mode does."""
    lake = site.lake()

    async def stream(number: int) -> None:
        upload = lake.upload(site.path("direct", number))
        await upload.open()
        with site.local(number).open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                await upload.write(piece)
        await upload.finish()

    return await _all(site, stream)


async def _client(site: _Site) -> Spent:
    """Upload files of the disk with the client, as many parts at once as ours."""
    async with site.client() as container:

        async def upload(number: int) -> None:
            with site.local(number).open("rb") as file:
                path = site.prefix + site.path("client", number)
                await container.upload_blob(path, file, overwrite=True, max_concurrency=CONCURRENT_PARTS)

        return await _all(site, upload)


_OURS: Final[Mapping[str, Callable[[_Site], Coroutine[Any, Any, Spent]]]] = {"cached": _cached, "direct": _direct}


async def _all(site: _Site, put: Callable[[int], Awaitable[object]]) -> Spent:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await put(number)

    with spending(site.server) as spent:
        await asyncio.gather(*(one(number) for number in site.files.numbers()))
    return spent


async def _check(site: _Site, side: str) -> None:
    """See that all files of a side are there, and that the last one's bytes are its own."""
    files = site.files
    digest, last = hashlib.sha256(), files.count - 1
    async with site.client() as container:
        sizes = {each.name: each.size async for each in container.list_blobs(f"{site.prefix}{files.name}/{side}/")}
        if sizes != {site.prefix + site.path(side, number): files.size_bytes for number in files.numbers()}:
            raise RuntimeError(f"what was uploaded ({side}) is not what should be there")
        async for piece in (await container.download_blob(site.prefix + site.path(side, last))).chunks():
            digest.update(piece)
    if digest.hexdigest() != files.sha256(last):
        raise RuntimeError(f"a file was uploaded ({side}) with other bytes than it has")


class _Spent:
    """What each side spent on the files of a set, run by run."""

    def __init__(self, files: FileSet) -> None:
        self.files = files
        self._runs: dict[str, list[Spent]] = {side: [] for side in ("client", *_OURS)}

    def add_pair(self, site: _Site, *, client_first: bool, settled: bool) -> None:
        """Run each side once. `settled`: what a side left to be written is on the disk before the next one begins."""
        sides = [*_OURS.items(), ("client", _client)]
        for side, run in reversed(sides) if client_first else sides:
            if settled:
                os.sync()
            self._runs[side].append(uvloop.run(run(site)))
            uvloop.run(_check(site, side))

    def compared(self, side: str) -> Measurement:
        """Return one of our ways beside the client."""
        files, ours, client = self.files, self._runs[side], self._runs["client"]
        ratio = round(median(theirs.wall_s / our.wall_s for our, theirs in zip(ours, client, strict=True)), 3)
        return Measurement(
            name=f"upload.{side}_{files.name}",
            what="files of the cache, as the uploader puts them" if side == "cached" else "streamed, as in direct mode",
            yardstick=f"azure-storage-blob {metadata.version('azure-storage-blob')}, its async client",
            unit="MiB/s",
            ours=round(files.total_mib / median(each.wall_s for each in ours), 1),
            beside=round(files.total_mib / median(each.wall_s for each in client), 1),
            ratio=ratio,
            better=Better.HIGHER,
            sizes={
                "files": files.count,
                "file_bytes": files.size_bytes,
                "at_once": AT_ONCE,
                "parts_at_once": CONCURRENT_PARTS if side == "cached" else PARTS_IN_FLIGHT,
                "client_parts_at_once": CONCURRENT_PARTS,
                "part_bytes": CHUNK_BYTES,
                "pairs": len(ours),
            },
            figures={
                "cpu_s": round(median(each.cpu_s for each in ours), 2),
                "client_cpu_s": round(median(each.cpu_s for each in client), 2),
                "wall_s": round(median(each.wall_s for each in ours), 2),
                "client_wall_s": round(median(each.wall_s for each in client), 2),
                "azurite_cpu_s": round(median(each.server_cpu_s for each in ours), 2),
                "azurite_cpu_beside_client_s": round(median(each.server_cpu_s for each in client), 2),
            },
            bounds=[Bound(what="of the client's throughput", value=ratio, at_least=REACH)],
        )
