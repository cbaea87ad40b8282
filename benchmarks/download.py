"""How fast files come from presigned links into the cache, beside `curl --parallel`.

A real S3 (SeaweedFS) that runs on the same cores: its share is in both. Ours is the whole of the cached mode: links
judged, hosts gated, room in the cache reserved, bytes hashed, flushed to the disk and put in their place at once.
curl writes files, and leaves it to the kernel when they reach the disk.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import obstore
import uvloop
from obstore.store import S3Store

from benchmarks.files import FULL, PAIRS_FULL, PAIRS_QUICK, QUICK, FileSet
from benchmarks.parts import PartError, seaweedfs
from benchmarks.result import Better, Bound, Measurement
from benchmarks.spent import Spent, spending
from kafka_pipeline.claimx.schemas.tasks import ClaimXCachedDownload, ClaimXDownloadTask
from kafka_pipeline.claimx.transfers.cached import CacheTransfer
from kafka_pipeline.claimx.transfers.transfer import Fetcher
from kafka_pipeline.common.http.cache import FileCache
from kafka_pipeline.common.http.download import Downloader
from kafka_pipeline.common.http.guard import DownloadPolicy
from kafka_pipeline.common.http.hosts import HostGates
from kafka_pipeline.common.resilience.breaker import CircuitSettings
from kafka_pipeline.config import PipelineConfig

AT_ONCE = PipelineConfig().download_concurrency
"""Files on their way at once, on both sides."""
STORED_BYTES = 256 << 20
"""More than so much is not put into the store, whose volumes are small ones: objects are then downloaded again."""
REACH = 0.9
_LINK_LIFE = timedelta(hours=2)


def measure(*, quick: bool) -> list[Measurement]:
    """Measure small files and large ones, alternately ours and curl's."""
    program = shutil.which("curl")
    if program is None:
        raise PartError("curl is not on this machine, and it is what downloads are measured against")
    sets, pairs = (QUICK, PAIRS_QUICK) if quick else (FULL, PAIRS_FULL)
    with seaweedfs() as environment, TemporaryDirectory(prefix="bench-") as folder:
        ours, curl = _Ours(Path(folder)), _Curl(program, Path(folder))
        return [_measure(_Wanted.put(files, environment), ours, curl, pairs) for files in sets]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The files of a set, in a bucket: links to them by their numbers, and the hashes of what must come."""

    files: FileSet
    server: str
    objects: int
    links: Sequence[str]
    hashes: Sequence[str]

    @classmethod
    def put(cls, files: FileSet, environment: Mapping[str, str]) -> _Wanted:
        """Put the files into a bucket of the S3."""
        server = environment["S3_ENDPOINT"]
        bucket = S3Store(
            "claims",
            endpoint=server,
            access_key_id=environment["S3_ACCESS_KEY_ID"],
            secret_access_key=environment["S3_SECRET_ACCESS_KEY"],
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        objects = min(files.count, max(1, STORED_BYTES // files.size_bytes))
        paths = [f"{files.name}/{number}.jpg" for number in range(objects)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda number: obstore.put(bucket, paths[number], files.pieces(number)), range(objects)))
        hashes = [files.sha256(number) for number in range(objects)]
        links = obstore.sign(bucket, "GET", [paths[number % objects] for number in files.numbers()], _LINK_LIFE)
        return cls(
            files=files,
            server=server,
            objects=objects,
            links=links,
            hashes=[hashes[number % objects] for number in files.numbers()],
        )


class _Ours:
    """Downloads as the downloader does in cached mode."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "ours"

    def run(self, wanted: _Wanted) -> Spent:
        """Download all, and see that they are in the cache as they should be."""
        tasks = [
            ClaimXDownloadTask(
                media_id=str(number), project_id="1", download_url=link, blob_path=f"claimx/1/{number}/photo.jpg"
            )
            for number, link in enumerate(wanted.links)
        ]
        cached, spent = uvloop.run(self._download(wanted.server, tasks))
        if [each.content_sha256 for each in cached] != wanted.hashes:
            raise RuntimeError("a file came with other bytes than it has")
        _check([self._folder / each.local_cache_path for each in cached], wanted.files)
        shutil.rmtree(self._folder)
        return spent

    async def _download(
        self, server: str, tasks: Sequence[ClaimXDownloadTask]
    ) -> tuple[list[ClaimXCachedDownload], Spent]:
        pair = urlsplit(server).netloc
        cache = FileCache(self._folder, 0)
        await cache.start()
        policy = DownloadPolicy(private_hosts=frozenset({pair}))
        async with Downloader(policy, max_connections=AT_ONCE) as downloader:
            gates = HostGates([pair], CircuitSettings(), places=AT_ONCE)
            fetcher = Fetcher(downloader, gates, concurrency=AT_ONCE)
            transfer = CacheTransfer(topic="cached", fetcher=fetcher, cache=cache)
            with spending(server) as spent:
                done = await asyncio.gather(*(transfer.bring(task) for task in tasks))
        return [ClaimXCachedDownload.from_bytes(each.messages[0].value) for each in done], spent


class _Curl:
    """Downloads with curl."""

    def __init__(self, program: str, folder: Path) -> None:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
        self.version = " ".join(told.stdout.split()[:2])
        self._program = program
        self._folder = folder / "curl"
        self._config = folder / "curl.conf"

    def run(self, wanted: _Wanted) -> tuple[Spent, float]:
        """Download all; return what it took, and the seconds until all of it has reached the disk as well."""
        self._folder.mkdir()
        paths = [self._folder / str(number) for number in wanted.files.numbers()]
        lines = (f'url = "{link}"\noutput = "{path}"\n' for link, path in zip(wanted.links, paths, strict=True))
        self._config.write_text("".join(lines), encoding="utf-8")
        quiet = ["--fail", "--silent", "--show-error", "--no-progress-meter"]
        options = [*quiet, "--parallel", "--parallel-max", str(AT_ONCE), "--config", str(self._config)]
        with spending(wanted.server) as spent:
            subprocess.run([self._program, *options], check=True)  # noqa: S603
        begin_s = time.perf_counter()
        for path in paths:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        durable_s = spent.wall_s + time.perf_counter() - begin_s
        _check(paths, wanted.files)
        shutil.rmtree(self._folder)
        return spent, durable_s


def _check(paths: Sequence[Path], files: FileSet) -> None:
    if len(set(paths)) != files.count or any(path.stat().st_size != files.size_bytes for path in paths):
        raise RuntimeError("a file is not there, or not as long as it is")


def _measure(wanted: _Wanted, ours: _Ours, curl: _Curl, pairs: int) -> Measurement:
    files = wanted.files
    our_runs, curl_runs = [], []
    for _ in range(pairs):
        our_runs.append(ours.run(wanted))
        curl_runs.append(curl.run(wanted))
    ratio = median(theirs.wall_s / our.wall_s for our, (theirs, _) in zip(our_runs, curl_runs, strict=True))
    durable = median(durable_s / our.wall_s for our, (_, durable_s) in zip(our_runs, curl_runs, strict=True))
    return Measurement(
        name=f"download.{files.name}",
        what="presigned links into the cache: checked, hashed, flushed to the disk, put in place at once",
        yardstick=f"{curl.version} --parallel --parallel-max {AT_ONCE}",
        unit="MiB/s",
        ours=round(files.total_mib / median(our.wall_s for our in our_runs), 1),
        beside=round(files.total_mib / median(theirs.wall_s for theirs, _ in curl_runs), 1),
        ratio=round(ratio, 3),
        better=Better.HIGHER,
        sizes={
            "files": files.count,
            "file_bytes": files.size_bytes,
            "objects": wanted.objects,
            "at_once": AT_ONCE,
            "pairs": pairs,
        },
        figures={
            "ratio_to_curl_until_on_disk": round(durable, 3),
            "cpu_s": round(median(our.cpu_s for our in our_runs), 2),
            "curl_cpu_s": round(median(theirs.cpu_s for theirs, _ in curl_runs), 2),
            "server_cpu_s": round(median(our.server_cpu_s for our in our_runs), 2),
            "server_cpu_beside_curl_s": round(median(theirs.server_cpu_s for theirs, _ in curl_runs), 2),
        },
        bounds=[Bound(what="of curl's throughput", value=round(ratio, 3), at_least=REACH)],
    )
